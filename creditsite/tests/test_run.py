"""The product as a newcomer starts it, but for the installing: in a copy of this checkout."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from creditsite.running.environment import ROOT
from creditsite.running.supervisor import can_lock
from creditsite.testing.ports import free_ports

pytestmark = pytest.mark.once

SECONDS = 90
LEFT_OUT = shutil.ignore_patterns(".*", "var", "__pycache__", "node_modules")


ALICE = "from accounts.models import User; alice = User.objects.get(email='alice@example.com'); "
BEGIN_TO_BUY = (
    ALICE
    + """
from django.utils import timezone
from billing.services import payments
from ledger.queries.wallets import wallet_of
wallet, now = wallet_of(alice), timezone.now()
given = {"caller": f"user:{alice.pk}", "idempotency_key": "newcomer", "at": now}
payment = payments.open_payment(
    user=alice, wallet=wallet, credits=100, net_minor=1000, currency="usd",
    description="100 credits", **given)
session = payments.start_checkout(
    payment=payment, success_url="http://127.0.0.1/done", cancel_url="http://127.0.0.1/back",
    calculates_tax=False, at=now)
print(session.url, wallet.purchase)
"""
)
PURCHASED = ALICE + "print(alice.wallet.purchase)"
PAID_AT_STRIPE = (
    ALICE
    + """
from billing import gateway
last = alice.payments.latest("pk")
print(last.credits if gateway.retrieve_payment_intent(last.intent_id).received_minor else 0)
"""
)


class Checkout:
    """A copy of this checkout that has never run, and the runs of it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "creditsite"
        shutil.copytree(ROOT, self.root, ignore=LEFT_OUT)
        self.port = free_ports(3)
        self.variables = {
            name: os.environ[name] for name in ["PATH", "HOME", "LANG"] if name in os.environ
        } | {"PORT": str(self.port)}
        self.runs: list[subprocess.Popen[str]] = []

    def start(self, **variables: str) -> "subprocess.Popen[str]":
        run = subprocess.Popen(
            [sys.executable, "-m", "creditsite.running.launcher"],
            cwd=self.root,
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.runs.append(run)
        return run

    def start_serving(self, **variables: str) -> tuple["subprocess.Popen[str]", str]:
        """Start, and wait for the last line of the greeting; give all that was said."""
        run, said = self.start(**variables), ""
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

    def get(self, path: str, *, of_stripe: bool = False) -> int:
        port = self.port + 2 if of_stripe else self.port
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        server.request("GET", path)
        return server.getresponse().status

    def tell(self, line: str) -> str:
        """Return what a line of Python prints in this checkout."""
        done = self.manage("shell", "--no-imports", "--command", line)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def programs(self) -> set[str]:
        return {child["name"] for child in children(self)}

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
        assert f"a local Stripe on http://127.0.0.1:{checkout.port + 2} " in said
        assert "test card 4242 4242 4242 4242" in said
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

    def test_gives_credits_for_a_payment_and_remembers_it_after_a_kill(self, checkout):
        run, _ = checkout.start_serving()
        assert checkout.programs() == {"stripe", "web", "worker"}
        address, before = checkout.tell(BEGIN_TO_BUY).split()
        pay(address)
        wait_until(lambda: int(checkout.tell(PURCHASED)) == int(before) + 100)
        end(run, signal.SIGKILL)
        again, _ = checkout.start_serving()
        assert checkout.tell(PAID_AT_STRIPE) == "100"
        assert end(again, signal.SIGTERM) == 0
        assert checkout.is_at_rest()

    def test_starts_no_local_stripe_beside_ones_own(self, checkout):
        own = {"STRIPE_SECRET_KEY": "sk_test_own", "STRIPE_WEBHOOK_SECRETS": "whsec_own"}
        run, said = checkout.start_serving(**own)
        assert checkout.programs() == {"web", "worker"}
        assert "Stripe" not in said
        shown = checkout.tell(
            "from django.conf import settings as s; print(s.STRIPE_SECRET_KEY, s.STRIPE_API_BASE)"
        )
        assert shown == "sk_test_own https://api.stripe.com"
        assert end(run, signal.SIGTERM) == 0

    def test_finds_the_local_stripe_a_place_where_a_stranger_has_its_port(self, checkout):
        with socket.create_server(("127.0.0.1", checkout.port + 2)):
            run, _ = checkout.start_serving()
            account = checkout.tell("from billing import gateway; print(gateway.account_id())")
            assert account.startswith("acct_")
            assert end(run, signal.SIGTERM) == 0

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


def pay(address: str) -> None:
    """Pay on the local Stripe's page, as the newcomer does."""
    page = urlsplit(address)
    stripe = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    stripe.request("POST", page.path, "card_number=4242+4242+4242+4242", form)
    assert stripe.getresponse().status == 303


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline


def children(checkout: Checkout) -> list[dict]:
    return json.loads((checkout.root / "var" / "children.json").read_text())
