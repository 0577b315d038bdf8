"""Customers."""

import stripe

from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.payment_methods import attach, usable
from billing.stripe_sandbox.routes import Params, page, route
from billing.stripe_sandbox.sandbox import Sandbox, merged
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.subscriptions import LIVE, end

KNOWS = (
    "email name description metadata phone preferred_locales balance address "
    "invoice_settings.default_payment_method"
)
NO_SETTINGS = {
    "custom_fields": None,
    "default_payment_method": None,
    "footer": None,
    "rendering_options": None,
}


@route("POST", "/v1/customers", "CustomerCreateParams", f"{KNOWS} payment_method test_clock")
def create_customer(sandbox: Sandbox, params: Params) -> Object:
    method = params.pop("payment_method", None)
    settings = NO_SETTINGS | params.pop("invoice_settings", {})
    clock = params.get("test_clock")
    if clock:
        sandbox.get("test_helpers.test_clock", clock, param="test_clock")
    given = {
        "balance": 0,
        "metadata": {},
        "delinquent": False,
        "tax_exempt": "none",
        "preferred_locales": [],
        "invoice_settings": settings,
        "created": sandbox.clock.now(clock),
    }
    customer = sandbox.add(stripe.Customer, "cus", **given | params, _lives=True)
    if method:
        attach(sandbox, usable(sandbox, method), customer["id"])
    if settings["default_payment_method"]:
        check_default(sandbox, customer)
    emit(sandbox, "customer.created", customer)
    return customer


def check_default(sandbox: Sandbox, customer: Object) -> None:
    """:raises StripeError: the customer's default payment method is not theirs."""
    chosen = customer["invoice_settings"]["default_payment_method"]
    method = sandbox.get("payment_method", chosen, param="invoice_settings[default_payment_method]")
    if method["customer"] != customer["id"]:
        raise StripeError(
            "The customer does not have a payment method with the ID "
            f"{chosen}. The payment method must be attached to the customer.",
            code="resource_missing",
            param="invoice_settings[default_payment_method]",
        )


@route("GET", "/v1/customers/{id}", "CustomerRetrieveParams")
def retrieve_customer(sandbox: Sandbox, params: Params, id: str) -> Object:
    found = sandbox.get("customer", id)
    return found if not found.get("deleted") else deleted(id)


def deleted(id: str) -> Object:
    return {"id": id, "object": "customer", "deleted": True}


@route("POST", "/v1/customers/{id}", "CustomerUpdateParams", KNOWS)
def update_customer(sandbox: Sandbox, params: Params, id: str) -> Object:
    customer = sandbox.customer(id, param="id")
    previous = {name: customer[name] for name in params}
    if "metadata" in params:
        params["metadata"] = merged(customer["metadata"], params["metadata"])
    if "invoice_settings" in params:
        params["invoice_settings"] = customer["invoice_settings"] | params["invoice_settings"]
    sandbox.update(customer, **{name: value or None for name, value in params.items()})
    sandbox.update(customer, metadata=customer["metadata"] or {}, balance=customer["balance"] or 0)
    if customer["invoice_settings"]["default_payment_method"]:
        check_default(sandbox, customer)
    emit(sandbox, "customer.updated", customer, previous=previous)
    return customer


@route("DELETE", "/v1/customers/{id}", "CustomerDeleteParams")
def delete_customer(sandbox: Sandbox, params: Params, id: str) -> Object:
    """Take a customer and their cards away, and end what they subscribe to."""
    customer = sandbox.customer(id, param="id")
    for subscription in sandbox.store.find("subscription", {"customer": id, "status": LIVE}):
        end(sandbox, subscription)
    for method in sandbox.store.find("payment_method", {"customer": id}):
        sandbox.update(method, customer=None, _detached=True)
    emit(sandbox, "customer.deleted", customer)
    gone = {"email": None, "name": None, "phone": None, "address": None, "description": None}
    sandbox.update(customer, deleted=True, metadata={}, **gone, _lives=False)
    return deleted(id)


@route(
    "GET", "/v1/customers", "CustomerListParams", "created limit starting_after ending_before email"
)
def list_customers(sandbox: Sandbox, params: Params) -> Object:
    fields = {"_lives": True} | ({"email": params["email"]} if "email" in params else {})
    return page(sandbox, "customer", "/v1/customers", params, fields)
