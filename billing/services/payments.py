"""How a payment begins: a row that says what it buys, then a page of Stripe's to pay it on."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F

from accounts.models import User
from billing import gateway
from billing.choices import PaymentStatus
from billing.models import OfferPrice, Payment, Redemption, StripeCustomer
from billing.stripe_objects import CheckoutSession, PaymentIntent
from creditsite.errors import Conflict
from ledger import errors, keys
from ledger.choices import WalletStatus
from ledger.models import Wallet
from ledger.queries.settings import settings_at
from ledger.services.posting import LARGEST_AMOUNT

# How long a payment may be begun again and paid, before it is ended.
OPEN_FOR = timedelta(days=1)
# A page to pay on lasts for 35 to 65 minutes: Stripe lets none expire in less than 30.
PAGE_BEGINS_ANEW = timedelta(minutes=30)
PAGE_LASTS_MORE = timedelta(minutes=35)


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
    price: OfferPrice | None = None,
    fingerprint: UUID | None = None,
) -> Payment:
    """
    Say what ``user`` is about to pay and what it buys ``wallet``; once for each key of the caller.

    :param net_minor: without tax.
    :param redemption: of the promotion that made the price, or that gives a bonus.
    :param price: of the package, if it is one.
    :param fingerprint: of a request for a purchase: it is ended if it is not paid in ``OPEN_FOR``.
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
            "price": price,
            "fingerprint": fingerprint,
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
    *,
    payment: Payment,
    success_url: str,
    cancel_url: str,
    calculates_tax: bool,
    at: datetime,
    saves_card: bool = False,
) -> CheckoutSession:
    """
    Begin to pay ``payment`` on a page of Stripe's; repeated, it is the same page.

    :param saves_card: to be charged later, while its holder is away.
    :raises Conflict: it is paid, or has ended.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    customer = _payer(payment, at)
    if payment.session_id:
        return gateway.retrieve_checkout(payment.session_id)
    # Of a page that was made, and whose answer was lost, nobody knows the address: another one may
    # be made later, when this one's end would be too near.
    period = (at - payment.created_at) // PAGE_BEGINS_ANEW
    ends_at = payment.created_at + (period + 1) * PAGE_BEGINS_ANEW + PAGE_LASTS_MORE
    session = gateway.create_payment_checkout(
        customer=customer,
        lines=[gateway.Line(line_of(payment), payment.net_minor, payment.currency)],
        success_url=success_url,
        cancel_url=cancel_url,
        metadata={"payment": str(payment.public_id)},
        idempotency_key=f"checkout:{payment.public_id}:{period}",
        calculates_tax=calculates_tax,
        saves_card=saves_card,
        expires_at=ends_at,
    )
    if _keep(payment, customer, session_id=session.id) == session.id:
        return session
    return gateway.retrieve_checkout(payment.session_id or "")


def line_of(payment: Payment) -> str:
    """Say what a payment buys, in no words of the user's: Stripe keeps them for ever."""
    return label(payment.credits, payment.price)


def label(credits: int, price: OfferPrice | None) -> str:
    """Return what is bought in words: the name of the package, and its credits."""
    words = f"{credits:,} credits"
    name = price.version.name if price else ""
    if not name or words in name:
        return name or words
    return f"{name}: {words}"


def start_intent(*, payment: Payment, at: datetime) -> PaymentIntent:
    """
    Begin to pay ``payment`` in the user's own browser, which confirms the intent.

    :raises Conflict: it is paid, or has ended.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    customer = _payer(payment, at)
    if payment.intent_id:
        return gateway.retrieve_payment_intent(payment.intent_id)
    intent = gateway.create_payment_intent(
        customer=customer,
        amount_minor=payment.net_minor + payment.tax_minor,
        currency=payment.currency,
        metadata={"payment": str(payment.public_id)},
        idempotency_key=f"intent:{payment.public_id}",
        description=line_of(payment),
    )
    _keep(payment, customer, intent_id=intent.id)
    return intent


def _payer(payment: Payment, at: datetime) -> str:
    is_late = payment.fingerprint and at - payment.created_at >= OPEN_FOR
    if payment.status != PaymentStatus.OPEN or payment.user is None or is_late:
        raise Conflict("This payment has been made, or has ended.")
    return customer_of(payment.user, at=at)


def _keep(payment: Payment, customer: str, **ids: str) -> str | None:
    """
    Keep who is to pay and where, unless that is known; who settles it meanwhile reads it again.

    Return what is kept.
    """
    ((name, id),) = ids.items()
    unknown = Payment.objects.filter(pk=payment.pk, paid_at=None, **{f"{name}__isnull": True})
    unknown.update(reads=F("reads") + 1, customer_id=customer, **{name: id})
    payment.refresh_from_db()
    return getattr(payment, name)


def forget_customers() -> None:
    """Delete those at Stripe who were erased here; their payments stay there, as law asks."""
    for customer in StripeCustomer.objects.exclude(forget_at=None):
        gateway.delete_customer(customer.customer_id)
        customer.delete()
