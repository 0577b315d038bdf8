"""What agents and partners earn, for themselves to see."""

from typing import cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from accounts.models import User
from billing.models import ShareStatement
from billing.queries.shares import standing_of, summary_of, with_standing

MOST_STATEMENTS = 120
WORDS = {
    "paid out": ("paid out", "good"),
    "to be paid": ("to be paid", "warn"),
    "carried forward": ("carried forward", "idle"),
    "open": ("carried forward", "idle"),
}


def earns(user: User) -> bool:
    """Return whether the menu offers somebody their earnings."""
    return user.is_agent or user.is_partner


def earnings(request: HttpRequest) -> HttpResponse:
    """List the statements of whoever is signed in, the latest first."""
    statements = with_standing(ShareStatement.objects.filter(payee=cast("User", request.user)))
    latest = statements.order_by("-month", "-pk")[:MOST_STATEMENTS]
    rows = [(statement, WORDS[standing_of(statement).state]) for statement in latest]
    return render(request, "portal/earnings.html", {"rows": rows})


def statement(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Show one of their statements."""
    mine = with_standing(ShareStatement.objects.filter(payee=cast("User", request.user)))
    found = get_object_or_404(mine, public_id=public_id)
    return render(
        request,
        "portal/earnings_statement.html",
        {
            "statement": found,
            "payout": getattr(found, "payout", None),
            "lines": summary_of(found),
            "word": WORDS[standing_of(found).state],
            "later": standing_of(found).later,
            "menu_page": "billing_earnings",
        },
    )
