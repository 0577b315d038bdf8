"""All wallets together, counted now and then so that showing them costs nothing."""

from datetime import datetime, timedelta
from time import perf_counter

from django.db import connection, transaction

from ledger.choices import CreditType
from ledger.models import Snapshot
from ledger.queries.settings import settings_at
from ledger.queries.system import wallets_at

LOCK = int.from_bytes(b"snapshot", "big", signed=True)
# Counting takes this share of the time at most, however many wallets there are.
SHARE = 20
FIGURES = [*CreditType.values, "held", "debt", "low"]


@transaction.atomic
def renew(*, at: datetime) -> bool:
    """
    Count all wallets anew as they are at ``at``; return whether that was done.

    One counts at a time, and none so soon that it would be doing little else.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
    last = Snapshot.objects.first()
    if last and at < last.at + timedelta(seconds=last.seconds * SHARE):
        return False
    started = perf_counter()
    threshold = settings_at(at).low_credit_threshold
    rows = wallets_at(at, low_below=threshold)
    Snapshot(
        pk=1,
        at=at,
        wallets=sum(row.wallets for row in rows),
        **{name: sum(getattr(row, name) for row in rows) for name in FIGURES},
        low_threshold=threshold,
        seconds=perf_counter() - started,
    ).save()
    return True
