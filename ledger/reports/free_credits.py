"""What credits that nobody paid for cost us when they are used."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from creditsite.money import digits_of
from ledger.choices import CreditType, TransactionKind
from ledger.queries.figures import credits_moved
from ledger.reports.liability import CLASSES
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Row

GROUPS = ("cost_currency", "month", "credit_type", "unit_cost", "kind", "reverses")
Key = tuple[str, object, str, Decimal]


def build(period: Period, at: datetime) -> Report:
    used: dict[Key, int] = {}
    moved = credits_moved(*GROUPS, "is_funded", first=period.first, last=period.last)
    for row in moved:
        is_use = TransactionKind.USAGE in (row["kind"], row["reverses"])
        if is_use and row["credit_type"] and not row["is_funded"]:
            key = (row["cost_currency"], row["month"], row["credit_type"], row["unit_cost"])
            used[key] = used.get(key, 0) - row["credits"]
    rows: list[Row] = []
    exact: dict[str, Decimal] = {}
    credits_in: dict[str, int] = {}
    for (currency, month, credit_type, unit_cost), credits in used.items():
        before = exact.get(currency, Decimal(0))
        exact[currency] = before + credits * unit_cost
        credits_in[currency] = credits_in.get(currency, 0) + credits
        # Of the running sum, so that the lines add up to the total, which is rounded once.
        cost = _minor(exact[currency], currency) - _minor(before, currency)
        rows.append(
            (month, CLASSES[CreditType(credit_type), False], unit_cost, currency, credits, cost)
        )
    return Report(
        title="Cost of free credits",
        columns=[
            Column("month", "Month", Kind.MONTH),
            Column("credits", "Credits"),
            Column("unit_cost", "Cost of one", Kind.COST),
            Column("currency", "Currency", Kind.CURRENCY),
            Column("used", "Used", Kind.CREDITS),
            Column("cost", "Cost", Kind.MONEY),
        ],
        rows=sorted(rows, key=lambda row: row[0]),
        totals=[
            (None, "All", None, currency, credits_in[currency], _minor(cost, currency))
            for currency, cost in exact.items()
        ],
        notes=[
            "Awards, partner credits and purchases without a payment, at the recovery cost in force"
            " when they were used; what was given back is taken off at the cost it was counted at.",
            "The total is rounded once; each line is the difference it makes to the running total.",
        ],
        chart=Chart("bars", "month", ("cost",), per="currency"),
    )


def _minor(cost: Decimal, currency: str) -> int:
    return int(cost.scaleb(digits_of(currency)).to_integral_value(ROUND_HALF_UP))


FREE_CREDITS = ReportKind(
    slug="free-credits",
    title="Cost of free credits",
    description="Credits used that nobody paid for, and what they cost us, by month and type.",
    build=build,
)
