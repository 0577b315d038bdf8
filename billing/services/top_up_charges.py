"""
Buying credits for users who agreed to it, when theirs have fallen low: once each time.

A spend writes the books and nothing else. Every few seconds the wallets of those who agreed are
looked at as they are now. The row comes first, then the call, under the row's key.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from billing import gateway
from billing.choices import TopUpEnd, TopUpPause, TopUpStatus
from billing.errors import NothingToPay, TooCheap, UnknownCurrency
from billing.models import AutoTopUp, Payment, StripeCustomer, TopUp
from billing.queries.top_ups import (
    bought_this_month,
    due_top_ups,
    is_wanted,
    month_of,
    next_after_burst,
    note_risen,
)
from billing.services import top_up_mail
from billing.services.payments import customer_of, open_payment
from billing.services.quotes import quote_purchase
from billing.services.settlement import settle_payment
from billing.services.top_up_outcomes import drop, finish, refuse
from billing.services.top_up_own import resume_paid
from billing.services.top_ups import end, end_disputed
from billing.stripe_objects import PaymentIntent
from creditsite.errors import Unavailable
from ledger.queries.balances import balance_of
from ledger.queries.settings import settings_at

Clock = Callable[[], datetime]
CALLER = "auto-top-up"
AT_A_TIME = 200
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
# Stripe forgets keys after a day; until then the same key makes one payment.
GIVE_UP_AFTER = timedelta(hours=20)
# Their clock may be behind ours.
SKEW = timedelta(minutes=5)

log = structlog.get_logger(__name__)


def top_up(*, clock: Clock = timezone.now) -> None:
    """
    Buy credits wherever they are due, until none are or Stripe does not answer.

    Any number of workers may. Who dies over one leaves it to the next, who first looks whether
    Stripe has it; and both use the same key.
    """
    if not settings.STRIPE_SECRET_KEY or settings.STRIPE_AUTOMATIC_TAX:
        return
    end_disputed(at=clock())
    try:
        while waiting := claim(clock()):
            attempt(waiting, clock)
        resume_paid(clock=clock)
        if settings_at(clock()).credits_enabled:
            note_risen(clock())
            for id in due_top_ups(clock(), most=AT_A_TIME):
                if begun := begun_or_left(id, clock()):
                    attempt(begun, clock)
    except gateway.PaymentsUnavailable:
        log.warning("top_ups.stripe_unavailable")  # The others can wait.


# --- Beginning ------------------------------------------------------------------------------------
def begun_or_left(id: int, at: datetime) -> TopUp | None:
    """Begin one; what goes wrong with it keeps nobody else waiting."""
    try:
        return begin(id, at=at)
    except Exception:
        log.exception("top_ups.not_begun", auto_top_up=id)
        return None


@transaction.atomic
def begin(id: int, *, at: datetime) -> TopUp | None:
    """Say that we are about to charge for one that is due; ``None`` if it is not, or not now."""
    found = AutoTopUp.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    auto = found.select_related("user", "wallet").filter(pk=id).first()
    if auto is None or not is_wanted(auto, at) or is_under_way(auto):
        return None
    auto.paused_why, auto.paused_until = "", None
    price_minor = price_agreed_to(auto, at)
    if price_minor is None:
        end(auto, TopUpEnd.PRICE, actor=None, at=at)
        top_up_mail.tell_ended(auto)
        return None
    if is_held_up(auto, at):
        return None
    made = TopUp(
        auto_top_up=auto,
        number=auto.top_ups.count() + 1,
        credits=auto.amount,
        available=balance_of(auto.wallet_id, at).available,
        card_id=auto.card_id,
        began_at=at,
        next_try_at=at + LEASE,
    )
    made.payment = payment_for(auto, price_minor, key=f"top-up:{made.key}", at=at)
    made.save()
    auto.save(update_fields=["paused_why", "paused_until"])
    return made


def is_under_way(auto: AutoTopUp) -> bool:
    return auto.top_ups.filter(status=TopUpStatus.CHARGING).exists()


def price_agreed_to(auto: AutoTopUp, at: datetime) -> int | None:
    """Return what a top-up costs now, without tax; ``None`` if that is more than was agreed to."""
    try:
        purchase = quote_purchase(user=auto.user, amount=auto.amount, currency=auto.currency, at=at)
    except (UnknownCurrency, TooCheap, NothingToPay):
        return None
    price_minor = purchase.quote.total_minor
    return price_minor if price_minor <= auto.agreed_minor else None


def is_held_up(auto: AutoTopUp, at: datetime) -> bool:
    """Return whether a limit is reached, and note until when."""
    month, _, next_month = month_of(at)
    bought = bought_this_month(auto, at)
    if bought + auto.amount > auto.monthly_limit:
        auto.paused_why, auto.paused_until = TopUpPause.MONTH, next_month
        if auto.limit_told_in != month:
            auto.limit_told_in = month
            top_up_mail.tell_limit(auto, bought=bought, until=next_month)
    elif until := next_after_burst(auto, at):
        auto.paused_why, auto.paused_until = TopUpPause.BURST, until
    else:
        return False
    auto.save(update_fields=["paused_why", "paused_until", "limit_told_in"])
    return True


def payment_for(auto: AutoTopUp, price_minor: int, *, key: str, at: datetime) -> Payment:
    return open_payment(
        user=auto.user,
        wallet=auto.wallet,
        credits=auto.amount,
        net_minor=price_minor,
        currency=auto.currency,
        description=f"Automatic top-up: {auto.amount:,} credits",
        caller=CALLER,
        idempotency_key=key,
        at=at,
    )


# --- Charging -------------------------------------------------------------------------------------
@transaction.atomic
def claim(at: datetime) -> TopUp | None:
    """Return one that is under way and that nobody is at, ours until its lease ends."""
    due = TopUp.objects.filter(status=TopUpStatus.CHARGING, next_try_at__lte=at)
    found = due.select_for_update(skip_locked=True, of=("self",)).order_by("next_try_at", "pk")
    top_up = found.select_related("auto_top_up__user", "payment__user").first()
    if top_up:
        top_up.tries += 1
        top_up.next_try_at = at + LEASE
        top_up.save(update_fields=["tries", "next_try_at"])
    return top_up


def attempt(top_up: TopUp, clock: Clock) -> None:
    """
    Charge one, and keep what fails with its error.

    :raises PaymentsUnavailable: Stripe did not answer; it may have been done.
    """
    try:
        charge(top_up, clock)
    except Exception as failure:
        note_failure(top_up, failure, clock())
        if isinstance(failure, gateway.PaymentsUnavailable):
            raise
        if not isinstance(failure, Unavailable):
            log.exception("top_ups.failed", top_up=top_up.pk)


def charge(top_up: TopUp, clock: Clock) -> None:
    """Charge the card for one; who tries again looks first whether that was done."""
    payment, user = top_up.payment, top_up.auto_top_up.user
    if top_up.tries > 1:
        if intent := at_stripe(top_up):
            conclude(top_up, intent, clock)
            return
        if not is_still_wanted(top_up, clock()):
            drop(top_up, clock())
            return
    try:
        intent = gateway.pay_off_session(
            customer=customer_of(user, at=clock()),
            payment_method=top_up.card_id,
            amount_minor=payment.net_minor + payment.tax_minor,
            currency=payment.currency,
            metadata={"payment": str(payment.public_id)},
            idempotency_key=f"top-up:{top_up.key}",
            description=payment.description,
        )
    except gateway.PaymentDeclined as refusal:
        refuse(top_up, refusal.reason, refusal.payment_intent, clock())
    except gateway.StripeRefused as refusal:
        if refusal.reason == "idempotency_key_in_use":
            raise gateway.PaymentsUnavailable("It is being charged by others.") from refusal
        refuse(top_up, refusal.reason, None, clock())
    else:
        conclude(top_up, intent, clock)


def at_stripe(top_up: TopUp) -> PaymentIntent | None:
    """Return what Stripe has of a top-up that was begun before."""
    payment = Payment.objects.get(pk=top_up.payment_id)
    if payment.intent_id:
        return gateway.retrieve_payment_intent(payment.intent_id)
    customer = StripeCustomer.objects.filter(user=payment.user_id or 0).first()
    if customer is None:
        return None
    found = gateway.list_payment_intents(top_up.began_at - SKEW, customer=customer.customer_id)
    ours = str(payment.public_id)
    return next((intent for intent in found if intent.metadata.get("payment") == ours), None)


def is_still_wanted(top_up: TopUp, at: datetime) -> bool:
    auto = AutoTopUp.objects.select_related("user").get(pk=top_up.auto_top_up_id)
    is_as_agreed = auto.agreed_at is not None and auto.agreed_at <= top_up.began_at
    return is_as_agreed and at < top_up.began_at + GIVE_UP_AFTER and is_wanted(auto, at)


def conclude(top_up: TopUp, intent: PaymentIntent, clock: Clock) -> None:
    """Bring the books to what Stripe has of it."""
    unknown = Payment.objects.filter(pk=top_up.payment_id, intent_id=None)
    unknown.update(intent_id=intent.id, customer_id=intent.customer or "", reads=F("reads") + 1)
    if intent.received_minor:
        settle_payment(intent.id, clock=clock)
        finish(top_up, clock())
    elif intent.status == "canceled":
        drop(top_up, clock())
    elif intent.status == "processing":
        note_failure(top_up, Unavailable("The bank has not decided yet."), clock())
    else:
        refuse(top_up, intent.failure or "declined", intent.id, clock())


def note_failure(top_up: TopUp, failure: Exception, at: datetime) -> None:
    pause = min(FIRST_PAUSE * 2 ** min(top_up.tries - 1, 20), LONGEST_PAUSE)
    TopUp.objects.filter(pk=top_up.pk, status=TopUpStatus.CHARGING, tries=top_up.tries).update(
        error=f"{type(failure).__name__}: {failure}"[:2000], next_try_at=at + pause
    )
