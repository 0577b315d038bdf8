"""A top-up that a user pays themselves, because their bank asked for them."""

from collections.abc import Callable
from datetime import datetime

from accounts.models import User
from billing import gateway
from billing.choices import PaymentStatus, TopUpPause, TopUpStatus
from billing.errors import NoTopUpWaits
from billing.models import AutoTopUp, Payment
from billing.services.payments import open_payment, start_checkout
from billing.services.purchases import look_again
from billing.services.quotes import quote_purchase
from billing.services.top_ups import auto_top_up_of, use_card
from creditsite.errors import Conflict
from ledger import keys

CALLER = "auto-top-up"


def pay_top_up(*, user: User, success_url: str, cancel_url: str, at: datetime) -> str:
    """
    Return the address of Stripe's page where ``user`` pays the top-up that their bank asked them
    for, and saves the card that they pay with.

    :raises NoTopUpWaits: none was asked for.
    :raises CreditsDisabled: credits are switched off.
    :raises WalletClosed: the wallet takes no credits any more.
    :raises UnknownCurrency: credits are not sold in the currency any more.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    auto = auto_top_up_of(user, at=at)
    if auto.paused_why != TopUpPause.AUTHENTICATION:
        raise NoTopUpWaits
    payment = own_payment_of(auto, at)
    session = start_checkout(
        payment=payment,
        success_url=success_url,
        cancel_url=cancel_url,
        calculates_tax=False,
        saves_card=True,
        at=at,
    )
    if not session.url:
        look_again(payment=payment, clock=lambda: at)
        raise Conflict("The page to pay on was no longer open. Try again.")
    return session.url


def own_payment_of(auto: AutoTopUp, at: datetime) -> Payment:
    """Return the payment that waits for the user, a new one if the last one has ended."""
    last = auto.own_payment
    if last and last.status != PaymentStatus.ENDED:
        if last.status == PaymentStatus.OPEN:
            return last
        raise NoTopUpWaits
    asked = auto.top_ups.filter(status=TopUpStatus.AUTHENTICATION).latest("number")
    quote = quote_purchase(
        user=auto.user, amount=asked.credits, currency=auto.currency, at=at
    ).quote
    key = f"top-up:{asked.key}:after:{last.pk if last else 0}"
    payment = open_payment(
        user=auto.user,
        wallet=auto.wallet,
        credits=asked.credits,
        net_minor=quote.total_minor,
        currency=auto.currency,
        description=f"Top-up: {asked.credits:,} credits",
        caller=CALLER,
        idempotency_key=key,
        fingerprint=keys.fingerprint("top-up", key),
        at=at,
    )
    AutoTopUp.objects.filter(pk=auto.pk, own_payment=last).update(own_payment=payment)
    return payment


def resume_paid(*, clock: Callable[[], datetime]) -> None:
    """
    Go on for users who have paid what their bank asked them for, with the card that they used.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    waiting = AutoTopUp.objects.filter(
        paused_why=TopUpPause.AUTHENTICATION, own_payment__status=PaymentStatus.CREDITED
    )
    for auto in waiting.select_related("own_payment"):
        payment = auto.own_payment
        intent = gateway.retrieve_payment_intent(payment.intent_id or "") if payment else None
        if intent:
            use_card(auto, intent.payment_method or "", intent.customer or "", at=clock())
