"""
A batch in the worst weather: real workers killed, the broker lost, nudges sent over and over.

Not part of the suite: BATCH_STORM=100000 says over how many wallets (docs/proofs.md).
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from celery import Celery
from django.db import connection

from accounts import tasks
from accounts.services import jobs
from creditsite.running.environment import ROOT
from creditsite.testing.commands import database_url
from creditsite.testing.ports import free_port_pair
from ledger.choices import BatchKind
from ledger.models import Batch, BatchException
from ledger.queries.batches import progress_of
from ledger.services import batches, posting
from ledger.tests.batches import fresh, started
from ledger.tests.factories import AT, finance, set_credit_settings

WALLETS = int(os.environ.get("BATCH_STORM", 0))
KILLS, LOSSES, REPEATS, WORKERS = 20, 5, 10, 2
PATIENCE_SECONDS = 600

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not WALLETS, reason="BATCH_STORM does not say over how many wallets"),
    pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server"),
]


class Broker:
    """A Redis server that forgets everything when it is killed."""

    def __init__(self) -> None:
        self.port = free_port_pair()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--daemonize",
            "no",
        ]
        self.process = subprocess.Popen(
            ["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Weather:
    """The broker and the workers, and what is done to them."""

    def __init__(self) -> None:
        self.dice = random.Random(4)
        self.broker = Broker()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.kills = self.losses = 0
        for _ in range(WORKERS):
            self.add_worker()

    def add_worker(self) -> None:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = [sys.executable, "-m", "celery", "-A", "creditsite", "worker", "--pool", "solo"]
        given = {"DATABASE_URL": database_url(), "BROKER_URL": self.broker.url}
        self.workers.append(
            subprocess.Popen(
                [*command, "--loglevel", "ERROR", "-n", f"w{time.monotonic_ns()}", *quiet],
                cwd=ROOT,
                env=os.environ | given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def kill_worker(self) -> None:
        worker = self.workers.pop(self.dice.randrange(len(self.workers)))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        self.kills += 1
        self.add_worker()

    def lose_broker(self) -> None:
        self.broker.kill()
        time.sleep(self.dice.uniform(0.2, 1))
        self.broker.start()
        self.losses += 1

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.broker.kill()


@pytest.fixture
def weather(ledger_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weather]:
    found = Weather()
    site = Celery(broker=found.broker.url)

    def nudge(**job: int) -> None:
        site.send_task("accounts.tasks.run_job", kwargs=job, retry=False)

    monkeypatch.setattr(tasks, "run_job", SimpleNamespace(delay=nudge))
    yield found
    found.end()


def make_batch() -> Batch:
    set_credit_settings(approval_batch_credits_above=10**12, approval_batch_wallets_above=10**9)
    with connection.cursor() as cursor:
        cursor.execute(USERS, [WALLETS])
        posting.open_wallets(users=[pk for (pk,) in cursor.fetchall()])
    return started(BatchKind.ADD)


USERS = """
    INSERT INTO accounts_user (
        email, identity, password, name, referral_code, token_version, is_superuser, is_active,
        is_staff, is_partner, is_agent, date_joined)
    SELECT 'crowd' || i || '@example.com', gen_random_uuid(), '!', '', 'R' || i, 0, false, true,
           false, false, false, now()
    FROM generate_series(1, %s) AS i RETURNING id
"""


def sweep() -> None:
    """Do what the worker's clock does every half minute."""
    jobs.resume_stalled_jobs()


def chunks_done(batch: Batch) -> int:
    assert batch.job is not None
    return int(batch.job.chunks.filter(done_at__isnull=False).count())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        sweep()
        time.sleep(0.5)


def wait_for_more(batch: Batch, than: int) -> None:
    wait_until(lambda: chunks_done(batch) > than or fresh(batch).job.status == "done")


def once_each(batch: Batch) -> tuple[int, int, int, int]:
    """Return how many wallets and transactions there are of ``batch``, its credits and its most."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT wallet_id), count(*), sum(amount)::bigint, max(amount)"
            " FROM ledger_credittransaction WHERE reference_id = %s",
            [str(batch.public_id)],
        )
        return cursor.fetchone()


class TestABatch:
    def test_reaches_each_wallet_exactly_once_in_any_weather(self, weather):
        batch = make_batch()
        why = {"actor": finance(), "reason": "look at it first", "at": AT}
        events = ["kill"] * KILLS + ["lose"] * LOSSES + ["repeat"] * REPEATS + ["pause"]
        weather.dice.shuffle(events)
        for event in events:
            done = chunks_done(batch)
            wait_for_more(batch, done)
            match event:
                case "kill":
                    weather.kill_worker()
                case "lose":
                    weather.lose_broker()
                case "repeat":
                    jobs.enqueue(batch.job)
                case "pause":
                    batches.pause_batch(batch=batch, **why)
                    time.sleep(1)
                    done = chunks_done(batch)
                    sweep()
                    time.sleep(2)
                    assert chunks_done(batch) == done
                    batches.resume_batch(batch=batch, **why)
        print(f"{chunks_done(batch):,} chunks done after the storm", file=sys.stderr)
        wait_until(lambda: fresh(batch).job.status == "done")
        assert (weather.kills, weather.losses) == (KILLS, LOSSES)
        assert once_each(batch) == (WALLETS, WALLETS, WALLETS * 50, 50)
        progress = progress_of(fresh(batch))
        assert (progress.moved, progress.credits) == (WALLETS, WALLETS * 50)
        assert not BatchException.objects.filter(batch=batch, is_at_run=True).exists()

    def test_that_is_cancelled_reports_what_the_ledger_says(self, weather):
        batch = make_batch()
        wait_for_more(batch, 3)
        weather.kill_worker()
        wait_for_more(batch, chunks_done(batch) + 3)
        batches.cancel_batch(batch=batch, actor=finance(), reason="stop it", at=AT)
        time.sleep(2)
        progress = progress_of(fresh(batch))
        wallets, transactions, credits, _ = once_each(batch)
        assert progress.status == "cancelled"
        assert (progress.moved, progress.credits) == (wallets, credits)
        assert 0 < wallets == transactions < WALLETS
