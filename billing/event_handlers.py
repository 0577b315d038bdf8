"""
What is done about each type of event. An event says only where to look: handlers act on what they
find at Stripe, so that it does not matter how often or when they are called.
"""

from collections.abc import Callable
from datetime import datetime

from billing import gateway
from billing.models import StripeEvent
from billing.services import settlement, subscriptions, top_ups
from billing.stripe_objects import CheckoutSession

Clock = Callable[[], datetime]
Handler = Callable[[StripeEvent, Clock], None]
CheckoutHandler = Callable[[CheckoutSession, Clock], None]
HANDLERS: dict[str, Handler] = {}
CHECKOUTS: dict[str, CheckoutHandler] = {}


def handles(*types: str) -> Callable[[Handler], Handler]:
    """Return the decorator of the handler of these types of event."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(types, handler))
        return handler

    return register


def completes(mode: str) -> Callable[[CheckoutHandler], CheckoutHandler]:
    """Return the decorator of the handler of checkouts of this mode, completed or expired."""

    def register(handler: CheckoutHandler) -> CheckoutHandler:
        CHECKOUTS[mode] = handler
        return handler

    return register


@handles(
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
def settle(event: StripeEvent, clock: Clock) -> None:
    """Settle the payment that the event is about; a charge without an intent is none of ours."""
    intent_id = event.payload.get("payment_intent")
    if event.object_id.startswith("pi_"):
        intent_id = event.object_id
    if intent_id:
        is_about_one = event.type.startswith("charge.dispute.")
        settlement.settle_payment(intent_id, looks_for_disputes=is_about_one, clock=clock)


@handles(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
)
def settle_checkout(event: StripeEvent, clock: Clock) -> None:
    session = gateway.retrieve_checkout(event.object_id)
    if handler := CHECKOUTS.get(session.mode):
        handler(session, clock)


@completes("payment")
def settle_payment_of(session: CheckoutSession, clock: Clock) -> None:
    if session.payment_intent:
        settlement.settle_payment(session.payment_intent, clock=clock)
    if session.status == "expired":
        settlement.end_checkout(session.id, at=clock())


@completes("setup")
def take_card(session: CheckoutSession, clock: Clock) -> None:
    top_ups.take_card(session.id, at=clock())


@completes("subscription")
def settle_subscription_of(session: CheckoutSession, clock: Clock) -> None:
    if session.subscription:
        subscriptions.settle_subscription(session.subscription, clock=clock)
    if session.status == "expired":
        subscriptions.abandon(session.id, at=clock())


@handles(
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
)
def settle_subscription(event: StripeEvent, clock: Clock) -> None:
    subscriptions.settle_subscription(event.object_id, clock=clock)


@handles(
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.voided",
    "invoice.marked_uncollectible",
)
def settle_invoice(event: StripeEvent, clock: Clock) -> None:
    subscriptions.settle_invoice(event.object_id, clock=clock)
