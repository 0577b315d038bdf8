"""
The processes that `run.py` keeps up, and those that a killed run left behind.

Each child leads a session of its own and inherits an exclusive lock on ``var/children.lock``: while
that is held some of them live, and ``var/children.json`` says who they were. Standard library only.
"""

import ctypes
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from creditsite.running.environment import ROOT, VAR

GRACE_SECONDS = 5
SERVING_SECONDS = 60
PR_SET_PDEATHSIG = 1


class ChildEnded(RuntimeError):
    """A process that should run does not; the message names it and its log."""


class Supervisor:
    """Children that end with the block, and with this process where the kernel can see to it."""

    def __init__(self) -> None:
        VAR.mkdir(exist_ok=True)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.lock = os.open(VAR / "children.lock", os.O_RDWR | os.O_CREAT)

    def __enter__(self) -> "Supervisor":
        """
        End what a killed run left behind.

        :raises ChildEnded: some of it cannot be ended.
        """
        if not can_lock(self.lock):
            self.end_groups(
                [pid for pid, started in recorded() if started_at(pid) in {started, None}]
            )
            deadline = time.monotonic() + GRACE_SECONDS
            while not can_lock(self.lock):
                if time.monotonic() > deadline:
                    raise ChildEnded(
                        "Processes of an earlier run still live; see var/children.json."
                    )
                time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_groups([child.pid for child in self.children.values()])
        os.close(self.lock)

    def start(self, name: str, *arguments: str, to_terminal: bool, **variables: str) -> None:
        """Start this Python with ``arguments``; its output goes to ``var/log`` or the terminal."""
        (VAR / "log").mkdir(exist_ok=True)
        with open(VAR / "log" / f"{name}.log", "wb") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=None if to_terminal else log,
                stderr=None if to_terminal else log,
                start_new_session=True,
                pass_fds=[self.lock],
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )
        record(self.children)

    def wait_until_serving(self, name: str, port: int, path: str) -> None:
        """:raises ChildEnded: a child ended, or this one did not answer ``path`` in time."""
        deadline = time.monotonic() + SERVING_SECONDS
        while not answers(port, path):
            self.check()
            if time.monotonic() > deadline:
                raise ChildEnded(f"The {name} process does not answer; see var/log/{name}.log.")
            time.sleep(0.1)

    def wait(self) -> None:
        """Return never; :raises ChildEnded: a child ended by itself."""
        while True:
            self.check()
            time.sleep(1)

    def check(self) -> None:
        for name, child in self.children.items():
            if child.poll() is not None:
                raise ChildEnded(
                    f"The {name} process ended (status {child.returncode}); see var/log/{name}.log."
                )

    def end_groups(self, leaders: list[int]) -> None:
        """Ask process groups to end; kill what outlives its leader, or the grace."""
        deadline = time.monotonic() + GRACE_SECONDS
        remaining = [leader for leader in leaders if send(leader, signal.SIGTERM)]
        while any(self.is_running(leader) for leader in remaining) and time.monotonic() < deadline:
            time.sleep(0.05)
        for leader in remaining:
            send(leader, signal.SIGKILL)

    def is_running(self, pid: int) -> bool:
        for child in self.children.values():
            if child.pid == pid:
                return child.poll() is None
        return started_at(pid) is not None


def end_with_parent() -> None:
    """Ask Linux to end this process when its parent dies, however that comes about."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def answers(port: int, path: str) -> bool:
    try:
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        server.request("GET", path)
        return server.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def can_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def record(children: "dict[str, subprocess.Popen[bytes]]") -> None:
    rows = [
        {"name": name, "pid": child.pid, "started": started_at(child.pid)}
        for name, child in children.items()
    ]
    (VAR / "children.json").write_text(json.dumps(rows))


def recorded() -> list[tuple[int, str]]:
    path = VAR / "children.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [(row["pid"], row["started"]) for row in rows]


def started_at(pid: int) -> str | None:
    """Return when ``pid`` started, as a word that tells it from a later process of that number."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        except (FileNotFoundError, ProcessLookupError):
            return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip() or None


def send(leader: int, number: int) -> bool:
    """Send a signal to a process group; say whether it has members."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True
