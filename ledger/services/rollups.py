"""
Adding up behind the ledger: each transaction once, and none that commits late is skipped.

A spend writes the books and nothing else. What is made of them is made afterwards, in rows of its
own, as far as it is certain that nothing comes late. How far that is, is a :class:`Rollup`.
"""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from ledger.models import CreditTransaction, Rollup

# An id is made before its request waits for a wallet; no request waits for longer.
LONGEST_WAIT = timedelta(
    milliseconds=max(60_000, 2 * settings.DATABASE_TIMEOUTS_MS["statement_timeout"])
)

NOW = """
    SELECT clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
           pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""


@transaction.atomic
def roll_up(
    name: str,
    add_up: Callable[[uuid.UUID, uuid.UUID], object],
    *,
    first: Callable[[datetime], datetime] = lambda now: now - LONGEST_WAIT,
    most: int | None = None,
) -> bool:
    """
    Have ``add_up(lower, upper)`` add up the transactions with ids in ``[lower, upper)``.

    They are those that no earlier call was given and that nothing comes late to any more. One does
    at a time; return whether this one got any further.

    :param first: since when, when there was no such rollup before; given the database's clock.
    :param most: so many transactions at a time; all of them when left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(NOW)
        now, oldest, newest = cursor.fetchone()
    start = lowest_id(first(now))
    Rollup.objects.get_or_create(
        name=name, defaults={"before": start, "next_before": start, "next_xid": newest}
    )
    rollup = (
        Rollup.objects.select_for_update(skip_locked=True, no_key=True).filter(name=name).first()
    )
    if rollup is None or oldest < rollup.next_xid:
        return False
    upper = _upper(rollup, most)
    add_up(rollup.before, upper)
    rollup.before = upper
    if upper == rollup.next_before:
        rollup.next_before = max(upper, lowest_id(now - LONGEST_WAIT))
        rollup.next_xid = newest
    rollup.save()
    return True


def lowest_id(at: datetime) -> uuid.UUID:
    """Return what no UUIDv7 made ``at`` or later is below."""
    return uuid.UUID(int=int(at.timestamp() * 1000) << 80)


def _upper(rollup: Rollup, most: int | None) -> uuid.UUID:
    """Return below which id the next transactions are added up, ``most`` of them or all."""
    waiting = CreditTransaction.objects.filter(pk__gte=rollup.before, pk__lt=rollup.next_before)
    cut = waiting.order_by("pk").values_list("pk", flat=True)[most : most + 1] if most else ()
    return next(iter(cut), rollup.next_before)
