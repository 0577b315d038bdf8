"""What is owed in credits: how it came from one day to another, and what it is on a day."""

from collections.abc import Iterable
from datetime import datetime

from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.queries.figures import Figures, credits_moved
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Row, Takes

# Credits by what they are to Finance, and whether money was paid for them.
CLASSES = {
    (CreditType.AWARD, False): "Awards",
    (CreditType.PARTNER, False): "Partner credits",
    (CreditType.PURCHASE, True): "Purchases, paid for",
    (CreditType.PURCHASE, False): "Purchases, unfunded",
}
HEADINGS = {
    "brought_in": "Brought in",
    "sold": "Sold",
    "granted": "Granted",
    "spent": "Spent",
    "expired": "Expired",
    "refunded": "Refunded",
    "clawed_back": "Clawed back",
    "adjusted": "Adjusted",
    "reversed": "Reversed",
    "voided": "Voided",
    "debt_repaid": "Debt repaid",
}
HEADING_OF = {
    TransactionKind.USAGE: "spent",
    TransactionKind.EXPIRY: "expired",
    TransactionKind.REFUND: "refunded",
    TransactionKind.CLAWBACK: "clawed_back",
    TransactionKind.REINSTATEMENT: "clawed_back",
    TransactionKind.ADJUSTMENT: "adjusted",
    TransactionKind.REVERSAL: "reversed",
    TransactionKind.VOID: "voided",
    TransactionKind.DEBT_REPAYMENT: "debt_repaid",
}
GROUPS = ("is_before", "kind", "credit_type", "is_funded", "source")


def build_roll_forward(period: Period, at: datetime) -> Report:
    lines = {of: dict.fromkeys(["opening", *HEADINGS], 0) for of in CLASSES}
    for row in _of_credits(credits_moved(*GROUPS, last=period.last, start=period.first)):
        heading = "opening" if row["is_before"] else _heading(row)
        lines[row["credit_type"], row["is_funded"]][heading] += row["credits"]
    rows = [(CLASSES[of], *line.values(), sum(line.values())) for of, line in lines.items()]
    return Report(
        title="Liability roll-forward",
        columns=[
            Column("credits", "Credits"),
            Column("opening", "Opening", Kind.CREDITS),
            *(Column(name, label, Kind.CREDITS) for name, label in HEADINGS.items()),
            Column("closing", "Closing", Kind.CREDITS),
        ],
        rows=rows,
        totals=[("All", *_sums(rows))],
        notes=[
            "What was taken is below zero: opening and movements add up to closing, and closing is"
            " the next opening.",
            "Credits count until their expiry is booked, a minute after it at the latest; held and"
            " frozen ones count.",
        ],
        chart=Chart("beside", "credits", ("opening", "closing")),
    )


def build_outstanding(period: Period, at: datetime) -> Report:
    outstanding = dict.fromkeys(CLASSES, 0)
    for row in _of_credits(credits_moved("credit_type", "is_funded", last=period.last)):
        outstanding[row["credit_type"], row["is_funded"]] += row["credits"]
    rows = [(CLASSES[of], credits) for of, credits in outstanding.items()]
    return Report(
        title="Outstanding credits",
        columns=[Column("credits", "Credits"), Column("outstanding", "Outstanding", Kind.CREDITS)],
        rows=rows,
        totals=[("All", *_sums(rows))],
        notes=["As the books stood at the end of the day; held and frozen credits count."],
        chart=Chart("bars", "credits", ("outstanding",)),
    )


def _of_credits(rows: Iterable[Figures]) -> Iterable[Figures]:
    """Leave out transactions that moved no credits, such as a debt that is written off."""
    return (row for row in rows if row["credit_type"])


def _heading(row: Figures) -> str:
    if not row["source"] or row["kind"] == TransactionKind.ADJUSTMENT:
        return HEADING_OF[TransactionKind(row["kind"])]
    if row["source"] == GrantSource.OPENING:
        return "brought_in"
    return "sold" if row["is_funded"] else "granted"


def _sums(rows: Iterable[Row]) -> Row:
    return tuple(sum(values) for values in list(zip(*rows, strict=True))[1:])


LIABILITY = ReportKind(
    slug="liability",
    title="Liability roll-forward",
    description="Outstanding credits from one day to another, by type and what moved them.",
    build=build_roll_forward,
)
OUTSTANDING = ReportKind(
    slug="outstanding",
    title="Outstanding credits",
    description="Outstanding credits at the end of a day, by type.",
    build=build_outstanding,
    takes=Takes.DAY,
)
