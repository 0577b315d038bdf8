"""The backfill as its command runs it."""

import resource
import time
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.services.jobs import run_job
from ledger.services import backfill


def run() -> dict[str, Any]:
    """Run a backfill to its end; return how long it took, what it did, and its memory in MiB."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    before, started = peak_mib(), time.perf_counter()
    job = backfill.create_backfill(role=None, actor=None, at=timezone.now())
    job = run_job(job, work=backfill.backfill_chunk)
    return {
        "seconds": time.perf_counter() - started,
        "status": job.status,
        "granted": sum(counts["granted"] for counts in job.result.values()),
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Return the most memory that this process ever had; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
