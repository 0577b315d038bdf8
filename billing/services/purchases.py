"""
Buying credits: what it costs is asked once, a promotion is reserved for it, and Stripe takes the
money. Nothing is given here: that follows from what Stripe says of the payment.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from billing import gateway
from billing.choices import Effect, PaymentStatus
from billing.errors import HeldBack, NotPaid, OtherPurchase, PaymentNotFound, TooLittle
from billing.models import Payment, StripeCustomer
from billing.queries.promotions import find_promotion
from billing.services.payments import (
    OPEN_FOR,
    label,
    open_payment,
    start_checkout,
    start_intent,
)
from billing.services.quotes import find_package, quote_purchase
from billing.services.redemptions import reserve_promotion
from billing.services.settlement import end_checkout, end_payment, settle_payment
from billing.stripe_objects import CheckoutSession, PaymentIntent, uuid_in
from creditsite.errors import InvalidRequest
from ledger import errors, keys
from ledger.choices import WalletStatus
from ledger.queries.wallets import wallet_of

logger = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """What somebody wants to buy: so many credits or a package, as ``quote_purchase`` takes it."""

    amount: int | None = None
    package: str = ""
    currency: str = ""
    promotion_code: str = ""


class Opened(NamedTuple):
    """A payment that is to be made, and whether this request opened it."""

    payment: Payment
    is_new: bool


# --- Beginning ------------------------------------------------------------------------------------
@transaction.atomic
def open_purchase(
    *,
    user: User,
    wanted: Wanted,
    caller: str,
    at: datetime,
    description: str = "",
    idempotency_key: str | None = None,
    asked_besides: tuple[object, ...] = (),
) -> Opened:
    """
    Open the payment of what ``user`` wants, at the price of now; once for each key of the caller.

    Its promotion is reserved with it, until it is paid or ends.

    :param description: in the user's words, for their statement.
    :param asked_besides: what else tells one request from another.
    :raises CreditsiteError: as ``quote_purchase`` does.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises PaymentsUnavailable: payments are not set up.
    :raises WalletClosed: the wallet takes no credits any more.
    """
    refuse_what_is_not_there(wanted)
    key = idempotency_key or str(uuid4())
    fingerprint = keys.fingerprint("purchase", user.pk, *wanted, description, *asked_besides)
    if known := _known(caller, key):
        if known.fingerprint != fingerprint:
            raise errors.IdempotencyKeyReused
        return Opened(known, is_new=False)
    purchase = quote_purchase(user=user, at=at, **wanted._asdict())
    gateway.client()
    wallet = wallet_of(user)
    if wallet.status == WalletStatus.CLOSED:
        raise errors.WalletClosed
    quote = purchase.quote
    redemption = None
    if purchase.promotion:
        redemption = reserve_promotion(
            promotion=purchase.promotion,
            user=user,
            quote=quote,
            package=wanted.package,
            key=f"purchase:{keys.digest(caller, key)}",
            at=at,
        )
    payment = open_payment(
        user=user,
        wallet=wallet,
        credits=quote.credits,
        net_minor=quote.total_minor,
        currency=quote.currency,
        description=description or label(quote.credits, purchase.price),
        caller=caller,
        idempotency_key=key,
        at=at,
        redemption=redemption,
        price=purchase.price,
        fingerprint=fingerprint,
    )
    return Opened(payment, is_new=True)


def refuse_what_is_not_there(wanted: Wanted) -> None:
    """:raises NotFound: there is no such package, or no such code."""
    if wanted.package:
        find_package(wanted.package)
    if wanted.promotion_code:
        find_promotion(wanted.promotion_code)


def _known(caller: str, key: str) -> Payment | None:
    """Return the payment of that key; until the transaction ends, nobody else opens one by it."""
    digest = keys.digest(caller, key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(uuid_hash_extended(%s, 0))", [digest])
    return Payment.objects.filter(key=digest).first()


# --- Paying ---------------------------------------------------------------------------------------
def page_to_pay(
    *, payment: Payment, success_url: str, cancel_url: str, at: datetime
) -> CheckoutSession | None:
    """
    Return the page of Stripe's on which ``payment`` is made, begun if it was not; asked again, it
    is the same. ``None`` for a payment that was made, has ended, or is charged by itself.

    :raises TooLittle: Stripe takes no payments as small as this one, which is ended.
    :raises PaymentsUnavailable: Stripe did not answer, or not clearly.
    """
    if payment.status != PaymentStatus.OPEN or payment.fingerprint is None:
        return None
    with refusals_explained(payment, at):
        return start_checkout(
            payment=payment,
            success_url=success_url,
            cancel_url=cancel_url,
            calculates_tax=settings.STRIPE_AUTOMATIC_TAX,
            at=at,
        )


def intent_to_confirm(*, payment: Payment, at: datetime) -> PaymentIntent | None:
    """
    Return the intent that the user's own browser confirms, as :func:`page_to_pay` does the page.

    :raises TooLittle: Stripe takes no payments as small as this one, which is ended.
    :raises PaymentsUnavailable: Stripe did not answer, or not clearly.
    """
    if payment.status != PaymentStatus.OPEN:
        return None
    with refusals_explained(payment, at):
        return start_intent(payment=payment, at=at)


def refuse_untaxed() -> None:
    """:raises InvalidRequest: tax is calculated, which only Stripe's own page can."""
    if settings.STRIPE_AUTOMATIC_TAX:
        raise InvalidRequest("Tax is calculated on the payment page: pay by checkout.")


@contextmanager
def refusals_explained(payment: Payment, at: datetime) -> Iterator[None]:
    """Tell whoever buys what they can do something about; the rest is for us to look at."""
    try:
        yield
    except gateway.StripeRefused as refusal:
        if refusal.reason == "amount_too_small":
            end_payment(payment, at=at)
            raise TooLittle from refusal
        logger.error("Stripe refuses to begin payment %s: %s", payment.pk, refusal)
        raise gateway.PaymentsUnavailable("The payment could not be begun. Try again.") from refusal


# --- What became of it ----------------------------------------------------------------------------
def confirm_purchase(
    *, user: User, intent_id: str, amount: int | None, clock: Callable[[], datetime]
) -> Payment:
    """
    Give ``user`` the credits of an intent that they have paid, once, however often it is said.

    :param amount: of credits, where the caller says what it bought.
    :raises PaymentNotFound: no purchase of theirs has this intent.
    :raises OtherPurchase: it buys another number of credits.
    :raises PaymentDeclined: the bank has declined it.
    :raises NotPaid: it is not paid, or not yet.
    :raises HeldBack: it is paid, and staff are to look at it.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    payment = _purchase_of(user, intent_id)
    if amount not in (None, payment.credits):
        raise OtherPurchase(payment.credits)
    if payment.status != PaymentStatus.CREDITED:
        payment = settle_payment(intent_id, clock=clock) or payment
    if payment.status == PaymentStatus.SUSPENDED:
        raise HeldBack
    if payment.status != PaymentStatus.CREDITED:
        intent = gateway.retrieve_payment_intent(intent_id)
        if intent.failure and intent.status == "requires_payment_method":
            raise gateway.PaymentDeclined(
                "The payment was declined.", reason=intent.failure, payment_intent=intent_id
            )
        raise NotPaid(intent.status)
    return payment


def _purchase_of(user: User, intent_id: str) -> Payment:
    """
    Return the user's payment of this intent, which Stripe may know before we do.

    :raises PaymentNotFound: none of theirs is; an intent that we did not ask for is none either.
    """
    theirs = Payment.objects.filter(user=user, fingerprint__isnull=False)
    if payment := theirs.filter(intent_id=intent_id).first():
        return payment
    customer = StripeCustomer.objects.filter(user=user).first()
    try:
        intent = gateway.retrieve_payment_intent(intent_id) if customer else None
    except gateway.StripeRefused:
        intent = None
    if intent is None or intent.customer != (customer and customer.customer_id):
        raise PaymentNotFound
    asked_for = uuid_in(intent.metadata, "payment")
    payment = theirs.filter(public_id=asked_for, intent_id=None).first() if asked_for else None
    if payment is None:
        raise PaymentNotFound
    return payment


def transaction_of(payment: Payment) -> UUID:
    """Return the id of the transaction that gave the credits of ``payment``."""
    return cast("UUID", payment.effects.get(effect=Effect.CREDITED).transaction_id)


def look_again(*, payment: Payment, clock: Callable[[], datetime] = timezone.now) -> None:
    """
    Ask Stripe what became of an open payment, for whom no webhook has told yet.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    intent_id = payment.intent_id
    if payment.session_id and not intent_id:
        session = gateway.retrieve_checkout(payment.session_id)
        intent_id = session.payment_intent
        if session.status == "expired":
            end_checkout(session.id, at=clock())
    if intent_id:
        settle_payment(intent_id, clock=clock)


# --- What nobody paid -----------------------------------------------------------------------------
def end_unpaid(*, clock: Callable[[], datetime] = timezone.now) -> int:
    """
    End the purchases that nobody has paid for a day, here and at Stripe; return how many.

    What is paid at that very instant is credited: Stripe then refuses to end it, or tells of the
    payment, which counts also on one that has ended.

    :raises PaymentsUnavailable: Stripe did not answer; the rest is for the next time.
    """
    due = Payment.objects.filter(
        status=PaymentStatus.OPEN, fingerprint__isnull=False, created_at__lt=clock() - OPEN_FOR
    )
    ended = 0
    for pk in due.order_by("created_at").values_list("pk", flat=True):
        payment = Payment.objects.get(pk=pk)
        try:
            ended += end_at_stripe(payment, clock)
        except gateway.StripeRefused:
            # One that Stripe does not know, as of another account, keeps no other from its end.
            logger.exception("Payment %s could not be ended", pk)
    return ended


def end_at_stripe(payment: Payment, clock: Callable[[], datetime]) -> bool:
    """Let nobody pay ``payment`` any more; return whether it has ended."""
    key = f"end:{payment.public_id}:{payment.reads}"
    try:
        if payment.session_id:
            gateway.expire_checkout(payment.session_id, idempotency_key=key)
        elif payment.intent_id:
            gateway.cancel_payment_intent(payment.intent_id, idempotency_key=key)
        end_payment(payment, at=clock())
    except gateway.StripeRefused:
        look_again(payment=payment, clock=clock)  # It is paid, under way, or has ended there.
    payment.refresh_from_db()
    return payment.status == PaymentStatus.ENDED
