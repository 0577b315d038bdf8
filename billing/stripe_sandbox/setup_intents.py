"""Setup intents: a card saved for later, as a checkout in setup mode makes them."""

import stripe

from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.payment_methods import attach
from billing.stripe_sandbox.routes import listing, retrieve
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object


def save_card(sandbox: Sandbox, method: Object, customer: str, metadata: dict[str, str]) -> Object:
    """
    Keep a card with a customer for payments while they are away.

    :raises StripeError: the card declines even that.
    """
    attach(sandbox, method, customer)
    sandbox.update(method, _set_up=True)
    intent = sandbox.add(
        stripe.SetupIntent,
        "seti",
        client_secret=sandbox.new_id("seti_secret"),
        customer=customer,
        metadata=metadata,
        payment_method=method["id"],
        payment_method_types=["card"],
        status="succeeded",
        usage="off_session",
    )
    emit(sandbox, "setup_intent.succeeded", intent)
    return intent


retrieve("setup_intent", "/v1/setup_intents", "SetupIntentRetrieveParams")
listing("setup_intent", "/v1/setup_intents", "SetupIntentListParams", "customer payment_method")
