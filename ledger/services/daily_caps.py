"""
What a service key may spend in a day of UTC.

A spend writes the books and nothing else, so what a key has spent is added up behind it, and read
again every few seconds by each process, which counts its own spends on top. The cap is soft by what
other processes spend in those seconds.
"""

import threading
import uuid
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic
from typing import NamedTuple

from django.db import connection

from ledger.errors import DailyCapReached
from ledger.models import CreditTransaction, Hold
from ledger.services.rollups import lowest_id, roll_up

SPENDING = "daily spending"
COUNT_LIVES_SECONDS = 5

# In one statement, so that what moves from the tail into the rollup is seen once. What is held
# open counts: it can be captured any time, and a capture is not refused.
SPENT = """
    SELECT coalesce((
        SELECT spent FROM ledger_dailyspending WHERE caller = %(caller)s AND day = %(day)s
    ), 0) + coalesce((
        SELECT -sum(amount) FROM ledger_credittransaction
        WHERE id >= greatest((SELECT before FROM ledger_rollup WHERE name = %(name)s), %(first)s)
          AND caller = %(caller)s AND kind = 'usage' AND recorded_at >= %(midnight)s
    ), 0) + coalesce((
        SELECT sum(amount) FROM ledger_hold
        WHERE status = 'open' AND expires_at > %(at)s AND caller = %(caller)s
    ), 0)
"""
ADD_UP = """
    INSERT INTO ledger_dailyspending AS known (caller, day, spent)
    SELECT caller, (recorded_at AT TIME ZONE 'UTC')::date, -sum(amount)
    FROM ledger_credittransaction
    WHERE id >= %s AND id < %s AND kind = 'usage' AND caller LIKE 'key:%%'
    GROUP BY 1, 2
    ON CONFLICT (caller, day) DO UPDATE SET spent = known.spent + excluded.spent
"""


class Count(NamedTuple):
    """What a caller has spent on ``day``, as read at ``read_at`` and counted on since."""

    day: date
    read_at: float
    spent: int


class Counts:
    """The counts of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Count] = {}

    def take(self, caller: str, amount: int, cap: int, at: datetime) -> bool:
        """Count ``amount`` for ``caller`` unless it goes beyond ``cap``; say whether it was."""
        day = at.astimezone(UTC).date()
        known = self._counts.get(caller)
        if known is None or known.day != day or monotonic() - known.read_at > COUNT_LIVES_SECONDS:
            # Outside of the lock: nobody waits for somebody else's query.
            known = Count(day, monotonic(), spent_today(caller=caller, at=at))
            with self._lock:
                self._counts[caller] = known
        with self._lock:
            known = self._counts[caller]
            if known.spent + amount > cap:
                return False
            self._counts[caller] = known._replace(spent=known.spent + amount)
            return True

    def forget(self) -> None:
        """Read all again when they are next asked for."""
        with self._lock:
            self._counts.clear()


counts = Counts()


def refuse_over_cap(
    *, caller: str, cap: int | None, amount: int, key: uuid.UUID, at: datetime
) -> None:
    """
    Refuse to spend or hold ``amount`` credits beyond ``cap``, unless ``key`` did so before.

    :raises DailyCapReached: it goes beyond; says in how many seconds the day ends.
    """
    if cap is None or counts.take(caller, amount, cap, at):
        return
    # Looked up only now: a repeat has its answer, and costs no other spend a query.
    if CreditTransaction.objects.filter(key=key).exists() or Hold.objects.filter(key=key).exists():
        return
    raise DailyCapReached(cap=cap, seconds=int((midnight_after(at) - at).total_seconds()) + 1)


def spent_today(*, caller: str, at: datetime) -> int:
    """Return what ``caller`` has spent since midnight in UTC, and holds, in whole credits."""
    midnight = midnight_after(at) - timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(
            SPENT,
            {
                "caller": caller,
                "day": midnight.date(),
                "name": SPENDING,
                # Ids are made by the clock of the database; ours may be a little ahead of it.
                "first": lowest_id(midnight - timedelta(hours=1)),
                "midnight": midnight,
                "at": at,
            },
        )
        return int(cursor.fetchone()[0])


def add_up() -> bool:
    """
    Add up what service keys have spent, as far as it is certain that nothing comes late.

    One does at a time; return whether this one got any further.
    """
    return roll_up(SPENDING, _add_up, first=lambda now: midnight_after(now) - timedelta(days=1))


def _add_up(lower: uuid.UUID, upper: uuid.UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(ADD_UP, [lower, upper])


def midnight_after(at: datetime) -> datetime:
    day = at.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(day, time(), tzinfo=UTC)
