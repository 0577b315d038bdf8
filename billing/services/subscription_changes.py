"""
What is asked for of a subscription: kept first, done at Stripe, and seen in what Stripe then has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing import gateway
from billing.choices import ChangeKind, ChangeStatus, Interval, SubscriptionStatus
from billing.entitlements import entitlement_of
from billing.errors import ChangeWaiting, NotChangeable, NotForSale, NotSubscribed
from billing.models import OfferPrice, Subscription, SubscriptionChange
from billing.queries.offers import newest_version
from billing.services.invoices import known, owed_by, priced_line_of
from billing.services.subscribing import stripe_price_of
from billing.services.subscriptions import prices_by_id, settle_subscription
from creditsite.errors import Conflict, Unavailable
from creditsite.money import format_money
from ledger import errors, keys
from ledger.services.adjustments import refuse_own_wallet

MANAGE = "billing.manage_subscription"
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=30)
# Later than that nobody expects it any more, nor a card to be charged for it.
GIVEN_UP_AFTER = timedelta(hours=1)
Clock = Callable[[], datetime]
ACTIONS = {
    ChangeKind.CANCEL: "billing.subscription.cancelled",
    ChangeKind.KEEP: "billing.subscription.kept",
    ChangeKind.END: "billing.subscription.ended",
}


@dataclass(frozen=True, slots=True)
class Preview:
    """
    What a change would do: what is paid at once, with tax, and the credits that come at once.

    Both are none where it takes effect with the next period.
    """

    kind: ChangeKind
    due_minor: int
    tax_minor: int
    currency: str
    credits: int
    takes_effect_at: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for what, and why."""

    actor: User | None
    reason: str
    caller: str
    idempotency_key: str
    clock: Clock

    @property
    def key(self) -> UUID:
        return keys.digest(self.caller, self.idempotency_key)


# --- What may be asked for ------------------------------------------------------------------------
def preview_change(*, subscription: Subscription, price: OfferPrice, at: datetime) -> Preview:
    """
    Return what ``change_plan`` would do at that instant.

    :raises NotForSale: the plan is not sold at that price any more.
    :raises NotSubscribed: the subscription is not active.
    :raises NotChangeable: it cannot be changed to that price.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    kind = kind_of_change(subscription, price)
    ends_at = subscription.period_end or at
    if kind != ChangeKind.UPGRADE:
        return Preview(kind, 0, 0, price.currency, 0, ends_at)
    read = gateway.retrieve_subscription(subscription.subscription_id or "")
    # Not before the period that is paid for, where Stripe's clock is ahead of ours.
    now = max(at, read.period_start)
    invoice = gateway.preview_change(read, price=stripe_price_of(price), at=now)
    prices = prices_by_id({line.price for line in invoice.lines})
    lines = [priced_line_of(line, prices[str(line.price)]) for line in known(invoice, prices)]
    owed = owed_by(subscription.wallet) if subscription.wallet else 0
    return Preview(
        kind=kind,
        due_minor=invoice.due_minor,
        tax_minor=invoice.tax_minor,
        currency=invoice.currency,
        credits=max(entitlement_of(lines) - owed, 0),
        takes_effect_at=at,
    )


def kind_of_change(subscription: Subscription, price: OfferPrice) -> ChangeKind:
    """
    Return how a subscription changes to ``price``: now if it costs more, else with the next period.

    :raises NotForSale: the plan is not sold at that price any more.
    :raises NotSubscribed: the subscription is not active.
    :raises NotChangeable: it cannot be changed to that price.
    """
    paid, planned = subscription.price, subscription.next_price
    if subscription.status != SubscriptionStatus.ACTIVE or paid is None:
        raise NotSubscribed("The subscription is not active: have its payment made first.")
    if price == paid and planned:
        return ChangeKind.STAY
    if price in (paid, planned):
        raise NotChangeable("It is on this plan already, or will be.")
    offer = price.version.offer
    if not offer.is_active or newest_version(offer).pk != price.version_id:
        raise NotForSale(offer.code)
    if subscription.cancels_at:
        raise NotChangeable("It was cancelled. Take that back first.")
    if price.currency != paid.currency:
        raise NotChangeable(f"It is paid in {paid.currency.upper()}.")
    if price.interval != paid.interval:
        return _change_of_interval(paid, price, planned)
    if price.amount_minor <= paid.amount_minor:
        return ChangeKind.DOWNGRADE
    return _upgrade(planned)


def _change_of_interval(
    paid: OfferPrice, price: OfferPrice, planned: OfferPrice | None
) -> ChangeKind:
    if price.interval == Interval.MONTH:
        raise NotChangeable(
            "It is paid by the year. Cancel it, and subscribe by the month when it has ended."
        )
    if price.version.credits < paid.version.credits:
        raise NotChangeable("A smaller plan is paid by the year from the next period on only.")
    return _upgrade(planned)


def _upgrade(planned: OfferPrice | None) -> ChangeKind:
    if planned:
        raise NotChangeable(f"It changes to {planned.version.name}. Take that back first.")
    return ChangeKind.UPGRADE


# --- Asking ---------------------------------------------------------------------------------------
def change_plan(
    *,
    subscription: Subscription,
    price: OfferPrice,
    actor: User | None,
    caller: str,
    idempotency_key: str,
    reason: str = "",
    clock: Clock = timezone.now,
) -> SubscriptionChange:
    """
    Change a subscription to ``price``.

    To more money now: the difference for the rest of the period is paid at once, or nothing
    changes. To less with the next period. To the price that is paid for: such a plan is taken back.

    :raises NotPermitted: it is not ``actor``'s, and they may not manage subscriptions.
    :raises OwnWallet: it is not theirs, but they may spend from its wallet.
    :raises NotForSale: the plan is not sold at that price any more.
    :raises NotSubscribed: the subscription is not active.
    :raises NotChangeable: it cannot be changed to that price.
    :raises ChangeWaiting: another change is on its way.
    :raises PaymentDeclined: the difference was not paid.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises PaymentsUnavailable: Stripe did not answer; the same request again finds out.
    """
    request = Request(actor, reason, caller, idempotency_key, clock)
    return _do(subscription, None, price, request)


def cancel_at_period_end(
    *,
    subscription: Subscription,
    actor: User | None,
    caller: str,
    idempotency_key: str,
    reason: str = "",
    clock: Clock = timezone.now,
) -> SubscriptionChange:
    """
    Let a subscription end with what is paid for; refusals as of ``change_plan``.

    :raises NotSubscribed: it has ended.
    """
    request = Request(actor, reason, caller, idempotency_key, clock)
    return _do(subscription, ChangeKind.CANCEL, None, request)


def keep_subscription(
    *,
    subscription: Subscription,
    actor: User | None,
    caller: str,
    idempotency_key: str,
    reason: str = "",
    clock: Clock = timezone.now,
) -> SubscriptionChange:
    """
    Take a cancellation back; refusals as of ``change_plan``.

    :raises NotSubscribed: it has ended.
    """
    request = Request(actor, reason, caller, idempotency_key, clock)
    return _do(subscription, ChangeKind.KEEP, None, request)


def end_now(
    *,
    subscription: Subscription,
    actor: User | None,
    caller: str,
    idempotency_key: str,
    reason: str = "",
    clock: Clock = timezone.now,
) -> SubscriptionChange:
    """
    End a subscription at once. Nothing is refunded, so what is paid for still comes.

    :raises NotPermitted: ``actor`` may not manage subscriptions.
    :raises OwnWallet: they may spend from its wallet.
    :raises NotSubscribed: it has ended.
    """
    require(actor, MANAGE)
    request = Request(actor, reason, caller, idempotency_key, clock)
    return _do(subscription, ChangeKind.END, None, request)


def _do(
    subscription: Subscription,
    kind: ChangeKind | None,
    price: OfferPrice | None,
    request: Request,
) -> SubscriptionChange:
    _refuse_strangers(subscription, kind, request.actor)
    what = [str(kind), price.pk if price else None]
    fingerprint = keys.fingerprint("subscription", subscription.pk, *what, request.reason)
    change = SubscriptionChange.objects.filter(request_key=request.key).first()
    if change and change.fingerprint != fingerprint:
        raise errors.IdempotencyKeyReused
    if change is None:
        settle_subscription(subscription.subscription_id or "", clock=request.clock)
        change = _keep(subscription, kind, price, fingerprint, request)
    if change.status == ChangeStatus.REFUSED:
        raise NotChangeable(change.error)
    if change.status == ChangeStatus.WAITING:
        _send(change, request.clock)
    change.refresh_from_db()
    return change


def _refuse_strangers(
    subscription: Subscription, kind: ChangeKind | None, actor: User | None
) -> None:
    is_theirs = actor is not None and actor.pk == subscription.user_id
    if not is_theirs or kind == ChangeKind.END:
        require(actor, MANAGE)
        if subscription.wallet:
            refuse_own_wallet(actor=actor, wallet=subscription.wallet)


@transaction.atomic
def _keep(
    subscription: Subscription,
    kind: ChangeKind | None,
    price: OfferPrice | None,
    fingerprint: UUID,
    request: Request,
) -> SubscriptionChange:
    at = request.clock()
    locked = Subscription.objects.select_for_update(no_key=True).get(pk=subscription.pk)
    if not locked.is_on_going:
        raise NotSubscribed
    if price is not None:
        kind = kind_of_change(locked, price)
    if locked.changes.filter(status=ChangeStatus.WAITING).exists():
        raise ChangeWaiting
    change = SubscriptionChange.objects.create(
        subscription=locked,
        kind=kind,
        price=price,
        reason=request.reason,
        asked_by=request.actor,
        asked_at=at,
        request_key=request.key,
        fingerprint=fingerprint,
        next_try_at=at,
    )
    audit.record(
        ACTIONS.get(ChangeKind(change.kind), "billing.subscription.changed"),
        actor=request.actor,
        target=locked,
        at=at,
        reason=request.reason,
        before=facts(locked),
        after={"change": change.kind, "price": named(price)},
    )
    return change


def facts(subscription: Subscription) -> dict[str, object]:
    """Return a subscription as the record keeps it."""
    return {
        "status": str(subscription.status),
        "price": named(subscription.price),
        "next_price": named(subscription.next_price),
        "cancels_at": subscription.cancels_at.isoformat() if subscription.cancels_at else None,
    }


def named(price: OfferPrice | None) -> str | None:
    if price is None:
        return None
    version = price.version
    amount = format_money(price.amount_minor, price.currency)
    return f"{version.offer.code} no. {version.number}, {amount} a {price.interval}"


# --- Doing ----------------------------------------------------------------------------------------
def send_changes(*, clock: Clock = timezone.now) -> None:
    """Do what was asked for and has not been done: who asked may have died over it."""
    for _ in range(100):
        change = _claim(clock())
        if change is None:
            return
        try:
            _send(change, clock)
        except Conflict:
            pass  # The row says so.
        except Unavailable:
            return


@transaction.atomic
def _claim(at: datetime) -> SubscriptionChange | None:
    due = SubscriptionChange.objects.filter(
        status=ChangeStatus.WAITING, next_try_at__lte=at - FIRST_PAUSE
    )
    change = due.select_for_update(skip_locked=True).order_by("next_try_at", "pk").first()
    if change:
        change.tries, change.next_try_at = change.tries + 1, at + LEASE
        change.save(update_fields=["tries", "next_try_at"])
    return change


def _send(change: SubscriptionChange, clock: Clock) -> None:
    """
    Have a change made at Stripe, unless it is made already.

    :raises PaymentsUnavailable: Stripe did not answer; it may have been made.
    """
    id = change.subscription.subscription_id or ""
    found = settle_subscription(id, clock=clock)
    if found and not is_done(change, found):
        try:
            if clock() - change.asked_at > GIVEN_UP_AFTER:
                raise NotChangeable("It could not be done in time.")
            _call(change, id)
        except Conflict as refusal:
            _finish(change, ChangeStatus.REFUSED, clock(), str(refusal))
            raise
        settle_subscription(id, clock=clock)
    _finish(change, ChangeStatus.DONE, clock())


def is_done(change: SubscriptionChange, found: Subscription) -> bool:
    """Return whether Stripe has what was asked for."""
    if found.ended_at:
        return change.kind in {ChangeKind.END, ChangeKind.CANCEL}
    return {
        ChangeKind.UPGRADE: found.price_id == change.price_id,
        ChangeKind.DOWNGRADE: found.next_price_id == change.price_id,
        ChangeKind.STAY: found.next_price_id is None,
        ChangeKind.CANCEL: found.cancels_at is not None,
        ChangeKind.KEEP: found.cancels_at is None,
        ChangeKind.END: False,
    }[ChangeKind(change.kind)]


def _call(change: SubscriptionChange, id: str) -> None:
    key = f"change:{change.key}"
    if change.kind == ChangeKind.END:
        gateway.cancel_subscription(id)
    elif change.kind == ChangeKind.CANCEL:
        gateway.end_with_period(id, idempotency_key=key)
    elif change.kind == ChangeKind.KEEP:
        gateway.keep_subscription(id, idempotency_key=key)
    elif change.price:
        gateway.change_subscription(
            gateway.retrieve_subscription(id),
            price=stripe_price_of(change.price),
            bills_now=change.kind == ChangeKind.UPGRADE,
            idempotency_key=key,
        )


def _finish(
    change: SubscriptionChange, status: ChangeStatus, at: datetime, error: str = ""
) -> None:
    SubscriptionChange.objects.filter(pk=change.pk, status=ChangeStatus.WAITING).update(
        status=status, next_try_at=None, done_at=at, error=error[:2000]
    )
