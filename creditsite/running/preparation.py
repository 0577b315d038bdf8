"""What `run.py` does before it serves: schema, static files, demo data. Standard library only."""

import hashlib
import os
import secrets
import subprocess
import sys

from creditsite.running.environment import ROOT, VAR


def prepare(*, is_embedded: bool) -> str | None:
    """
    Bring schema, static files and demo up to date; return a password that was made for the demo.

    :raises subprocess.CalledProcessError: a command failed.
    """
    manage("migrate", "--no-input", "--verbosity=0")
    collect_static()
    return seed_demo() if is_embedded else None


def collect_static() -> None:
    """Collect and compress static files, unless neither they nor what is installed changed."""
    stamp, current = VAR / "static.sha256", static_digest()
    if stamp.exists() and stamp.read_text() == current:
        return
    manage("collectstatic", "--no-input", "--clear", "--verbosity=0")
    stamp.write_text(current)


def static_digest() -> str:
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for path in sorted(ROOT.glob("[!.v]*/**/static/**/*")):
        digest.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


def seed_demo() -> str | None:
    """
    Seed the demo once, and again for whoever names a ``DEMO_PASSWORD``, which becomes everyone's.

    Returns a password only where one had to be made, so that it can be shown this once.
    """
    seeded, chosen = VAR / "seeded", os.environ.get("DEMO_PASSWORD")
    if seeded.exists() and not chosen:
        return None
    made = None if chosen else secrets.token_urlsafe(9)
    manage("seed_demo", DEMO_PASSWORD=chosen or made or "")
    seeded.touch()
    return made


def manage(*arguments: str, **variables: str) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    subprocess.run(command, env=os.environ | variables, check=True)
