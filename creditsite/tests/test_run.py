"""The product as a newcomer starts it, but for the installing: in a copy of this checkout."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from creditsite.running.environment import ROOT
from creditsite.running.supervisor import can_lock
from creditsite.testing.ports import free_port_pair

pytestmark = pytest.mark.once

SECONDS = 90
LEFT_OUT = shutil.ignore_patterns(".*", "var", "__pycache__", "node_modules")


class Checkout:
    """A copy of this checkout that has never run, and the runs of it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "creditsite"
        shutil.copytree(ROOT, self.root, ignore=LEFT_OUT)
        self.port = free_port_pair()
        self.variables = {
            name: os.environ[name] for name in ["PATH", "HOME", "LANG"] if name in os.environ
        } | {"PORT": str(self.port)}
        self.runs: list[subprocess.Popen[str]] = []

    def start(self) -> "subprocess.Popen[str]":
        run = subprocess.Popen(
            [sys.executable, "-m", "creditsite.running.launcher"],
            cwd=self.root,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.runs.append(run)
        return run

    def start_serving(self) -> tuple["subprocess.Popen[str]", str]:
        """Start, and wait for the last line of the greeting; give all that was said."""
        run, said = self.start(), ""
        for line in run.stdout:
            said += line
            if line.startswith("Their password"):
                return run, said
        raise AssertionError(f"ended with status {run.wait()}:\n{said}")

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=self.variables, capture_output=True, text=True
        )

    def get(self, path: str) -> int:
        site = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        site.request("GET", path)
        return site.getresponse().status

    def is_at_rest(self) -> bool:
        """Say whether neither the database nor any process of web and worker is left."""
        return all(
            is_free(self.root / "var" / name) for name in ["pg.alive", "children.lock", "run.lock"]
        )

    def close(self) -> None:
        for run in self.runs:
            run.kill()
            run.wait()
        if not self.is_at_rest():
            stop, _ = self.start_serving()  # It takes over and ends what a killed run left.
            end(stop, signal.SIGTERM)


def is_free(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        return can_lock(file)
    finally:
        os.close(file)


def end(run: "subprocess.Popen[str]", number: int) -> int:
    run.send_signal(number)
    run.stdout.read()
    return run.wait(SECONDS)


@pytest.fixture(scope="module")
def checkout():
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        checkout = Checkout(Path(directory))
        yield checkout
        checkout.close()


class TestRun:
    def test_serves_refuses_a_second_start_and_ends_on_sigterm(self, checkout):
        run, said = checkout.start_serving()
        assert f"http://127.0.0.1:{checkout.port}/admin/" in said
        assert "Their password, shown this once: " in said
        assert [checkout.get(path) for path in ["/healthz", "/readyz", "/accounts/login/"]] == [
            200
        ] * 3
        assert checkout.manage("check", "--database", "default").returncode == 0
        second = checkout.start()
        refusal, _ = second.communicate(timeout=SECONDS)
        assert second.returncode == 1
        assert f"already runs from this checkout (process {run.pid}," in refusal
        assert checkout.get("/healthz") == 200
        assert end(run, signal.SIGTERM) == 0
        assert checkout.is_at_rest()
        assert "[X] 0001_initial" in checkout.manage("showmigrations", "sessions").stdout
        assert checkout.is_at_rest()

    def test_recovers_from_a_kill_even_of_a_worker_that_hangs(self, checkout):
        run, _ = checkout.start_serving()
        (worker,) = [child for child in children(checkout) if child["name"] == "worker"]
        os.kill(worker["pid"], signal.SIGSTOP)
        end(run, signal.SIGKILL)
        assert not is_free(checkout.root / "var" / "children.lock")
        again, said = checkout.start_serving()
        assert "shown this once" not in said
        assert checkout.get("/readyz") == 200
        assert end(again, signal.SIGINT) == 0
        assert checkout.is_at_rest()

    def test_ends_when_a_process_of_it_ends(self, checkout):
        run, _ = checkout.start_serving()
        (web,) = [child for child in children(checkout) if child["name"] == "web"]
        os.kill(web["pid"], signal.SIGKILL)
        assert "The web process ended" in run.stdout.read()
        assert run.wait(SECONDS) == 1
        assert checkout.is_at_rest()


def children(checkout: Checkout) -> list[dict]:
    return json.loads((checkout.root / "var" / "children.json").read_text())
