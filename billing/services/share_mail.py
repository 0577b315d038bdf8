"""What agents and partners are told by e-mail of what they earn."""

from django.urls import reverse

from accounts.services.notices import tell
from billing.models import SharePayout, ShareStatement
from creditsite.links import site_link
from creditsite.money import format_money


def tell_made(statement: ShareStatement) -> None:
    """Write to who earned that a month is added up."""
    if statement.payee.is_erased:
        return
    total, currency = statement.total_minor, statement.currency
    tell(
        [statement.payee],
        subject=f"What you earned in {statement.month:%Y-%m}",
        lines=[
            "It will be paid out to you."
            if total > 0
            else "Nothing is to be paid out; your next statement goes on from here.",
            where(statement),
        ],
        facts=[
            ("Carried forward", format_money(statement.opening_minor, currency)),
            (f"Earned as {statement.kind}", format_money(statement.earned_minor, currency)),
            ("In all", format_money(total, currency)),
        ],
    )


def tell_paid(payout: SharePayout) -> None:
    """Write to who earned that it was paid out."""
    statement = payout.statement
    if statement.payee.is_erased:
        return
    tell(
        [statement.payee],
        subject=f"What you earned until {statement.month:%Y-%m} was paid out",
        lines=[where(statement)],
        facts=[
            ("Paid", format_money(payout.amount_minor, statement.currency)),
            ("On", f"{payout.paid_on}"),
            ("Reference", payout.reference),
        ],
    )


def where(statement: ShareStatement) -> str:
    """Return where they find it."""
    link = site_link(reverse("billing_earnings_statement", args=[statement.public_id]))
    return f"Where it comes from: {link}" if link else "Your pages show it under Earnings."
