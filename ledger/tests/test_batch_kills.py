"""
Workers of a batch are killed, paused and sent twice, and each wallet is dealt with exactly once.

The whole proof, with a broker that is lost and Celery's workers, is ``test_batch_storm``.
"""

import pytest
from django.db import transaction

from accounts.models import JobChunk
from creditsite.testing import command_running, race
from ledger.models import Batch, CreditTransaction, Wallet
from ledger.queries.batches import progress_of, results
from ledger.services import batch_runs, batches, posting
from ledger.services.batch_files import BatchRow
from ledger.tests.batches import fresh, moved_by, started
from ledger.tests.factories import AT, bulk_created, finance
from ledger.tests.test_backfill import somebody_waits_for_us

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(ledger_db, monkeypatch):
    """A batch over 60 wallets in chunks of 10."""
    monkeypatch.setattr(batch_runs, "CHUNK", 10)
    users = bulk_created(60, role=None)
    posting.open_wallets(users=[user.pk for user in users])
    return started()


def work(batch: Batch) -> Batch:
    return batches.work_batch(batch=batch, at=AT)


def everybody_got_theirs(batch: Batch) -> None:
    wallets = set(Wallet.objects.filter(user__is_staff=False).values_list("pk", flat=True))
    assert moved_by(batch) == dict.fromkeys(wallets, 50)
    assert CreditTransaction.objects.count() == len(wallets) == 60
    progress = progress_of(fresh(batch))
    assert (progress.status, progress.moved, progress.credits) == ("done", 60, 3_000)
    assert [line[5] for line in results(batch)] == ["done"] * 60


class TestABatch:
    def test_that_is_killed_paused_and_worked_by_many_gives_everyone_exactly_once(self, batch):
        lower = batch.job.chunks.order_by("lower").values_list("lower", flat=True)
        with transaction.atomic():
            posting.lock_wallet(lower[3])
            with command_running("run_batch", str(batch.pk)) as command:
                command.kill_when(somebody_waits_for_us)
        with transaction.atomic():
            # Its connection outlives it for a moment; it has the chunk locked as long.
            chunks = list(JobChunk.objects.select_for_update().order_by("lower"))
        assert [chunk.done_at is not None for chunk in chunks] == [True] * 3 + [False] * 3
        assert len(moved_by(batch)) == progress_of(fresh(batch)).moved == 30

        why = {"actor": finance(), "reason": "look at it first", "at": AT}
        batches.pause_batch(batch=batch, **why)
        assert race(*[lambda: work(batch)] * 3) == ["Batch"] * 3
        assert len(moved_by(batch)) == 30
        batches.resume_batch(batch=batch, **why)
        assert race(*[lambda: work(batch)] * 6) == ["Batch"] * 6
        everybody_got_theirs(batch)

    def test_that_is_cancelled_while_many_work_reports_what_the_ledger_says(self, batch):
        def cancel() -> Batch:
            return batches.cancel_batch(batch=batch, actor=finance(), reason="stop it", at=AT)

        assert set(race(*[lambda: work(batch)] * 3, cancel)) <= {"Batch", "JobNotInState"}
        progress, moved = progress_of(fresh(batch)), moved_by(batch)
        assert (progress.moved, progress.credits) == (len(moved), sum(moved.values()))
        assert [line[5] for line in results(batch)].count("done") == progress.moved

    def test_finds_what_is_done_though_nobody_kept_that(self, batch):
        work(batch)
        batch.job.chunks.update(done_at=None, result=None)
        type(batch.job).objects.update(status="running")
        assert race(*[lambda: work(batch)] * 3) == ["Batch"] * 3
        assert (CreditTransaction.objects.count(), len(moved_by(batch))) == (60, 60)
        assert fresh(batch).job.result["repeated"] == 60


class TestFilesWithNotes:
    def test_of_the_same_people_do_not_wait_for_each_other_in_a_circle(self, ledger_db):
        users = bulk_created(40, role=None)

        def noted(first: str, last: str) -> Batch:
            # Of each note there is a call of the engine, in the order of the notes.
            rows = [
                BatchRow(line, user.email, amount=1, note=first if line % 2 else last)
                for line, user in enumerate(users, start=2)
            ]
            return started(rows=rows)

        files = [noted("a", "b"), noted("b", "a")] * 2
        assert race(*[lambda batch=batch: work(batch) for batch in files]) == ["Batch"] * 4
        assert {wallet.award for wallet in Wallet.objects.filter(user__in=users)} == {2}
