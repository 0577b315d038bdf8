"""The site as production serves it, and callers who keep their connections open."""

import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from statistics import quantiles
from uuid import uuid4

from benchmarks.worker import production
from creditsite.running import launcher
from creditsite.running.environment import ROOT
from creditsite.running.supervisor import answers
from creditsite.testing.ports import free_port_pair

START_SECONDS = 60
BODY = b'{"feature": "report", "quantity": 1, "description": "A report"}'
REQUEST = (
    "POST /api/credits/deduct HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n"
    "Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
)


@dataclass
class Load:
    """What callers got: how many answers, how many a second, milliseconds they waited."""

    count: int
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass
class Caller:
    """A connection on which one request after the other is made."""

    connection: socket.socket
    sent_at: float = 0
    received: bytearray = field(default_factory=bytearray)

    def send(self, token: str) -> None:
        self.received.clear()
        self.sent_at = time.perf_counter()
        self.connection.sendall(REQUEST.format(token=token, key=uuid4()).encode() + BODY)

    def has_answer(self) -> bool:
        """
        Take what arrived; say whether it is a whole answer.

        :raises RuntimeError: the answer is not 200.
        """
        chunk = self.connection.recv(65_536)
        self.received += chunk
        head, parted, body = bytes(self.received).partition(b"\r\n\r\n")
        if not chunk or (parted and not head.startswith(b"HTTP/1.1 200")):
            raise RuntimeError(f"The API answered:\n{self.received.decode(errors='replace')}")
        if not parted:
            return False
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        return len(body) >= int(length)


@dataclass(frozen=True)
class Api:
    """A site that listens on a port of this machine."""

    port: int

    def load(self, tokens: list[str], *, connections: int, seconds: float) -> Load:
        """Have ``connections`` callers spend, each as soon as it has its answer."""
        token, waited = cycle(tokens), []
        with ExitStack() as stack:
            ready = stack.enter_context(selectors.DefaultSelector())
            callers = []
            for _ in range(connections):
                connection = socket.create_connection(("127.0.0.1", self.port))
                callers.append(Caller(stack.enter_context(connection)))
                ready.register(connection, selectors.EVENT_READ, callers[-1])
            started = time.perf_counter()
            for caller in callers:
                caller.send(next(token))
            open = connections
            while open:
                for key, _ in ready.select():
                    if not key.data.has_answer():
                        continue
                    now = time.perf_counter()
                    waited.append((now - key.data.sent_at) * 1000)
                    if now - started < seconds:
                        key.data.send(next(token))
                    else:
                        open -= 1
            took = time.perf_counter() - started
        percentiles = quantiles(waited, n=100)
        return Load(len(waited), len(waited) / took, percentiles[49], percentiles[98])


@contextmanager
def serving(database_url: str) -> Iterator[Api]:
    """
    Serve the site by the command that `run.py` serves it by, with its log thrown away.

    :raises RuntimeError: it does not answer in time.
    """
    port = free_port_pair()
    site = subprocess.Popen(
        [sys.executable, *launcher.web(port)],
        cwd=ROOT,
        env=production(database_url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(port, "/healthz"):
            if site.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The site does not answer.")
            time.sleep(0.1)
        yield Api(port)
    finally:
        site.terminate()
        site.wait()
