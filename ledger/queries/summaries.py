"""What came into a wallet in a period, where it went, and how long the rest will last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Sign, TruncDate

from ledger.choices import CreditType, TransactionKind
from ledger.models import Grant
from ledger.queries.balances import balance_of
from ledger.queries.grants import GrantStatus, grants_at
from ledger.queries.statements import transactions_of

SECONDS_A_DAY = 86_400
MOST_GRANTS = 100

# The heading of a transaction by its kind and sign. What has none here is under "other":
# corrections by staff, clawbacks, debts.
HEADINGS = {
    (TransactionKind.AWARD, 1): "granted",
    (TransactionKind.PARTNER, 1): "granted",
    (TransactionKind.PURCHASE, 1): "granted",
    (TransactionKind.ALLOCATION, 1): "granted",
    (TransactionKind.USAGE, -1): "spent",
    (TransactionKind.EXPIRY, -1): "expired",
    (TransactionKind.REFUND, 1): "refunded",
    (TransactionKind.REVERSAL, 1): "refunded",
}

ByType = dict[str, int]


def nothing() -> ByType:
    return dict.fromkeys([*CreditType.values, "total"], 0)


@dataclass
class Summary:
    """
    The movements of a wallet from ``since`` to ``until``, in whole credits.

    ``granted − spent − expired + refunded + other`` is the change of each type. ``by_feature`` and
    ``by_day`` (in UTC) divide ``spent``; a feature of "" is credits spent without one.
    """

    since: datetime
    until: datetime
    granted: ByType = field(default_factory=nothing)
    spent: ByType = field(default_factory=nothing)
    expired: ByType = field(default_factory=nothing)
    refunded: ByType = field(default_factory=nothing)
    other: ByType = field(default_factory=nothing)
    by_feature: dict[str, tuple[int, int]] = field(default_factory=dict)
    by_day: dict[date, int] = field(default_factory=dict)
    available: int = 0
    grants: list[Grant] = field(default_factory=list)
    seconds: int = 0

    @property
    def burn_rate(self) -> Decimal:
        """Credits spent a day, over what of the period has passed; to a hundredth."""
        if not self.seconds:
            return Decimal("0.00")
        return round(Decimal(self.spent["total"] * SECONDS_A_DAY) / self.seconds, 2)

    @property
    def days_left(self) -> int | None:
        """Whole days that the available credits last at that rate; ``None`` if nothing is spent."""
        if not self.spent["total"] or not self.seconds:
            return None
        return self.available * self.seconds // (self.spent["total"] * SECONDS_A_DAY)


def summary_of(wallet_id: int, *, since: datetime, until: datetime, at: datetime) -> Summary:
    """Return what moved in a wallet in a period, and what it has at ``at``; in five queries."""
    rows = (
        transactions_of(wallet_id, since=since, until=until)
        .values("kind", "feature", sign=Sign("amount"), day=TruncDate("recorded_at", tzinfo=UTC))
        .annotate(*(Sum(credit_type) for credit_type in CreditType.values), count=Count("pk"))
        .order_by("day")
    )
    summary = Summary(since, until)
    for row in rows:
        _add(summary, row)
    summary.seconds = max(int((min(until, at) - since).total_seconds()), 0)
    summary.available = balance_of(wallet_id, at).available
    current = grants_at(at).filter(Q(status=GrantStatus.ACTIVE), wallet=wallet_id, is_open=True)
    ordered = current.order_by(F("expires_at").asc(nulls_last=True), "effective_at", "id")
    summary.grants = list(ordered[:MOST_GRANTS])
    return summary


def _add(summary: Summary, row: Mapping[str, Any]) -> None:
    heading = HEADINGS.get((row["kind"], int(row["sign"])), "other")
    sign = -1 if heading in ("spent", "expired") else 1
    moved = {credit_type: sign * row[f"{credit_type}__sum"] for credit_type in CreditType.values}
    moved["total"] = sum(moved.values())
    figures = getattr(summary, heading)
    for credit_type, credits in moved.items():
        figures[credit_type] += credits
    if heading == "spent":
        credits, count = summary.by_feature.get(row["feature"], (0, 0))
        summary.by_feature[row["feature"]] = (credits + moved["total"], count + row["count"])
        summary.by_day[row["day"]] = summary.by_day.get(row["day"], 0) + moved["total"]
