"""Payment methods: cards, by the names that Stripe's tests use; numbers come from pages only."""

import stripe

from billing.stripe_sandbox.cards import (
    ALWAYS,
    BY_NAME,
    BY_NUMBER,
    CARDS,
    DECLINES,
    UNTIL_SET_UP,
    Card,
)
from billing.stripe_sandbox.errors import StripeError, missing_object
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.routes import Params, page, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object

NOBODY = {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}


def new_method(sandbox: Sandbox, card: Card) -> Object:
    whole = sandbox.add(
        stripe.PaymentMethod,
        "pm",
        type="card",
        billing_details=NOBODY,
        metadata={},
        allow_redisplay="unspecified",
        card={
            "brand": card.brand,
            "country": "US",
            "exp_month": 12,
            "exp_year": 2040,
            "fingerprint": f"fp{card.number[::-1]}",
            "funding": "credit",
            "last4": card.number[-4:],
        },
        _number=card.number,
        _set_up=False,
    )
    # Of the many types that a payment method may have, only its own is shown.
    shown = {"customer", "customer_account", "radar_options"}
    return sandbox.store.save({n: v for n, v in whole.items() if v is not None or n in shown})


def card_of(method: Object) -> Card:
    return BY_NUMBER[method["_number"]]


def card_of_number(number: str) -> Card:
    """:raises StripeError: it is no test card."""
    digits = "".join(number.split())
    if digits not in BY_NUMBER:
        raise StripeError(
            "Your card was declined. It is none of the test cards.",
            status=402,
            type="card_error",
            code="card_declined",
            decline_code="test_mode_live_card",
        )
    return BY_NUMBER[digits]


def usable(sandbox: Sandbox, name: str, *, param: str = "payment_method") -> Object:
    """Return the payment method of that id, or a new one of a test card such as `pm_card_visa`."""
    if name in BY_NAME:
        return new_method(sandbox, BY_NAME[name])
    method = sandbox.get("payment_method", name, param=param)
    if method.get("_detached"):
        raise StripeError(
            "The provided PaymentMethod was detached from a Customer and may not be used again.",
            param=param,
        )
    return method


def needs_authentication(method: Object) -> bool:
    """Say whether the cardholder must show that it is them."""
    rule = card_of(method).authentication
    return rule == ALWAYS or (rule == UNTIL_SET_UP and not method["_set_up"])


def attach(sandbox: Sandbox, method: Object, customer: str) -> Object:
    """
    Keep a payment method with a customer.

    :raises StripeError: it is another's, or its card is one that declines even that.
    """
    if method["customer"] not in {None, customer}:
        raise StripeError(
            "The payment method you provided has already been attached to a customer."
        )
    card = card_of(method)
    if card.decline and card.declines_when_saved:
        raise declined(card.decline, method)
    if method["customer"] is None:
        sandbox.update(method, customer=customer)
        emit(sandbox, "payment_method.attached", method)
    return method


def declined(reason: str, method: Object, **more: object) -> StripeError:
    """Return the refusal of a charge for this reason."""
    code, message = DECLINES[reason]
    return StripeError(
        message,
        status=402,
        type="card_error",
        code=code,
        decline_code=reason,
        payment_method=method,
        **more,
    )


@route(
    "POST",
    "/v1/payment_methods",
    "PaymentMethodCreateParams",
    "type card.token metadata billing_details",
)
def create_payment_method(sandbox: Sandbox, params: Params) -> Object:
    """Make one of a token such as `tok_visa`; a bare number is refused as Stripe does."""
    token = params.get("card", {}).get("token", "")
    name = token.replace("tok_", "pm_card_", 1)
    if params.get("type") != "card" or name not in BY_NAME:
        raise missing_object("token", token, param="card[token]")
    return new_method(sandbox, BY_NAME[name])


@route("POST", "/v1/payment_methods/{id}/attach", "PaymentMethodAttachParams", "customer")
def attach_payment_method(sandbox: Sandbox, params: Params, id: str) -> Object:
    sandbox.customer(params.get("customer", ""))
    return attach(sandbox, usable(sandbox, id, param="id"), params["customer"])


@route("POST", "/v1/payment_methods/{id}/detach", "PaymentMethodDetachParams")
def detach_payment_method(sandbox: Sandbox, params: Params, id: str) -> Object:
    method = sandbox.get("payment_method", id)
    if method["customer"] is None:
        raise StripeError("The payment method you provided is not attached to a customer.")
    emit(sandbox, "payment_method.detached", sandbox.update(method, customer=None, _detached=True))
    return method


@route(
    "GET",
    "/v1/payment_methods",
    "PaymentMethodListParams",
    "customer type limit starting_after ending_before",
)
def list_payment_methods(sandbox: Sandbox, params: Params) -> Object:
    fields = {name: params[name] for name in ["customer", "type"] if name in params}
    if "customer" not in fields:
        raise StripeError("Missing required param: customer.", code="parameter_missing")
    return page(sandbox, "payment_method", "/v1/payment_methods", params, fields)


@route(
    "GET",
    "/v1/customers/{customer}/payment_methods",
    "CustomerListPaymentMethodsParams",
    "type limit starting_after ending_before",
)
def list_methods_of_customer(sandbox: Sandbox, params: Params, customer: str) -> Object:
    sandbox.get("customer", customer)
    path = f"/v1/customers/{customer}/payment_methods"
    return page(sandbox, "payment_method", path, params, {"customer": customer, "type": "card"})


def behave_as(sandbox: Sandbox, method: Object, number: str) -> Object:
    """Let a saved card behave as another test card from now on: one that has since expired, say."""
    if number not in BY_NUMBER:
        known = ", ".join(card.number for card in CARDS)
        raise StripeError(f"It is none of the test cards: {known}")
    return sandbox.update(method, _number=number)


retrieve("payment_method", "/v1/payment_methods", "PaymentMethodRetrieveParams")
