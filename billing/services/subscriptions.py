"""
Subscriptions as Stripe has them become subscriptions as our books have them.

As with payments, whatever event comes, all that Stripe has on the subscription is read, and the
books are brought to it: each invoice that was paid becomes a payment with the months it paid for.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from billing import gateway
from billing.choices import SubscriptionEffectKind as Became
from billing.choices import SubscriptionStatus
from billing.errors import PaymentBusy
from billing.models import (
    OfferPrice,
    Payment,
    StripeCustomer,
    StripePrice,
    Subscription,
    SubscriptionEffect,
)
from billing.services.invoices import CYCLE, Prices, receive_invoice
from billing.services.slices import post_due_slices
from billing.stripe_objects import Invoice, uuid_in
from billing.stripe_objects import Subscription as AtStripe
from ledger.queries.wallets import wallet_of
from ledger.services import posting

READS = 5
ENDED = {SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED}
BECAME = {
    SubscriptionStatus.PAST_DUE: Became.PAST_DUE,
    SubscriptionStatus.UNPAID: Became.UNPAID,
    SubscriptionStatus.PAUSED: Became.PAUSED,
    SubscriptionStatus.CANCELED: Became.ENDED,
    SubscriptionStatus.INCOMPLETE_EXPIRED: Became.EXPIRED,
}
NOT_BEGUN = {
    SubscriptionStatus.OPEN,
    SubscriptionStatus.ABANDONED,
    SubscriptionStatus.INCOMPLETE,
    SubscriptionStatus.INCOMPLETE_EXPIRED,
}


@dataclass(frozen=True)
class State:
    """All that Stripe has on one subscription, as it was when we asked."""

    subscription: AtStripe
    paid: Sequence[Invoice]  # In the order in which they were.


def settle_subscription(
    id: str, *, clock: Callable[[], datetime] = timezone.now
) -> Subscription | None:
    """
    Bring the books to what Stripe has on a subscription: once, however often it is called.

    What is due of what was paid for is posted at once. One that nobody here asked for is kept, too:
    at a price of ours, for a customer of ours, it gives what they paid for.

    :raises PaymentsUnavailable: Stripe did not answer.
    :raises PaymentBusy: others read the same subscription all the time.
    """
    for _ in range(READS):
        known = begin_to_read(id)
        if known is None:
            adopt(gateway.retrieve_subscription(id), clock())
        elif settled := bring_to(known, read_state(id), clock()):
            post_due_slices(clock=clock, subscription=settled.pk)
            return settled
    raise PaymentBusy


def settle_invoice(id: str, *, clock: Callable[[], datetime] = timezone.now) -> None:
    """
    Settle the subscription that an invoice is of, if it is of one.

    :raises PaymentsUnavailable: Stripe did not answer.
    :raises PaymentBusy: others read the same subscription all the time.
    """
    invoice = gateway.retrieve_invoice(id)
    if invoice.subscription:
        settle_subscription(invoice.subscription, clock=clock)


@transaction.atomic
def begin_to_read(id: str) -> Subscription | None:
    """Say that we are about to read a subscription; ``None``: it is not known here."""
    subscriptions = Subscription.objects.select_for_update(no_key=True)
    known = subscriptions.filter(subscription_id=id).first()
    if known:
        known.reads += 1
        known.save(update_fields=["reads"])
    return known


def read_state(id: str) -> State:
    paid = [each for each in gateway.invoices_of(id) if each.status == "paid"][::-1]
    # Those of one second stay in the order in which Stripe has them, the oldest first.
    paid.sort(key=lambda each: (each.paid_at or each.created_at, each.created_at))
    return State(gateway.retrieve_subscription(id), paid)


@transaction.atomic
def adopt(found: AtStripe, at: datetime) -> None:
    """Find the row that was made when this subscription was begun, or make one."""
    if public_id := uuid_in(found.metadata, "subscription"):
        begun = Subscription.objects.filter(public_id=public_id, subscription_id=None)
        if begun.update(subscription_id=found.id, status=SubscriptionStatus.INCOMPLETE):
            return
    customer = StripeCustomer.objects.filter(customer_id=found.customer).first()
    stranger = Subscription(
        subscription_id=found.id,
        user=customer.user if customer else None,
        wallet=wallet_of(customer.user) if customer else None,
        customer_id=found.customer,
        status=SubscriptionStatus.INCOMPLETE,
        status_at=at,
        created_at=found.created_at,
    )
    Subscription.objects.bulk_create([stranger], ignore_conflicts=True)


@transaction.atomic
def bring_to(read: Subscription, state: State, at: datetime) -> Subscription | None:
    """Bring the books to ``state``; ``None`` if somebody began to read it after us."""
    subscriptions = Subscription.objects.select_for_update(no_key=True, of=("self",))
    subscription = subscriptions.select_related("wallet", "price", "user").get(pk=read.pk)
    if subscription.reads != read.reads:
        return None
    prices = prices_of(state)
    if state.paid and subscription.wallet_id:
        posting.lock_wallet(subscription.wallet_id)  # What one invoice gave back, another one owes.
    for invoice in state.paid:
        if not is_known(invoice):
            receive_invoice(subscription, invoice, prices, at)
            if invoice.reason == CYCLE:
                note(subscription, Became.RENEWED, at, object_id=invoice.id)
    follow(subscription, state, prices, at)
    subscription.save()
    return subscription


def prices_of(state: State) -> Prices:
    """Return the prices of ours that it is about, by their ids at Stripe."""
    ids = {line.price for invoice in state.paid for line in invoice.lines}
    return prices_by_id({*ids, state.subscription.price})


def prices_by_id(ids: Iterable[str | None]) -> Prices:
    """Return the prices of ours among these of Stripe's."""
    found = StripePrice.objects.filter(price_id__in=set(ids) - {None})
    found = found.select_related("offer_price__version__offer")
    return {str(each.price_id): each.offer_price for each in found}


def is_known(invoice: Invoice) -> bool:
    """Return whether it is a payment already, be it one that was held back by its intent."""
    known = Q(invoice_id=invoice.id)
    if invoice.payment_intent:
        known |= Q(intent_id=invoice.payment_intent)
    return Payment.objects.filter(known).exists()


def follow(subscription: Subscription, state: State, prices: Prices, at: datetime) -> None:
    """Say of the row what Stripe says, and note what is new."""
    found = state.subscription
    subscription.customer_id = found.customer
    subscription.period_start, subscription.period_end = found.period_start, found.period_end
    subscription.ended_at = found.ended_at
    follow_status(subscription, SubscriptionStatus(found.status), at)
    follow_price(subscription, paid_price(state, prices), prices.get(found.price), at)
    ends = found.period_end if found.cancels_at_period_end else found.cancel_at
    follow_end(subscription, None if found.status in ENDED else ends, at)


def follow_status(subscription: Subscription, status: SubscriptionStatus, at: datetime) -> None:
    before = SubscriptionStatus(subscription.status)
    if status == before:
        return
    subscription.status, subscription.status_at = status, at
    if status in BECAME:
        note(subscription, BECAME[status], at)
    elif status == SubscriptionStatus.ACTIVE:
        note(subscription, Became.BEGUN if before in NOT_BEGUN else Became.ACTIVE, at)


def paid_price(state: State, prices: Prices) -> OfferPrice | None:
    """Return the price that was paid for last."""
    for invoice in reversed(state.paid):
        lines = [line for line in invoice.lines if line.amount_minor > 0 and line.price in prices]
        if lines:
            last = max(lines, key=lambda line: (line.period_end, line.amount_minor))
            return prices[str(last.price)]
    return None


def follow_price(
    subscription: Subscription, paid: OfferPrice | None, current: OfferPrice | None, at: datetime
) -> None:
    before, planned = subscription.price, subscription.next_price
    subscription.price = paid or before or current
    has_next = subscription.status not in ENDED and current and current != subscription.price
    subscription.next_price = current if has_next else None
    if paid and before and before != paid:
        note(subscription, Became.CHANGED, at, price=paid)
    elif subscription.next_price != planned and subscription.next_price:
        note(subscription, Became.WILL_CHANGE, at, price=subscription.next_price)
    elif planned and subscription.next_price is None and subscription.status not in ENDED:
        note(subscription, Became.KEPT, at, price=subscription.price)


def follow_end(subscription: Subscription, ends: datetime | None, at: datetime) -> None:
    before, subscription.cancels_at = subscription.cancels_at, ends
    if ends and before is None:
        note(subscription, Became.CANCELLED, at)
    elif before and ends is None and subscription.status not in ENDED:
        note(subscription, Became.KEPT, at)


def note(
    subscription: Subscription,
    effect: Became,
    at: datetime,
    *,
    price: OfferPrice | None = None,
    object_id: str = "",
) -> None:
    SubscriptionEffect.objects.create(
        subscription=subscription,
        effect=effect,
        price=price or subscription.price,
        object_id=object_id,
        at=at,
    )


@transaction.atomic
def abandon(session_id: str, *, at: datetime) -> None:
    """Say that the checkout in which a subscription was begun has expired."""
    begun = Subscription.objects.filter(session_id=session_id, status=SubscriptionStatus.OPEN)
    begun.update(status=SubscriptionStatus.ABANDONED, status_at=at)
