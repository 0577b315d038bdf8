"""
What is done about each type of event. An event says only where to look: handlers act on what they
find at Stripe, so that it does not matter how often or when they are called.
"""

from collections.abc import Callable
from datetime import datetime

from billing import gateway
from billing.models import StripeEvent
from billing.services import settlement

Clock = Callable[[], datetime]
Handler = Callable[[StripeEvent, Clock], None]
HANDLERS: dict[str, Handler] = {}


def handles(*types: str) -> Callable[[Handler], Handler]:
    """Return the decorator of the handler of these types of event."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(types, handler))
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
    if session.mode != "payment":
        return
    if session.payment_intent:
        settlement.settle_payment(session.payment_intent, clock=clock)
    if session.status == "expired":
        settlement.end_checkout(session.id, at=clock())
