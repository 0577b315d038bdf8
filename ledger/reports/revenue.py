"""The money paid for credits: what of it is deferred, and what became of the rest."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime

from ledger.queries.figures import money_moved
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Row, Takes

MOVEMENTS = {
    "brought_in": "Brought in",
    "paid": "Paid",
    "returned": "Returned",
    "used": "Recognised by use",
    "breakage": "Breakage",
    "released": "Released by staff",
}
ADD = ("brought_in", "paid")
NOTES = [
    "Opening, what was brought in and what was paid, less the rest, are closing; closing is the"
    " next opening.",
    "Revenue is recognised by use plus breakage. Money is net of tax.",
]

Line = dict[str, int]

# Who above the books knows of money that is paid for credits to come: by currency, in minor units,
# as it stood at the end of a day of business.
UNALLOTTED: list[Callable[[date, datetime], Mapping[str, int]]] = []


def build_revenue(period: Period, at: datetime) -> Report:
    deferred: dict[str, int] = {}
    months: dict[tuple[date, str], Line] = {}
    groups = ("is_before", "month", "currency")
    for row in money_moved(*groups, last=period.last, start=period.first):
        line = {name: row[name] for name in MOVEMENTS}
        if row["is_before"]:
            deferred[row["currency"]] = deferred.get(row["currency"], 0) + _change(line)
        else:
            months[row["month"], row["currency"]] = line
    rows, totals = [], []
    for currency in sorted({*deferred, *(currency for _, currency in months)}):
        opening = first_opening = deferred.get(currency, 0)
        total = dict.fromkeys(MOVEMENTS, 0)
        for month in _months(period):
            line = months.get((month, currency), dict.fromkeys(MOVEMENTS, 0))
            closing = opening + _change(line)
            rows.append((month, currency, opening, *line.values(), closing))
            total = {name: total[name] + line[name] for name in MOVEMENTS}
            opening = closing
        totals.append((None, currency, first_opening, *total.values(), opening))
    return Report(
        title="Deferred and recognised revenue",
        columns=[
            Column("month", "Month", Kind.MONTH),
            Column("currency", "Currency", Kind.CURRENCY),
            Column("opening", "Opening deferred", Kind.MONEY),
            *_movement_columns(),
            Column("closing", "Closing deferred", Kind.MONEY),
        ],
        rows=sorted(rows, key=lambda row: row[:2]),
        totals=totals,
        notes=[*NOTES, "The first and the last month are what the period has of them."],
        chart=Chart("bars", "month", ("used", "breakage"), per="currency"),
    )


def build_deferred(period: Period, at: datetime) -> Report:
    lines = {
        row["currency"]: {name: row[name] for name in MOVEMENTS}
        for row in money_moved("currency", last=period.last)
    }
    unallotted = _unallotted(period, at)
    nothing = dict.fromkeys(MOVEMENTS, 0)
    rows: list[Row] = []
    for currency in sorted({*lines, *unallotted}):
        line, more = lines.get(currency, nothing), unallotted.get(currency, 0)
        deferred = _change(line)
        rows.append((currency, *line.values(), deferred, more, deferred + more))
    return Report(
        title="Deferred revenue",
        columns=[
            Column("currency", "Currency", Kind.CURRENCY),
            *_movement_columns(),
            Column("deferred", "Deferred", Kind.MONEY),
            Column("unallotted", "Paid, not yet allotted", Kind.MONEY),
            Column("owed", "Owed in all", Kind.MONEY),
        ],
        rows=rows,
        notes=[
            "All figures are from the beginning to the end of the day.",
            NOTES[1],
            "Not yet allotted is what is paid for the months to come of a yearly plan: their"
            " credits are in no wallet yet.",
        ],
        chart=Chart("bars", "currency", ("deferred",), per="currency"),
    )


def _unallotted(period: Period, at: datetime) -> dict[str, int]:
    found: dict[str, int] = {}
    for tell in UNALLOTTED:
        for currency, minor in tell(period.last, at).items():
            found[currency] = found.get(currency, 0) + minor
    return found


def _movement_columns() -> Iterable[Column]:
    return (Column(name, label, Kind.MONEY) for name, label in MOVEMENTS.items())


def _change(line: Line) -> int:
    return sum(amount if name in ADD else -amount for name, amount in line.items())


def _months(period: Period) -> Iterator[date]:
    """Yield the first days of the months that a period touches."""
    month = period.first.replace(day=1)
    while month <= period.last:
        yield month
        year, next_month = divmod(month.year * 12 + month.month, 12)
        month = date(year, next_month + 1, 1)


REVENUE = ReportKind(
    slug="revenue",
    title="Deferred and recognised revenue",
    description="Money paid for credits: deferred, returned, recognised, by month and currency.",
    build=build_revenue,
)
DEFERRED = ReportKind(
    slug="deferred",
    title="Deferred revenue",
    description="What is deferred at the end of a day, and how it came about, by currency.",
    build=build_deferred,
    takes=Takes.DAY,
)
