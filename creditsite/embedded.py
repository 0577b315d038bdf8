"""
PostgreSQL for a machine that has none, shared by everything that runs in this checkout.

Locks say what is true, because the kernel gives them up even for a process that was killed:
``pg.lock`` is held shared by every user, so that the last one to leave knows to stop the server;
``pg.alive`` by the server itself; ``pg.guard`` by whoever starts or stops it.

Standard library only.
"""

import fcntl
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from creditsite.running import environment
from creditsite.running.environment import VAR
from creditsite.running.programs import EmbeddedError, give_to_server, spawn

DATA = VAR / "pg"
LOG = VAR / "pg.log"
START_SECONDS = 60
STOP_SECONDS = 60
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # The question that a client may open with.
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",  # A site, a test run on every core and its tests of 64 threads.
    "timezone": "UTC",
    "log_checkpoints": "off",
}


@contextmanager
def in_use(port: int) -> Iterator[int]:
    """
    Keep the server up while the block runs, and give the port that it listens on.

    A server that others use already keeps its port; otherwise it starts on ``port``, or on
    another that is free where a stranger has that one.

    :raises EmbeddedError: the server does not start.
    """
    with opened("pg.guard") as guard, opened("pg.lock") as users:
        fcntl.flock(guard, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        actual = ensure_running(port)
        fcntl.flock(guard, fcntl.LOCK_UN)
        try:
            yield actual
        finally:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if can_lock(users):
                stop()


@contextmanager
def for_this_process() -> Iterator[None]:
    """Keep the embedded server up while the block runs, if this process would use it at all."""
    port = environment.embedded_port()
    if port is None:
        yield
        return
    with in_use(port) as actual:
        if actual != port:  # Somebody else still works on the port of an earlier start.
            environment.move_database(actual)
        yield


def opened(name: str) -> IO[str]:
    VAR.mkdir(exist_ok=True)
    return open(VAR / name, "w")


def can_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ensure_running(port: int) -> int:
    """
    Return the port of a server that accepts connections, starting one if none lives.

    A port that somebody takes between the look and the start is left to them, too.

    :raises EmbeddedError: it ends again, or is not ready in time.
    """
    started = None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with opened("pg.alive") as alive:
            if can_lock(alive):
                if started is not None and is_free(port):
                    break
                if not DATA.exists():
                    create_data_directory()
                port = port if is_free(port) else free_port()
                started = start(port, alive)
        pid, listening, status = postmaster()
        if status == "ready" and (pid == started if started else answers(listening)):
            return listening
        time.sleep(0.02)
    tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-6:])
    raise EmbeddedError(f"The embedded PostgreSQL did not start on port {port} ({LOG}):\n{tail}")


def start(port: int, alive: IO[str]) -> int:
    """
    Start the server, which inherits the lock on ``alive``; return its process id.

    Its children inherit the lock too. So now that we have it none is left, whatever the file of a
    killed server says.
    """
    (DATA / "postmaster.pid").unlink(missing_ok=True)
    settings = [f"-c{name}={value}" for name, value in SERVER_SETTINGS.items()]
    with open(LOG, "wb") as log:
        server = spawn(
            "postgres",
            "-D",
            str(DATA),
            "-p",
            str(port),
            *settings,
            data=DATA,
            output=log.fileno(),
            pass_fds=[alive.fileno()],
        )
    return server.pid


def is_free(port: int) -> bool:
    """Say whether a server can listen on the port, as PostgreSQL would ask for it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Say whether a server takes connections; children of a killed one outlive it by a moment."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as server:
            server.sendall(SSL_REQUEST)
            return server.recv(1) in {b"N", b"S"}
    except OSError:
        return False


def stop() -> None:
    """Stop the server by a fast shutdown: what is open is rolled back, what is done is written."""
    pid, _, status = postmaster()
    if not status:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    with opened("pg.alive") as alive:
        while not can_lock(alive) and time.monotonic() < deadline:
            time.sleep(0.02)


def postmaster() -> tuple[int, int, str]:
    """Return process id, port and status from ``postmaster.pid``; ``(0, 0, "")`` without one."""
    try:
        lines = (DATA / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return 0, 0, ""
    if len(lines) < 8:
        return 0, 0, ""
    return int(lines[0]), int(lines[3]), lines[7].strip()


def create_data_directory() -> None:
    """
    Make the data directory with its database, beside its place: a killed attempt is simply redone.

    :raises EmbeddedError: initdb failed.
    """
    draft, password = VAR / "pg.new", VAR / "pg.password"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password.touch(mode=0o600)
    password.write_text(environment.read()["POSTGRES_PASSWORD"])
    give_to_server(draft)
    give_to_server(password)
    options = ["--username=creditsite", f"--pwfile={password}", "--auth=scram-sha-256"]
    run("initdb", "-D", str(draft), *options, "--encoding=UTF8", "--locale=C")
    password.unlink()
    run(
        "postgres", "--single", "-D", str(draft), "postgres", statement="CREATE DATABASE creditsite"
    )
    draft.rename(DATA)


def run(program: str, *arguments: str, statement: str = "") -> None:
    with open(LOG, "wb") as log:
        process = spawn(program, *arguments, data=DATA, output=log.fileno())
        process.communicate(statement)
    if process.returncode:
        raise EmbeddedError(f"{program} failed:\n{LOG.read_text(errors='replace')}")
