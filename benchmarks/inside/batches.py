"""A batch over all wallets, as it is planned, confirmed and worked."""

import time
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.models import Job
from accounts.services.jobs import run_job
from benchmarks.inside.backfill import peak_mib
from ledger.choices import BatchKind, CreditType
from ledger.models import Batch
from ledger.queries.batches import progress_of
from ledger.services import batches
from ledger.services.batch_words import phrase_of

AMOUNT = 50


def plan(*, kind: str) -> dict[str, Any]:
    """Plan a batch of the system over all users and start it; return how long each took."""
    without_limit()
    at, before, started = timezone.now(), peak_mib(), time.perf_counter()
    batch = batches.draft_batch(
        kind=BatchKind(kind),
        credit_type=CreditType.AWARD,
        amount=AMOUNT,
        selection={"of": "all"},
        reason="Measured",
        maker=None,
        at=at,
    )
    batch = batches.plan_batch(batch=batch, at=at)
    planned = time.perf_counter()
    batches.confirm_batch(
        batch=batch, plan_hash=batch.plan_hash, phrase=phrase_of(batch), actor=None, at=at
    )
    return {
        "batch": batch.pk,
        "plan_seconds": planned - started,
        "start_seconds": time.perf_counter() - planned,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def run(*, batch: int) -> dict[str, Any]:
    """Work a batch to its end; return how long it took, what it did, and its memory in MiB."""
    without_limit()
    found = Batch.objects.get(pk=batch)
    job = Job.objects.get(batch=found)
    before, started, began = peak_mib(), time.perf_counter(), time.time()
    job = run_job(job)
    seconds = time.perf_counter() - started
    progress = progress_of(found)
    return {
        "seconds": seconds,
        "began": began,
        "ended": began + seconds,
        "moved": progress.moved,
        "credits": progress.credits,
        "repeated": job.result["repeated"],
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def without_limit() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
