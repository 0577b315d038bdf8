"""
What the lines of a paid invoice entitle to, month by month.

Pure functions. Credits go with money: a line at so much of a price entitles to so much of its
credits, and one that gives back unused time takes them off. All is exact until it is rounded down,
once, over the whole invoice; so no way up and down makes a credit.
"""

from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import NamedTuple
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Line:
    """
    What is billed at a price that costs ``price_minor`` and brings ``credits`` in its period.

    :param version: the id of the version whose price it is.
    """

    version: int
    credits: int
    price_minor: int
    amount_minor: int
    starts_at: datetime
    ends_at: datetime
    is_proration: bool = False

    @property
    def value(self) -> Fraction:
        """Its credits, exactly; below zero where unused time is given back."""
        return Fraction(self.credits * self.amount_minor, self.price_minor)


class Month(NamedTuple):
    """Whole credits for some month of a subscription, and whose terms they come by."""

    starts_at: datetime
    ends_at: datetime
    credits: int
    version: int


def entitlement_of(lines: Iterable[Line]) -> int:
    """Return the credits of an invoice, rounded down; below zero if it gives back more."""
    return floor(sum((line.value for line in lines), Fraction(0)))


def months_of(
    lines: Sequence[Line], *, anchor: datetime, time_zone: str, owed: int = 0
) -> list[Month]:
    """
    Return the months that ``lines`` pay for; their credits are the entitlement less ``owed``.

    The months are counted from ``anchor``, by the clock of that zone: the 31st is the last day of a
    shorter month, and the 31st again after it.

    :param owed: what earlier invoices gave back of credits that were given.
    """
    total = entitlement_of(lines) - owed
    zone = ZoneInfo(time_zone)
    found: dict[datetime, list[tuple[Fraction, datetime, int]]] = {}
    for line in lines:
        bounds, weights = _cut(line, anchor, zone)
        for (start, end), weight in zip(pairwise(bounds), weights, strict=True):
            part = line.value * weight / sum(weights)
            found.setdefault(start, []).append((part, end, line.version))
    months, exact, given = [], Fraction(-owed), 0
    for start in sorted(found):
        exact += sum(part for part, _, _ in found[start])
        _, end, version = max(found[start])
        level = max(given, min(floor(exact), total))
        if level > given:
            months.append(Month(start, end, level - given, version))
        given = level
    return months


def month_after(anchor: datetime, months: int, zone: ZoneInfo) -> datetime:
    """Return the instant so many months later by that zone's clock, on its day or the last one."""
    local = anchor.astimezone(zone)
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).astimezone(UTC)


def months_between(anchor: datetime, instant: datetime) -> int:
    """Return how many months later an instant is, by their numbers; as Stripe, in UTC."""
    first, last = anchor.astimezone(UTC), instant.astimezone(UTC)
    return (last.year - first.year) * 12 + last.month - first.month


def _cut(
    line: Line, anchor: datetime, zone: ZoneInfo
) -> tuple[list[datetime], list[Fraction | int]]:
    """Return where the months of a line begin, and its end; and how much each month weighs."""
    number = months_between(anchor, line.starts_at)
    first: Fraction | int = 1
    if line.is_proration:
        while month_after(anchor, number, zone) > line.starts_at:
            number -= 1
        while (next_one := month_after(anchor, number + 1, zone)) <= line.starts_at:
            number += 1
        begun = month_after(anchor, number, zone)
        left = (next_one - line.starts_at).total_seconds()
        first = Fraction(int(left), int((next_one - begun).total_seconds()))
    last = months_between(anchor, line.ends_at)
    inner = [month_after(anchor, each, zone) for each in range(number + 1, last)]
    bounds = [line.starts_at, *(b for b in inner if line.starts_at < b < line.ends_at)]
    return [*bounds, line.ends_at], [first, *(1 for _ in bounds[1:])]


def net_and_tax(paid_minor: int, total_minor: int, tax_minor: int) -> tuple[int, int]:
    """
    Return what was paid without tax, and the tax of it.

    Where the customer's balance paid for some of an invoice, it paid for as much of the tax.
    """
    tax = paid_minor * tax_minor // total_minor if total_minor > 0 else 0
    return paid_minor - tax, tax
