"""Statements of revenue share as pages and files show them."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from django.db.models import Count, F, QuerySet, Sum

from billing.models import ShareLine, ShareMonth, ShareStatement
from creditsite.money import in_units

COLUMNS = [
    *("month", "payee", "payee_id", "kind", "currency", "line", "percent", "basis", "earned"),
    *("state", "paid_on", "reference"),
]


class Standing(NamedTuple):
    """What became of a statement: ``state`` in a word, and in which it is carried forward."""

    state: str
    later: ShareStatement | None = None


def with_standing(statements: QuerySet[ShareStatement]) -> QuerySet[ShareStatement]:
    """Read with statements what ``standing_of`` asks for."""
    return statements.select_related("payee", "payout", "next")


def standing_of(statement: ShareStatement) -> Standing:
    if hasattr(statement, "payout"):
        return Standing("paid out")
    if hasattr(statement, "next"):
        return Standing("carried forward", statement.next)
    return Standing("to be paid" if statement.total_minor > 0 else "open")


def unpaid() -> QuerySet[ShareStatement]:
    """Return the last statements that are not paid out, whatever they come to."""
    return ShareStatement.objects.filter(payout=None, next=None)


def lines_of(statement: ShareStatement) -> QuerySet[ShareLine]:
    """Return its lines, the largest first."""
    return statement.lines.select_related("user", "feature").order_by("-basis_minor", "pk")


def summary_of(statement: ShareStatement) -> list[Mapping[str, Any]]:
    """
    Return the lines as who earned them sees them: by percentage and feature.

    What one person spends is nobody's to know: an agent is told of how many users it comes.
    """
    parts = statement.lines.values("percent", code=F("feature__code"))
    sums = parts.annotate(users=Count("user"), basis=Sum("basis_minor"), earned=Sum("earned_minor"))
    return [*sums.order_by("code", "percent")]


def tie_out(month: date) -> list[dict[str, Any]]:
    """Return for each currency what a month's statements were made of, in minor units."""
    made = ShareMonth.objects.filter(month=month).first()
    figures = made.figures if made else {}
    return [
        {
            "currency": currency,
            **line,
            "by_use": line["used"] - line["repaid"],
            "without_agent": line["used"] - line["repaid"] - line["agents"],
            "without_partner": line["used"] - line["repaid"] - line["partners"],
        }
        for currency, line in sorted(figures.items())
    ]


def rows(statements: QuerySet[ShareStatement]) -> Iterator[list[Any]]:
    """Yield the rows of a file: of each statement what it opens with, its lines and its total."""
    ordered = with_standing(statements).order_by("month", "kind", "currency", "payee", "pk")
    for statement in ordered.iterator(chunk_size=500):
        yield from rows_of(statement)


def rows_of(statement: ShareStatement) -> Iterator[list[Any]]:
    payout = getattr(statement, "payout", None)
    head = [
        f"{statement.month:%Y-%m}",
        str(statement.payee),
        statement.payee_id,
        statement.kind,
        statement.currency.upper(),
    ]
    paid = [payout.paid_on, payout.reference] if payout else [None, None]
    tail = [standing_of(statement).state, *paid]

    def row(line: str, percent: Any, basis: int | None, earned: int) -> list[Any]:
        money = [None if m is None else in_units(m, statement.currency) for m in (basis, earned)]
        return [*head, line, percent, *money, *tail]

    yield row("carried forward", None, None, statement.opening_minor)
    for line in lines_of(statement).iterator(chunk_size=2_000):
        yield row(str(line.user or line.feature), line.percent, line.basis_minor, line.earned_minor)
    yield row("total", None, None, statement.total_minor)
