"""Processes of the product: each runs the functions that it is told to, on one database."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import django
from django.utils.module_loading import import_string

from creditsite.running.environment import ROOT

KEYS = {
    name: secrets.token_urlsafe(48)
    for name in ("SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "API_KEY_HASH_KEY")
}


def production(database_url: str) -> dict[str, str]:
    """Return the environment of a production process, but with throttles that stop nobody."""
    return (
        os.environ
        | KEYS
        | {
            "DJANGO_SETTINGS_MODULE": "creditsite.settings",
            "DATABASE_URL": database_url,
            "DEMO": "0",
            "DEBUG": "0",
            "ALLOWED_HOSTS": "127.0.0.1",
            "PROXY_HTTPS_HEADER": "X-Forwarded-Proto",
            "REDIS_URL": "",
            "THROTTLE_CALLS_PER_MINUTE": "1000000000",
            "THROTTLE_SPENDS_PER_MINUTE": "1000000000",
        }
    )


class Worker:
    """
    A process with the product loaded.

    Functions are named by their path below ``benchmarks.inside``; they take and return JSON.
    """

    def __init__(self, database_url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            cwd=ROOT,
            env=production(database_url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, function: str, **arguments: Any) -> None:
        """Start ``function``; several workers, each asked before any answer, work side by side."""
        print(json.dumps([function, arguments]), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        """:raises RuntimeError: the process ended; what it said stands above."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError("A worker failed.")
        return json.loads(line)

    def call(self, function: str, **arguments: Any) -> Any:
        self.ask(function, **arguments)
        return self.answer()

    def end(self) -> None:
        """Close its input, with which it ends."""
        self.process.communicate()


@contextmanager
def worker(database_url: str) -> Iterator[Worker]:
    """Have a worker on the database while the block runs."""
    with workers(database_url, 1) as (one,):
        yield one


@contextmanager
def workers(database_url: str, count: int) -> Iterator[list[Worker]]:
    """Have ``count`` workers on the database while the block runs."""
    with ExitStack() as stack:
        started = [Worker(database_url) for _ in range(count)]
        for one in started:
            stack.callback(one.end)
        yield started


def main() -> None:
    django.setup()
    for line in sys.stdin:
        function, arguments = json.loads(line)
        print(json.dumps(import_string(f"benchmarks.inside.{function}")(**arguments)), flush=True)


if __name__ == "__main__":
    main()
