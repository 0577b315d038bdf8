"""Time: the sandbox's, which can be moved ahead, and that of a customer on a test clock."""

import calendar
import time
from datetime import UTC, datetime

from billing.stripe_sandbox.store import Store

DAY = 86_400


class Clock:
    """Real time and how far it was moved; within a timer, the instant at which it was due."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.moment: int | None = None

    def real(self) -> float:
        """Return what deliveries go by."""
        return time.time() + self.store.fact("ahead", 0)

    def now(self, clock: str | None = None) -> int:
        if self.moment is not None:
            return self.moment
        if clock and (frozen := self.store.get(clock)):
            return int(frozen["frozen_time"])
        return int(self.real())


def plus_months(anchor: int, months: int) -> int:
    """Return the instant ``months`` after ``anchor``, on its day or the month's last one."""
    start = datetime.fromtimestamp(anchor, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def plus_intervals(anchor: int, interval: str, count: int) -> int:
    """Return the instant ``count`` days, weeks, months or years after ``anchor``."""
    if interval in {"day", "week"}:
        return anchor + count * (DAY if interval == "day" else 7 * DAY)
    return plus_months(anchor, count * (12 if interval == "year" else 1))
