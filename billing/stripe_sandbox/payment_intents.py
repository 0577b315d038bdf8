"""Payment intents: from what is to be paid to a charge, past declines and authentication."""

from collections.abc import Callable

import stripe

from billing.stripe_sandbox.cards import NEVER
from billing.stripe_sandbox.charges import charge, settle
from billing.stripe_sandbox.disputes import open_dispute
from billing.stripe_sandbox.errors import StripeError, unexpected_state
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.money import check_amount, check_currency
from billing.stripe_sandbox.payment_methods import (
    attach,
    card_of,
    declined,
    needs_authentication,
    usable,
)
from billing.stripe_sandbox.routes import Params, listing, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, merged
from billing.stripe_sandbox.store import Object

WAITING = ["requires_payment_method", "requires_confirmation", "requires_action"]
PAYMENT = (
    "amount currency customer description metadata receipt_email setup_future_usage payment_method "
    "statement_descriptor_suffix"
)
# Who must know that a payment has succeeded, is under way, or has failed after that.
ON_SUCCESS: list[Callable[[Sandbox, Object], None]] = []
ON_PROCESSING: list[Callable[[Sandbox, Object], None]] = []
ON_LATE_FAILURE: list[Callable[[Sandbox, Object], None]] = []


@route(
    "POST",
    "/v1/payment_intents",
    "PaymentIntentCreateParams",
    f"{PAYMENT} automatic_payment_methods payment_method_types confirm off_session return_url "
    "error_on_requires_action",
)
def create_payment_intent(sandbox: Sandbox, params: Params) -> Object:
    confirm, off_session = params.pop("confirm", False), params.pop("off_session", False)
    if off_session and not confirm:
        raise StripeError("`off_session` needs `confirm=true`.", param="off_session")
    strict = params.pop("error_on_requires_action", False)
    params.pop("automatic_payment_methods", None)
    return_url = params.pop("return_url", None)
    intent = new_intent(sandbox, **params)
    if not confirm:
        return intent
    return pay(sandbox, intent, off_session=bool(off_session), strict=strict, return_url=return_url)


def new_intent(sandbox: Sandbox, **given: object) -> Object:
    """Keep an intent of these fields."""
    currency = check_currency(str(given.pop("currency")))
    customer, name = given.get("customer"), given.pop("payment_method", None)
    if customer:
        sandbox.customer(str(customer))
    method = usable(sandbox, str(name)) if name else None
    if method and method["customer"] not in {None, customer}:
        raise StripeError("The PaymentMethod belongs to another customer.", param="payment_method")
    intent = sandbox.add(
        stripe.PaymentIntent,
        "pi",
        amount=check_amount(int(str(given.pop("amount"))), currency),
        amount_capturable=0,
        amount_received=0,
        capture_method="automatic_async",
        client_secret=sandbox.new_id("pi_secret"),
        confirmation_method="automatic",
        currency=currency,
        metadata=given.pop("metadata", None) or {},
        payment_method=method and method["id"],
        payment_method_types=given.pop("payment_method_types", ["card"]),
        status="requires_confirmation" if method else "requires_payment_method",
        automatic_payment_methods={"allow_redirects": "always", "enabled": True},
        **given,
    )
    emit(sandbox, "payment_intent.created", intent)
    return intent


def pay(
    sandbox: Sandbox,
    intent: Object,
    *,
    off_session: bool = False,
    strict: bool = False,
    return_url: str | None = None,
    authenticated: bool = False,
) -> Object:
    """
    Try to take the money of an intent with its payment method.

    :raises StripeError: it was declined, or needs the cardholder, who is not there. What it led
        to stands.
    """
    refuse_unless(intent, WAITING, "confirm")
    if not intent["payment_method"]:
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            "payment_intent_unexpected_state",
            param="payment_method",
        )
    method = sandbox.get("payment_method", intent["payment_method"])
    if needs_authentication(method) and not authenticated:
        if off_session or strict:
            raise fail(sandbox, intent, method, "authentication_required")
        return ask(sandbox, intent, return_url)
    if reason := card_of(method).decline:
        raise fail(sandbox, intent, method, reason)
    if card_of(method).delayed:
        made = charge(sandbox, intent, method, status="pending")
        sandbox.update(intent, status="processing", latest_charge=made["id"], next_action=None)
        emit(sandbox, "payment_intent.processing", intent)
        tell(ON_PROCESSING, sandbox, intent)
        return intent
    made = charge(sandbox, intent, method, status="succeeded")
    return succeed(sandbox, intent, method, made)


def succeed(sandbox: Sandbox, intent: Object, method: Object, made: Object) -> Object:
    sandbox.update(
        intent,
        status="succeeded",
        amount_received=intent["amount"],
        latest_charge=made["id"],
        last_payment_error=None,
        next_action=None,
    )
    if intent["customer"] and intent["setup_future_usage"]:
        attach(sandbox, method, intent["customer"])
        sandbox.update(method, _set_up=card_of(method).authentication != NEVER)
    emit(sandbox, "payment_intent.succeeded", intent)
    tell(ON_SUCCESS, sandbox, intent)
    if reason := card_of(method).dispute:
        open_dispute(sandbox, made, reason=reason)
    return intent


def ask(sandbox: Sandbox, intent: Object, return_url: str | None) -> Object:
    """Have the cardholder show that it is them, on a page of ours."""
    url = f"{sandbox.base}/authenticate/{intent['id']}"
    sandbox.update(
        intent,
        status="requires_action",
        next_action={
            "type": "redirect_to_url",
            "redirect_to_url": {"url": url, "return_url": return_url},
        },
    )
    emit(sandbox, "payment_intent.requires_action", intent)
    return intent


def fail(sandbox: Sandbox, intent: Object, method: Object, reason: str) -> StripeError:
    """Record that an attempt failed; return the refusal, which keeps it."""
    made = charge(sandbox, intent, method, status="failed", reason=reason)
    refusal = declined(reason, method, charge=made["id"], keeps=True)
    sandbox.update(
        intent,
        status="requires_payment_method",
        payment_method=None,
        latest_charge=made["id"],
        next_action=None,
        last_payment_error=dict(refusal.error),
    )
    emit(sandbox, "payment_intent.payment_failed", intent)
    refusal.error["payment_intent"] = intent
    return refusal


def authenticate(sandbox: Sandbox, intent: Object, *, succeeds: bool) -> Object:
    """
    Let the cardholder pass or fail the authentication that was asked for.

    :raises StripeError: none was, or the card is declined all the same.
    """
    refuse_unless(intent, ["requires_action"], "authenticate")
    if succeeds:
        return pay(sandbox, intent, authenticated=True)
    method = sandbox.get("payment_method", intent["payment_method"])
    error = StripeError(
        "We are unable to authenticate your payment method.",
        code="payment_intent_authentication_failure",
    ).error
    sandbox.update(
        intent,
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_payment_error={**error, "payment_method": method},
    )
    emit(sandbox, "payment_intent.payment_failed", intent)
    return intent


def complete(sandbox: Sandbox, intent: Object, *, succeeds: bool) -> Object:
    """Let a delayed payment arrive, or not."""
    refuse_unless(intent, ["processing"], "complete")
    made = sandbox.get("charge", intent["latest_charge"])
    method = sandbox.get("payment_method", intent["payment_method"])
    if succeeds:
        emit(sandbox, "charge.succeeded", settle(sandbox, made))
        return succeed(sandbox, intent, method, made)
    sandbox.update(made, status="failed", failure_code="card_declined")
    emit(sandbox, "charge.failed", made)
    error = declined("generic_decline", method).error
    sandbox.update(intent, status="requires_payment_method", last_payment_error=error)
    emit(sandbox, "payment_intent.payment_failed", intent)
    tell(ON_LATE_FAILURE, sandbox, intent)
    return intent


def tell(whom: list[Callable[[Sandbox, Object], None]], sandbox: Sandbox, intent: Object) -> None:
    for listener in whom:
        listener(sandbox, intent)


def refuse_unless(intent: Object, states: list[str], verb: str) -> None:
    if intent["status"] not in states:
        raise unexpected_state(
            f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
            "payment_intent_unexpected_state",
            payment_intent=intent,
        )


@route("POST", "/v1/payment_intents/{id}", "PaymentIntentUpdateParams", PAYMENT)
def update_payment_intent(sandbox: Sandbox, params: Params, id: str) -> Object:
    intent = sandbox.get("payment_intent", id)
    if set(params) - {"metadata", "description", "receipt_email"}:
        refuse_unless(intent, WAITING, "update")
    if "metadata" in params:
        params["metadata"] = merged(intent["metadata"], params["metadata"])
    if "amount" in params:
        check_amount(params["amount"], params.get("currency") or intent["currency"])
    if name := params.pop("payment_method", None):
        params |= {"payment_method": usable(sandbox, name)["id"], "status": "requires_confirmation"}
    return sandbox.update(intent, **params)


@route(
    "POST",
    "/v1/payment_intents/{id}/confirm",
    "PaymentIntentConfirmParams",
    "payment_method off_session return_url setup_future_usage receipt_email "
    "error_on_requires_action",
)
def confirm_payment_intent(sandbox: Sandbox, params: Params, id: str) -> Object:
    intent = sandbox.get("payment_intent", id)
    refuse_unless(intent, WAITING, "confirm")
    if name := params.get("payment_method"):
        sandbox.update(intent, payment_method=usable(sandbox, name)["id"])
    for field in {"setup_future_usage", "receipt_email"} & params.keys():
        sandbox.update(intent, **{field: params[field]})
    return pay(
        sandbox,
        intent,
        off_session=bool(params.get("off_session")),
        strict=params.get("error_on_requires_action", False),
        return_url=params.get("return_url"),
    )


@route(
    "POST", "/v1/payment_intents/{id}/cancel", "PaymentIntentCancelParams", "cancellation_reason"
)
def cancel_payment_intent(sandbox: Sandbox, params: Params, id: str) -> Object:
    intent = sandbox.get("payment_intent", id)
    refuse_unless(intent, WAITING, "cancel")
    sandbox.update(
        intent,
        status="canceled",
        canceled_at=sandbox.now_of(intent["customer"]),
        cancellation_reason=params.get("cancellation_reason"),
        next_action=None,
    )
    emit(sandbox, "payment_intent.canceled", intent)
    return intent


retrieve("payment_intent", "/v1/payment_intents", "PaymentIntentRetrieveParams")
listing("payment_intent", "/v1/payment_intents", "PaymentIntentListParams", "customer")
