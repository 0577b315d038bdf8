"""
Months of business, and when what is given every month falls due.

A period is a month, known by its first day. Its day is the ``monthly_day`` of the settings, or the
last day of a shorter month; it falls due when that day begins in the business time zone.
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ledger.models import CreditSettings

BEGINNING = datetime.min.replace(tzinfo=UTC)


class Due(NamedTuple):
    """When a period falls due, and the settings that are in force then."""

    at: datetime
    terms: CreditSettings


def period_of(at: datetime, time_zone: str) -> date:
    """Return the month that it is at ``at`` in that zone."""
    return at.astimezone(ZoneInfo(time_zone)).date().replace(day=1)


def months_after(period: date, months: int) -> date:
    """Return the month so many later, or earlier below zero."""
    years, month = divmod(period.month - 1 + months, 12)
    return date(period.year + years, month + 1, 1)


def day_begins(day: date, time_zone: str) -> datetime:
    """
    Return the instant at which ``day`` begins in that zone, in UTC.

    Where the clock shows midnight twice it is the first time; where it skips midnight, or the whole
    day, it is when midnight would have been by the clock of before.
    """
    return datetime.combine(day, time(), tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def monthly_due(period: date, monthly_day: int, time_zone: str) -> datetime:
    """Return when ``period`` falls due by these terms."""
    last = monthrange(period.year, period.month)[1]
    return day_begins(period.replace(day=min(monthly_day, last)), time_zone)


def falls_due(period: date, versions: Sequence[CreditSettings]) -> Due:
    """
    Return when ``period`` falls due, by the settings in force at that instant.

    It is the first instant at which the settings then in force say that its day has come. So each
    period falls due exactly once, however often day and zone are changed: one that a change moves
    into the past falls due with the change. ``versions`` are in order; the first one counts from
    the beginning.
    """
    starts = [BEGINNING, *(version.changed_at for version in versions[1:])]
    for terms, start, end in zip(versions, starts, [*starts[1:], None], strict=True):
        at = max(start, monthly_due(period, terms.monthly_day, terms.time_zone))
        if end is None or at < end:
            return Due(at, terms)
    raise AssertionError("the last version is in force for ever")
