"""What who paid hears by e-mail of their payment, in the transaction in which it happened."""

from collections.abc import Callable

from django.urls import reverse

from accounts.services.notices import tell
from billing.choices import Effect
from billing.models import Payment
from creditsite.links import site_link
from creditsite.money import format_money


def tell_effect(payment: Payment, effect: Effect, amount_minor: int) -> None:
    """Write to who paid what an object at Stripe has just done to a payment, if that is news."""
    if telling := TELLING.get(effect):
        telling(payment, format_money(amount_minor, payment.currency))


def tell_paid(payment: Payment, amount: str) -> None:
    """Thank who paid, and lead to the receipt; what a balance settled brought nothing."""
    if not payment.charged_minor:
        return
    bonus = payment.redemption.credits if payment.redemption else 0
    facts = [("For", payment.description), ("Credits", f"{payment.credits:,}")]
    if bonus:
        facts.append(("Free on top", f"{bonus:,}"))
    if payment.tax_minor:
        facts.append(("Tax", format_money(payment.tax_minor, payment.currency)))
    tell_payer(
        payment,
        subject="Your payment has arrived",
        lines=[f"Thank you: {amount} has arrived."],
        facts=[*facts, ("Paid", amount), ("Receipt", str(payment.receipt))],
        link=site_link(reverse("billing_receipt", args=[payment.public_id])),
        link_text="Your receipt",
    )


def tell_refunded(payment: Payment, amount: str) -> None:
    tell_payer(
        payment,
        subject="A refund is on its way to you",
        lines=[
            f"{amount} of your payment is on its way back to you.",
            "It goes to the card that you paid with, and most banks show it after 5 to 10 days."
            " The credits that it paid for are taken back.",
        ],
        facts=about(payment),
    )


def tell_refund_failed(payment: Payment, amount: str) -> None:
    tell_payer(
        payment,
        subject="A refund did not reach you",
        lines=[
            f"Your bank did not take {amount} that we refunded, and sent it back to us.",
            "So its credits are yours again. Write to us how you would like to be paid instead.",
        ],
        facts=about(payment),
    )


def about(payment: Payment) -> list[tuple[str, str]]:
    paid = format_money(payment.charged_minor, payment.currency)
    return [("Payment", payment.description or payment.intent_id or "–"), ("Paid", paid)]


def tell_payer(payment: Payment, **what: object) -> None:
    if payment.user and not payment.user.is_erased:
        tell([payment.user], **what)  # type: ignore[arg-type]


TELLING: dict[Effect, Callable[[Payment, str], None]] = {
    Effect.CREDITED: tell_paid,
    Effect.REFUNDED: tell_refunded,
    Effect.REFUND_FAILED: tell_refund_failed,
}
