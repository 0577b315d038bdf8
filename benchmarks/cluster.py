"""A private PostgreSQL server with settings fit for measuring, or one that runs already."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg

from benchmarks.server import Server
from creditsite.running import programs
from creditsite.testing.ports import free_port_pair

START_SECONDS = 60
LARGEST_SHARED_BUFFERS_MB = 4096


@contextmanager
def given(address: str) -> Iterator[Server]:
    """Use a server that runs already, as a superuser of it."""
    yield Server(address.rstrip("/"), find_programs())


@contextmanager
def started() -> Iterator[Server]:
    """
    Start a server in a directory of its own; when the block ends, stop it and remove that.

    :raises RuntimeError: it does not start; the message is its log.
    """
    bin, port = find_programs(), free_port_pair()
    with tempfile.TemporaryDirectory(prefix="creditsite-bench-") as directory:
        data, log_file = Path(directory) / "pg", Path(directory) / "pg.log"
        Path(directory).chmod(0o711)  # The server may be another user.
        data.mkdir(mode=0o700)
        programs.give_to_server(data)
        with open(log_file, "wb") as log:
            options = ["--username=bench", "--auth=trust", "--encoding=UTF8", "--locale=C"]
            spawn(bin / "initdb", "-D", str(data), *options, data=data, log=log).wait()
            settings = [f"-c{name}={value}" for name, value in settings_here().items()]
            postgres = spawn(
                bin / "postgres", "-D", str(data), "-p", str(port), *settings, data=data, log=log
            )
        try:
            address = f"postgresql://bench@127.0.0.1:{port}"
            wait_until_ready(address, postgres, log_file)
            yield Server(address, bin)
        finally:
            postgres.send_signal(signal.SIGINT)  # A fast shutdown.
            postgres.wait()


def settings_here() -> dict[str, str]:
    """Everything that a figure depends on and is on by default stays on: fsync above all."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "timezone": "UTC",
        "max_connections": "120",
        "shared_buffers": f"{min(LARGEST_SHARED_BUFFERS_MB, memory_mb // 4)}MB",
        "max_wal_size": "8GB",
    }


def find_programs() -> Path:
    """
    Return the directory of PostgreSQL's programs: the newest of Debian's, or what pg_config says,
    or the wheel that the demo runs on.
    """
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda program: int(program.parts[-3]),
    )
    if debian:
        return debian[-1].parent
    if shutil.which("pg_config"):
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        if (Path(said.stdout.strip()) / "postgres").exists():
            return Path(said.stdout.strip())
    return programs.binaries()


def spawn(program: Path, *arguments: str, data: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program on the directory ``data``; root starts it as ``nobody``."""
    command, owner = [str(program), *arguments], programs.server_owner()
    if owner and (closed := programs.closed_directory(program.parent, data.parent)):
        command, owner = [*programs.lend_passage(closed), *command], None
    return subprocess.Popen(
        command,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        user=owner.pw_uid if owner else None,
        group=owner.pw_gid if owner else None,
        extra_groups=[] if owner else None,
    )


def wait_until_ready(address: str, postgres: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while postgres.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(f"{address}/postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start:\n{log_file.read_text(errors='replace')}")
