"""Management commands in processes of their own, to be killed while they work."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import quote

from django.db import connections

from creditsite.running.environment import ROOT

KILL_SECONDS = 60


@contextmanager
def command_running(*arguments: str) -> Iterator["RunningCommand"]:
    """
    Run ``manage.py`` with ``arguments`` on the current test's database while the block runs.

    Use it with ``ledger_db``: another process sees only what is committed.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database_url()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield RunningCommand(process, output)
        finally:
            process.kill()
            process.wait()


class RunningCommand:
    """A command at work: wait for its end, or end it the hard way."""

    def __init__(self, process: "subprocess.Popen[str]", output: IO[str]) -> None:
        self.process, self.file = process, output

    @property
    def output(self) -> str:
        """Return what it said so far, errors included."""
        self.file.seek(0)
        return self.file.read()

    def kill_when(self, condition: Callable[[], bool], *, timeout: float = KILL_SECONDS) -> None:
        """
        Kill it (SIGKILL) as soon as ``condition`` holds.

        :raises AssertionError: it ended before, or ``condition`` did not come true in time.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"ended before it could be killed:\n{self.output}"
            assert time.monotonic() < deadline, f"not what was waited for:\n{self.output}"
            time.sleep(0.002)
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL, f"ended before the kill:\n{self.output}"

    def wait(self, *, timeout: float = KILL_SECONDS) -> int:
        """Wait for its end and return its exit status."""
        return self.process.wait(timeout)


def database_url() -> str:
    """Return the address of the database that the current test works on."""
    database = connections.settings["default"]
    sign_in = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}"
    return f"postgresql://{sign_in}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
