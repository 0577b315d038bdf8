"""How a payment begins: a row that says what it buys, then a page of Stripe's to pay it on."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from accounts.models import User
from billing import gateway
from billing.choices import PaymentStatus
from billing.models import Payment, Redemption, StripeCustomer
from billing.stripe_objects import CheckoutSession, PaymentIntent
from creditsite.errors import Conflict
from ledger import errors, keys
from ledger.choices import WalletStatus
from ledger.models import Wallet
from ledger.queries.settings import settings_at
from ledger.services.posting import LARGEST_AMOUNT


@transaction.atomic
def open_payment(
    *,
    user: User,
    wallet: Wallet,
    credits: int,
    net_minor: int,
    currency: str,
    description: str,
    caller: str,
    idempotency_key: str,
    at: datetime,
    redemption: Redemption | None = None,
) -> Payment:
    """
    Say what ``user`` is about to pay and what it buys ``wallet``; once for each key of the caller.

    :param net_minor: without tax.
    :param redemption: of the promotion that made the price, or that gives a bonus.
    :raises InvalidAmount: it buys no credits, too many, or costs nothing.
    :raises CreditsDisabled: credits are switched off.
    :raises WalletClosed: the wallet takes no credits any more.
    :raises IdempotencyKeyReused: the key was used for another payment.
    """
    if not 1 <= credits <= LARGEST_AMOUNT or net_minor < 1:
        raise errors.InvalidAmount(f"A payment buys 1 to {LARGEST_AMOUNT:,} credits.")
    if not settings_at(at).credits_enabled:
        raise errors.CreditsDisabled
    if wallet.status == WalletStatus.CLOSED:
        raise errors.WalletClosed
    payment, is_new = Payment.objects.get_or_create(
        key=keys.digest(caller, idempotency_key),
        defaults={
            "user": user,
            "wallet": wallet,
            "credits": credits,
            "net_minor": net_minor,
            "currency": currency,
            "description": description,
            "redemption": redemption,
            "created_at": at,
        },
    )
    asked = (user, wallet, credits, net_minor, currency, redemption)
    found = (
        payment.user,
        payment.wallet,
        payment.credits,
        payment.net_minor,
        payment.currency,
        payment.redemption,
    )
    if not is_new and asked != found:
        raise errors.IdempotencyKeyReused
    return payment


def customer_of(user: User, *, at: datetime) -> str:
    """
    Return the id of ``user`` at Stripe, where they are made known when they first pay.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    known = StripeCustomer.objects.filter(user=user).first()
    if known is None:
        made = gateway.create_customer(
            email=user.email,
            metadata={"user": str(user.pk)},
            idempotency_key=f"customer:{user.pk}",
            name=user.name,
        )
        known, _ = StripeCustomer.objects.get_or_create(
            user=user, defaults={"customer_id": made.id, "created_at": at}
        )
    return known.customer_id


def start_checkout(
    *, payment: Payment, success_url: str, cancel_url: str, calculates_tax: bool, at: datetime
) -> CheckoutSession:
    """
    Begin to pay ``payment`` on a page of Stripe's; repeated, it is the same page.

    :raises Conflict: it is paid, or has ended.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    customer = _payer(payment, at)
    session = gateway.create_payment_checkout(
        customer=customer,
        lines=[gateway.Line(payment.description, payment.net_minor, payment.currency)],
        success_url=success_url,
        cancel_url=cancel_url,
        metadata={"payment": str(payment.public_id)},
        idempotency_key=f"checkout:{payment.public_id}",
        calculates_tax=calculates_tax,
    )
    _keep(payment, customer, session_id=session.id)
    return session


def start_intent(*, payment: Payment, at: datetime) -> PaymentIntent:
    """
    Begin to pay ``payment`` in the user's own browser, which confirms the intent.

    :raises Conflict: it is paid, or has ended.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    customer = _payer(payment, at)
    intent = gateway.create_payment_intent(
        customer=customer,
        amount_minor=payment.net_minor + payment.tax_minor,
        currency=payment.currency,
        metadata={"payment": str(payment.public_id)},
        idempotency_key=f"intent:{payment.public_id}",
        description=payment.description,
    )
    _keep(payment, customer, intent_id=intent.id)
    return intent


def _payer(payment: Payment, at: datetime) -> str:
    if payment.status != PaymentStatus.OPEN or payment.user is None:
        raise Conflict("This payment has been made, or has ended.")
    return customer_of(payment.user, at=at)


def _keep(payment: Payment, customer: str, **ids: str) -> None:
    """Keep who is to pay and where; who settles it meanwhile reads it again."""
    found = {"customer_id": customer, **ids}
    Payment.objects.filter(pk=payment.pk, paid_at=None).update(reads=F("reads") + 1, **found)
    payment.refresh_from_db()


def forget_customers() -> None:
    """Delete those at Stripe who were erased here; their payments stay there, as law asks."""
    for customer in StripeCustomer.objects.exclude(forget_at=None):
        gateway.delete_customer(customer.customer_id)
        customer.delete()
