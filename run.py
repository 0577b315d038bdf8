#!/usr/bin/env python3
"""
Run creditsite from a bare checkout.

    python3 run.py         serve the demo
    python3 run.py dev     the same, and reload on change
    python3 run.py test    run the test suite; what follows is for pytest

It needs Python and its standard library: it makes .venv, installs what is pinned, and hands over.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
COMMANDS = {
    "serve": ["-m", "creditsite.running.launcher"],
    "dev": ["-m", "creditsite.running.launcher", "--reload"],
    "test": ["-m", "pytest"],
}


def main() -> NoReturn:
    command, *arguments = sys.argv[1:] or ["serve"]
    if command not in COMMANDS or (arguments and command != "test"):
        sys.exit(__doc__)
    if sys.version_info < (3, 11):
        sys.exit("creditsite needs Python 3.11 or later.")
    os.chdir(ROOT)
    os.umask(0o022)  # Started by root, PostgreSQL runs as another user and must read its programs.
    (ROOT / "var").mkdir(exist_ok=True)
    with open(ROOT / "var" / "install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install("requirements-dev.txt" if command == "test" else "requirements.txt")
    if command == "test" and not arguments:
        arguments = ["-n", "auto"]  # All tests, on all cores; for a few that would take longer.
    os.execv(PYTHON, [str(PYTHON), *COMMANDS[command], *arguments])


def install(requirements: str) -> None:
    """Bring .venv to what ``requirements`` pins, unless it was installed from just this file."""
    digest = hashlib.sha256((ROOT / requirements).read_bytes()).hexdigest()
    stamp = VENV / f"{requirements}.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return
    print(f"Installing {requirements} into .venv …", flush=True)
    if not succeeds(PYTHON, "-c", "import pip"):
        make_venv()
    options = ["--quiet", "--require-hashes", "--requirement", requirements]
    with_uv: list[str | Path] = [
        "uv",
        "pip",
        "install",
        "--python",
        PYTHON,
        "--compile-bytecode",
        *options,
    ]
    with_pip: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        *options,
    ]
    if not succeeds(*with_uv) and subprocess.run(with_pip).returncode:
        sys.exit(f"Installing {requirements} failed.")
    stamp.write_text(digest)


def make_venv() -> None:
    if succeeds(sys.executable, "-m", "venv", "--clear", VENV):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if not succeeds("uv", "venv", "--seed", "--python", sys.executable, VENV):
        sys.exit("Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv")


def succeeds(program: str | Path, *arguments: str | Path) -> bool:
    """Say whether a program exists and ends well; what it says is not shown."""
    if shutil.which(program) is None:
        return False
    return subprocess.run([program, *arguments], capture_output=True).returncode == 0


if __name__ == "__main__":
    main()
