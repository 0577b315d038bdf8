"""All wallets together: what they have, how it is spread, what is consumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Sum
from django.db.models.functions import TruncMonth

from ledger.choices import CreditType, TransactionKind, WalletStatus
from ledger.models import CreditTransaction
from ledger.queries.grants import grants_at
from ledger.queries.liability import Money, money_by_currency

MONTHS = 12
# Lower bounds of the classes that balances are counted in.
CLASSES = (0, 1, 100, 1_000, 10_000, 100_000)

# What every wallet has, as anyone is shown it. Without OFFSET 0, PostgreSQL would read the grants
# of each, and then see whether that was needed.
WALLETS = """
    WITH shown AS (
        SELECT w.status, w.version, w.held, w.debt, coalesce(v.award, w.award) AS award,
               coalesce(v.partner, w.partner) AS partner,
               coalesce(v.purchase, w.purchase) AS purchase
        FROM ledger_wallet w LEFT JOIN LATERAL (
            SELECT seen.* FROM ledger_visible(w.id, %(at)s) AS seen
            WHERE w.recount_at <= %(at)s OFFSET 0) v ON true
    )
    SELECT status, width_bucket(award + partner + purchase, %(classes)s::bigint[]) AS class,
           count(*), sum(award)::bigint, sum(partner)::bigint, sum(purchase)::bigint,
           sum(held)::bigint, sum(debt)::bigint,
           count(*) FILTER (WHERE status = 'active' AND version > 0
                                  AND award + partner + purchase - held < %(low)s)
    FROM shown GROUP BY 1, 2
"""


class Wallets(NamedTuple):
    """How many wallets have one status and one of CLASSES, counted from 1, and their credits."""

    status: str
    size: int
    wallets: int
    award: int
    partner: int
    purchase: int
    held: int
    debt: int
    low: int

    @property
    def current(self) -> int:
        return self.award + self.partner + self.purchase


def wallets_at(at: datetime, *, low_below: int = 0) -> list[Wallets]:
    """
    Return what all wallets have, as they are shown at ``at``; reads every wallet.

    ``low`` counts active wallets with fewer than ``low_below`` credits available that ever had any.
    """
    with connection.cursor() as cursor:
        cursor.execute(WALLETS, {"at": at, "classes": list(CLASSES), "low": low_below})
        return [Wallets(*row) for row in cursor.fetchall()]


def class_bounds() -> list[tuple[int, int | None]]:
    """Return the least and the most credits of each of CLASSES."""
    return [*zip(CLASSES, [*(bound - 1 for bound in CLASSES[1:]), None], strict=True)]


@dataclass(frozen=True, slots=True)
class BalanceClass:
    """Wallets whose credits are ``at_least`` and ``at_most`` (``None``: any more) so many."""

    at_least: int
    at_most: int | None
    wallets: int
    credits: int


@dataclass(frozen=True, slots=True)
class SystemSummary:
    """Whole credits of all wallets, as they are shown; what was consumed, month by month in UTC."""

    wallets: Mapping[str, int]
    totals: Mapping[str, int]
    distribution: Sequence[BalanceClass]
    consumption: Mapping[date, Mapping[str, int]]
    money: Sequence[Money]
    unspent: int
    unfunded: int


def system_summary(at: datetime) -> SystemSummary:
    """Return the state of all wallets at ``at``; reads every wallet and a year of transactions."""
    wallets = dict.fromkeys(WalletStatus.values, 0)
    sizes = [[0, 0] for _ in CLASSES]
    totals = dict.fromkeys([*CreditType.values, "held", "debt"], 0)
    for row in wallets_at(at):
        wallets[row.status] += row.wallets
        sizes[row.size - 1][0] += row.wallets
        sizes[row.size - 1][1] += row.current
        for name in totals:
            totals[name] += getattr(row, name)
    totals["current"] = sum(totals[credit_type] for credit_type in CreditType.values)
    totals["available"] = totals["current"] - totals["held"]
    unfunded = _unfunded(at)
    money = money_by_currency(at)
    return SystemSummary(
        wallets=wallets,
        totals=totals,
        distribution=[
            BalanceClass(low, top, count, credits)
            for (low, top), (count, credits) in zip(class_bounds(), sizes, strict=True)
        ],
        consumption=_consumption(at),
        money=money,
        unspent=unfunded + sum(each.unspent for each in money),
        unfunded=unfunded,
    )


def _consumption(at: datetime) -> Mapping[date, Mapping[str, int]]:
    """Return what was used in the month of ``at`` and the eleven before, by credit type."""
    months = [_month_before(at, months) for months in range(MONTHS)]
    used: dict[date, Mapping[str, int]] = {
        month.date(): dict.fromkeys(CreditType.values, 0) for month in reversed(months)
    }
    rows = (
        CreditTransaction.objects.filter(kind=TransactionKind.USAGE, recorded_at__gte=months[-1])
        .values(month=TruncMonth("recorded_at", tzinfo=UTC))
        .annotate(*(Sum(credit_type) for credit_type in CreditType.values))
    )
    for row in rows:
        used[row["month"].date()] = _used(row)
    return used


def _used(row: Mapping[str, Any]) -> Mapping[str, int]:
    return {credit_type: -row[f"{credit_type}__sum"] for credit_type in CreditType.values}


def _month_before(at: datetime, months: int) -> datetime:
    """Return the first instant of the month that is so many before that of ``at``, in UTC."""
    year, month = divmod(at.year * 12 + at.month - 1 - months, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def _unfunded(at: datetime) -> int:
    """Return the unspent purchased credits that no payment stands behind."""
    unpaid = grants_at(at).filter(is_open=True, credit_type=CreditType.PURCHASE, paid_minor=0)
    return unpaid.aggregate(Sum("left", default=0))["left__sum"]
