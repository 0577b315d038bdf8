"""What a user has, until when, and what became of it."""

from datetime import datetime
from typing import cast

from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.models import User
from billing.web.paging import page_before
from ledger.choices import CreditType, TransactionKind
from ledger.models import CreditTransaction, Feature
from ledger.queries.balances import balance_of
from ledger.queries.grants import GrantStatus, grants_at
from ledger.queries.statements import transactions_of
from ledger.queries.wallets import pool_of, wallet_of

MOST_GRANTS = 30
WORDS = {
    TransactionKind.AWARD: "Given to you",
    TransactionKind.PARTNER: "Partner credits",
    TransactionKind.PURCHASE: "Bought",
    TransactionKind.ALLOCATION: "From your plan",
    TransactionKind.USAGE: "Used",
    TransactionKind.ADJUSTMENT: "Changed by staff",
    TransactionKind.EXPIRY: "Expired",
    TransactionKind.CLAWBACK: "Taken back with its payment",
    TransactionKind.REINSTATEMENT: "Given back with its payment",
    TransactionKind.DEBT_REPAYMENT: "Paid for credits you owed",
    TransactionKind.REFUND: "Returned after a dispute",
    TransactionKind.REVERSAL: "Returned",
    TransactionKind.VOID: "Withdrawn",
    TransactionKind.WRITE_OFF: "No longer owed",
}
TYPES = {
    CreditType.AWARD: "free",
    CreditType.PARTNER: "partner",
    CreditType.PURCHASE: "bought",
}


def credits(request: HttpRequest) -> HttpResponse:
    """Show the credits of whoever is signed in."""
    at, user = timezone.now(), cast("User", request.user)
    wallet = wallet_of(user)
    active = grants_at(at).filter(Q(status=GrantStatus.ACTIVE), wallet=wallet, is_open=True)
    soonest = active.order_by(F("expires_at").asc(nulls_last=True), "effective_at", "id")
    rows = transactions_of(wallet.pk)
    movements, older = page_before(request, rows, "number")
    context = {
        "balance": balance_of(wallet.pk, at),
        "grants": [(TYPES[CreditType(each.credit_type)], each) for each in soonest[:MOST_GRANTS]],
        "movements": described(movements),
        "older": older,
        "pools": pools_of(user, at),
        "is_first_page": "before" not in request.GET,
    }
    return render(request, "portal/credits.html", context)


def described(movements: list[CreditTransaction]) -> list[tuple[str, str, CreditTransaction]]:
    """Return each transaction with a word for it, and the features that it was for."""
    codes = {code for each in movements for code in each.feature.split("+")}
    names = dict(Feature.objects.filter(code__in=codes).values_list("code", "name"))
    return [
        (
            WORDS[TransactionKind(each.kind)],
            ", ".join(names[code] for code in each.feature.split("+") if code in names),
            each,
        )
        for each in movements
    ]


def pools_of(user: User, at: datetime) -> list[tuple[str, int]]:
    """Return the teams whose credits ``user`` may spend, each with what it has."""
    seats = user.memberships.select_related("team__owner").order_by("pk")
    return [(seat.team.name, balance_of(pool_of(seat.team).pk, at).available) for seat in seats]
