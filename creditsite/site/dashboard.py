"""
The staff's first page: how the credit economy is doing, for who may see each part of it.

Nothing here grows with the ledger: the figures are rollups and what is not rolled up yet, unless
that is very much, and a snapshot of all wallets.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from billing.choices import ReconciliationStatus
from billing.models import Reconciliation
from billing.services.reconciliation import open_breaks
from creditsite.adminkit import actor_of
from creditsite.charts import Picture, Series
from creditsite.money import format_money
from creditsite.site.navigation import waiting
from creditsite.site.notices import notices
from ledger.choices import BatchStatus, CreditType
from ledger.models import Batch, LedgerCheck, Snapshot
from ledger.queries.figures import (
    business_day,
    given_by_day,
    is_behind,
    recognised,
    spent_by_day,
)
from ledger.services.batch_words import sentence_of

DAYS = 30
MOST_BATCHES = 5
# The worker checks the books every hour, and counts the wallets every minute.
LATE_CHECK = timedelta(hours=3)
LATE_RECONCILIATION = timedelta(hours=36)
LATE_SNAPSHOT = timedelta(minutes=15)
LABELS = {
    CreditType.AWARD: "Awards",
    CreditType.PURCHASE: "Purchases",
    CreditType.PARTNER: "Partner",
}


def on_start_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add ``notices``, and ``board``: what of it whoever asks may see."""
    at = timezone.now()
    may = actor_of(request).may
    board: dict[str, Any] = {}
    for permission, part in PARTS:
        if may(permission):
            board |= part(request, at)
    return {**context, "title": "Dashboard", "notices": notices(request, at), "board": board}


def outstanding(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """All wallets together, as they were when they were counted last."""
    snapshot = Snapshot.objects.first()
    if snapshot is None:
        return {"outstanding": None}
    by_type = {label: getattr(snapshot, credit_type) for credit_type, label in LABELS.items()}
    total = sum(by_type.values())
    return {
        "outstanding": {
            "snapshot": snapshot,
            "total": total,
            "by_type": by_type,
            "shares": shares([*by_type.values()], total),
            "is_late": snapshot.at < at - LATE_SNAPSHOT,
        }
    }


def shares(parts: list[int], whole: int) -> list[tuple[int, int, int]]:
    """Return colour, start and width of each of ``parts`` in a bar a thousand wide."""
    ends = [1000 * reached // whole if whole else 0 for reached in accumulate(parts, initial=0)]
    return [(tone, start, end - start) for tone, (start, end) in enumerate(pairwise(ends), 1)]


def movements(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """What was spent and what was given, day by day."""
    if is_behind():
        return {"spent": None, "given": None}
    today = business_day(at)
    first = today - timedelta(days=DAYS - 1)
    spent, given = spent_by_day(first, today), given_by_day(first, today)
    return {
        "spent": {
            "today": spent.get(today, 0),
            "yesterday": spent.get(today - timedelta(days=1), 0),
            "total": sum(spent.values()),
            "picture": by_day("Credits spent by day", spent, first),
        },
        "given": {
            "today": given.get(today, 0),
            "total": sum(given.values()),
            "picture": by_day("Credits given by day", given, first),
        },
    }


def by_day(title: str, credits: Mapping[date, int], first: date) -> Picture:
    days = [first + timedelta(days=number) for number in range(DAYS)]
    return Picture(
        title=title,
        labels=[f"{day.day} {day:%b}" for day in days],
        series=[Series("credits", [credits.get(day, 0) for day in days])],
    )


def revenue(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """What was recognised since the month began, by currency."""
    if is_behind():
        return {"revenue": None}
    today = business_day(at)
    money = recognised(today.replace(day=1), today)
    return {
        "revenue": [format_money(minor, currency) for currency, minor in sorted(money.items())],
        "month": today,
    }


def health(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """Whether the books were sound when they were checked last."""
    check = LedgerCheck.objects.order_by("-pk").first()
    return {
        "check": check,
        "is_late_check": check is None or check.at < at - LATE_CHECK,
    }


def reconciliation(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """Whether Stripe and the books agreed when they were compared last; nothing without Stripe."""
    run = Reconciliation.objects.filter(status=ReconciliationStatus.DONE).order_by("-pk").first()
    if run is None and not settings.STRIPE_SECRET_KEY:
        return {}
    return {
        "reconciled": run,
        "differ": open_breaks().count(),
        "is_late_reconciliation": run is None or run.asked_at < at - LATE_RECONCILIATION,
    }


def batches(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """The batches that a second person has yet to approve."""
    asked = Batch.objects.filter(status=BatchStatus.WAITING)
    first = [(batch.pk, sentence_of(batch)) for batch in asked.order_by("pk")[:MOST_BATCHES]]
    return {"batches": first, "batches_waiting": asked.count()}


def approvals(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """What waits for whoever asks."""
    return {"approvals": waiting(request)}


PARTS: list[tuple[str, Callable[[HttpRequest, datetime], dict[str, Any]]]] = [
    ("ledger.view_wallet", outstanding),
    ("ledger.view_credittransaction", movements),
    ("ledger.view_report", revenue),
    ("ledger.view_report", health),
    ("billing.view_break", reconciliation),
    ("ledger.view_batch", batches),
    ("accounts.decide_approval", approvals),
]
