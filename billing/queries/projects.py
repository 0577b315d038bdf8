"""
What projects cost in a month of business: one invoice for each project of a wallet.

An invoice is read from the ledger, by the time of recording, so it ties to it to the credit: usage
that was tagged with the project, its costs in money as they were debited, less what was given back.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Prefetch, Q

from billing.models import ProjectCost, ProjectDebit
from creditsite.money import in_units
from ledger.models import Wallet
from ledger.periods import day_begins, months_after, period_of
from ledger.queries.settings import settings_at

MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
FIRST_MONTH = date(2000, 1, 1)
# A movement of a project, and whatever gave credits of one back. What became a debt was charged,
# too. The month's reversals are found by their index, the rest by that of projects.
MOVED = """
    SELECT wallet_id, project, id, feature, -amount + debt AS charged, 0::bigint AS given_back
    FROM ledger_credittransaction
    WHERE project <> '' AND recorded_at >= %(since)s AND recorded_at < %(until)s {of_wallet}
      AND kind = 'usage'
    UNION ALL
    SELECT t.wallet_id, o.project, t.id, o.feature, 0, t.amount - t.debt
    FROM ledger_credittransaction t JOIN ledger_credittransaction o ON o.id = t.reverses_id
    WHERE t.reverses_id IS NOT NULL AND t.recorded_at >= %(since)s AND t.recorded_at < %(until)s
      AND o.project <> '' AND o.kind = 'usage' {t_of_wallet}
"""
BY_PROJECT = """
    SELECT m.wallet_id, m.project,
           coalesce(sum(m.charged) FILTER (WHERE d.id IS NULL), 0)::bigint,
           coalesce(sum(m.charged) FILTER (WHERE d.id IS NOT NULL), 0)::bigint,
           sum(m.given_back)::bigint
    FROM ({moved}) m LEFT JOIN billing_projectdebit d ON d.transaction_id = m.id
    GROUP BY m.wallet_id, m.project {having} ORDER BY m.project, m.wallet_id {limit}
"""
BY_FEATURE = """
    SELECT m.feature, count(*) FILTER (WHERE m.charged <> 0), sum(m.charged)::bigint
    FROM ({moved}) m LEFT JOIN billing_projectdebit d ON d.transaction_id = m.id
    WHERE m.project = %(project)s AND d.id IS NULL AND m.given_back = 0
    GROUP BY m.feature ORDER BY 3 DESC, 1
"""


class Month(NamedTuple):
    """A month of business by its first day, and the instants that it lies between."""

    first: date
    since: datetime
    until: datetime

    @property
    def before(self) -> date:
        return months_after(self.first, -1)

    @property
    def after(self) -> date:
        return months_after(self.first, 1)


@dataclass(frozen=True, slots=True)
class Total:
    """Credits of a project in a month: for its usage, for its costs in money, and given back."""

    wallet: Wallet
    project: str
    usage: int = 0
    costs: int = 0
    given_back: int = 0

    @property
    def credits(self) -> int:
        return self.usage + self.costs - self.given_back


class Feature(NamedTuple):
    """What a project used of a feature; an empty code is credits that were taken by number."""

    code: str
    times: int
    credits: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """``total`` is the features, the debits and what was given back, to the credit."""

    month: Month
    total: Total
    features: list[Feature]
    debits: list[ProjectDebit]


def month_at(first: date | None, at: datetime) -> Month:
    """Return the month of business that begins on ``first``; that of ``at`` if it is ``None``."""
    time_zone = settings_at(at).time_zone
    first = first or period_of(at, time_zone)
    return Month(first, day_begins(first, time_zone), day_begins(months_after(first, 1), time_zone))


def asked_month(text: str, at: datetime) -> Month | None:
    """Return the month "2026-01", the present one for no text; ``None`` if it has not begun."""
    now = month_at(None, at)
    if not text:
        return now
    try:
        first = date.fromisoformat(f"{text}-01") if MONTH.fullmatch(text) else None
    except ValueError:
        return None
    return month_at(first, at) if first and FIRST_MONTH <= first <= now.after else None


def totals_of_month(
    month: Month,
    *,
    wallet: Wallet | None = None,
    project: str | None = None,
    most: int | None = None,
) -> list[Total]:
    """
    Return the projects that moved credits in ``month``, by name.

    :param wallet: only its projects.
    :param most: no more than so many.
    """
    query = BY_PROJECT.format(
        moved=_moved(wallet),
        having="HAVING m.project = %(project)s" if project is not None else "",
        limit="LIMIT %(most)s" if most else "",
    )
    parameters = _parameters(month, wallet) | {"project": project, "most": most}
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        rows = cursor.fetchall()
    wallets = Wallet.objects.with_owner().in_bulk({wallet_id for wallet_id, *_ in rows})
    return [Total(wallets[wallet_id], *rest) for wallet_id, *rest in rows]


def invoice_of(month: Month, wallet: Wallet, project: str) -> Invoice:
    """Return the invoice of a project for a month, of zero credits where nothing moved."""
    found = totals_of_month(month, wallet=wallet, project=project)
    with connection.cursor() as cursor:
        query = BY_FEATURE.format(moved=_moved(wallet))
        cursor.execute(query, _parameters(month, wallet) | {"project": project})
        features = [Feature(*row) for row in cursor.fetchall()]
    moved = Q(
        transaction__wallet=wallet,
        transaction__project=project,
        transaction__recorded_at__gte=month.since,
        transaction__recorded_at__lt=month.until,
    )
    taken_before = Q(  # by the rounding of an earlier one
        transaction=None,
        account__user=wallet.user_id,
        account__project=project,
        at__gte=month.since,
        at__lt=month.until,
    )
    debits = ProjectDebit.objects.filter(moved | taken_before)
    costs = Prefetch("costs", ProjectCost.objects.order_by("recorded_at", "pk"))
    return Invoice(
        month,
        found[0] if found else Total(wallet, project),
        features,
        list(debits.select_related("account").prefetch_related(costs).order_by("at", "pk")),
    )


def _moved(wallet: Wallet | None) -> str:
    of_wallet = "AND {}wallet_id = %(wallet)s" if wallet else ""
    return MOVED.format(of_wallet=of_wallet.format(""), t_of_wallet=of_wallet.format("t."))


def _parameters(month: Month, wallet: Wallet | None) -> dict[str, Any]:
    return {
        "since": month.since,
        "until": month.until,
        "wallet": wallet.pk if wallet else None,
    }


# --- As files -------------------------------------------------------------------------------------
INVOICE_COLUMNS = (
    "kind", "what", "period", "at", "times", "cost", "currency", "credits", "reference",
)  # fmt: skip


def invoice_rows(invoice: Invoice) -> Iterator[tuple[Any, ...]]:
    """Yield the lines of an invoice as a file has them; the last is its total in credits."""
    for code, times, credits in invoice.features:
        yield "usage", code or "credits", "", None, times, None, "", credits, ""
    for debit in invoice.debits:
        for cost in debit.costs.all():
            money = in_units(cost.amount_minor, debit.account.currency)
            yield (
                "cost", cost.description, cost.period, cost.recorded_at, None, money,
                debit.account.currency.upper(), None, cost.reference_id,
            )  # fmt: skip
        money = in_units(debit.amount_minor, debit.account.currency)
        yield (
            "debit", "Costs so far, turned into credits", "", debit.at, None, money,
            debit.account.currency.upper(), debit.credits, debit.transaction_id,
        )  # fmt: skip
    if invoice.total.given_back:
        yield "given back", "", "", None, None, None, "", -invoice.total.given_back, ""
    yield "total", invoice.total.project, "", None, None, None, "", invoice.total.credits, ""
