"""What a report is, whatever it tells: columns, rows, totals, and how to draw them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

# The values of a line, in the order of the columns.
Row = tuple[Any, ...]


class Kind(StrEnum):
    """
    What the values of a column are.

    Credits, counts and money are whole numbers or ``None`` (it does not apply); money is in the
    minor units of the currency (in lower case) that the row's ``currency`` column names. A cost is
    a ``Decimal`` of that currency for one credit, a percentage a ``Decimal``, a day a ``date``, a
    person an e-mail address or the name of a team.
    """

    TEXT = "text"
    PERSON = "person"
    DAY = "day"
    MONTH = "month"  # the ``date`` of its first day
    CREDITS = "credits"
    COUNT = "count"
    MONEY = "money"
    CURRENCY = "currency"
    COST = "cost"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Column:
    """``name`` heads the column in a file, ``label`` on a page."""

    name: str
    label: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Chart:
    """
    A picture of the rows: ``x`` and each of ``ys`` name columns; ``kind`` is "bars", "line", or
    "beside": bars that are not parts of a whole, as opening and closing.

    ``per`` names a column whose values take a picture each, such as the currency.
    """

    kind: str
    x: str
    ys: tuple[str, ...]
    per: str | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """The days of business from ``first`` to ``last``, both included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Report:
    """
    What a report says. ``rows`` may be read once only, and may be many.

    ``totals`` are rows, too: one, or one for each currency; ``notes`` are sentences.
    """

    title: str
    columns: Sequence[Column]
    rows: Iterable[Row]
    totals: Sequence[Row] = ()
    notes: Sequence[str] = ()
    chart: Chart | None = None


class Takes(StrEnum):
    """What a report is asked for: a period, a day (a period of that one day), or nothing: now."""

    PERIOD = "period"
    DAY = "day"
    NOW = "now"


@dataclass(frozen=True, slots=True)
class ReportKind:
    """
    A report that can be asked for: ``build(period, at)``, ``at`` being the present instant.

    Figures are what the ledger says at ``at``; those of days that are over do not change.
    """

    slug: str
    title: str
    description: str
    build: Callable[[Period, datetime], Report]
    takes: Takes = Takes.PERIOD
    permission: str = "ledger.view_report"
