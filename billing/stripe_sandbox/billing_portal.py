"""The Customer Portal: a session, and what its page lets the customer do."""

import stripe

from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.payment_methods import attach, card_of_number, new_method
from billing.stripe_sandbox.routes import Params, route
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.subscription_routes import living, set_cancellation
from billing.stripe_sandbox.subscriptions import LIVE


@route(
    "POST",
    "/v1/billing_portal/sessions",
    "billing_portal.SessionCreateParams",
    "customer return_url configuration locale",
)
def create_portal_session(sandbox: Sandbox, params: Params) -> Object:
    sandbox.customer(params["customer"])
    id = sandbox.new_id("bps")
    return sandbox.add(
        stripe.billing_portal.Session,
        "bps",
        id=id,
        configuration=params.get("configuration", "bpc_sandbox"),
        customer=params["customer"],
        locale=params.get("locale"),
        return_url=params.get("return_url"),
        url=f"{sandbox.base}/p/session/{id}",
    )


def set_end(sandbox: Sandbox, portal: Object, id: str, *, cancelled: bool) -> None:
    """Let a subscription end with its period, or go on after all."""
    subscription = living(sandbox, id)
    if subscription["customer"] != portal["customer"]:
        raise StripeError("This is somebody else's subscription.", status=404)
    names = ["cancel_at_period_end", "cancel_at", "canceled_at"]
    previous = {name: subscription[name] for name in names}
    set_cancellation(sandbox, subscription, cancelled)
    sandbox.update(subscription)
    emit(sandbox, "customer.subscription.updated", subscription, previous=previous)


def set_card(sandbox: Sandbox, portal: Object, number: str) -> None:
    """Pay by this card from now on."""
    method = attach(sandbox, new_method(sandbox, card_of_number(number)), portal["customer"])
    sandbox.update(method, _set_up=True)
    customer = sandbox.get("customer", portal["customer"])
    settings = customer["invoice_settings"] | {"default_payment_method": method["id"]}
    sandbox.update(customer, invoice_settings=settings)
    emit(sandbox, "customer.updated", customer)
    for subscription in sandbox.store.find(
        "subscription", {"customer": customer["id"], "status": LIVE}
    ):
        sandbox.update(subscription, default_payment_method=method["id"])
        emit(sandbox, "customer.subscription.updated", subscription)
