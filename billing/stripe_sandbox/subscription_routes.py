"""The calls about subscriptions."""

from billing.stripe_sandbox.errors import StripeError, missing_object, unknown_here
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.payment_methods import attach, usable
from billing.stripe_sandbox.products import price_of_line
from billing.stripe_sandbox.routes import Params, page, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, merged
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.subscriptions import (
    LIVE,
    NO_DETAILS,
    begin,
    bill,
    change_price,
    end,
    item_of,
    one_item,
    settle_or_fail,
)

ITEMS = "items.id items.price items.price_data items.quantity"
BEHAVIORS = ["allow_incomplete", "error_if_incomplete"]


@route(
    "POST",
    "/v1/subscriptions",
    "SubscriptionCreateParams",
    f"customer {ITEMS} metadata default_payment_method payment_behavior off_session "
    "automatic_tax.enabled",
)
def create_subscription(sandbox: Sandbox, params: Params) -> Object:
    customer = sandbox.customer(params.get("customer", ""))["id"]
    behavior = behavior_of(params)
    line = one_item(params.get("items", []))
    method = params.get("default_payment_method")
    if method:
        method = attach(sandbox, usable(sandbox, method), customer)["id"]
    subscription, refusal = begin(
        sandbox,
        customer=customer,
        price=price_of_line(sandbox, line),
        quantity=line.get("quantity", 1),
        metadata=params.get("metadata") or {},
        method=method,
        off_session=params.get("off_session", False),
        automatic_tax=params.get("automatic_tax", {}).get("enabled", False),
    )
    if behavior == "error_if_incomplete" and subscription["status"] == "incomplete":
        raise without_trace(refusal)
    return subscription


def behavior_of(params: Params) -> str:
    behavior: str = params.pop("payment_behavior", "allow_incomplete")
    if behavior not in BEHAVIORS:
        raise unknown_here(f"payment_behavior={behavior}", "payment_behavior")
    return behavior


def without_trace(refusal: StripeError | None) -> StripeError:
    """Return the refusal of a change that is undone because it was not paid."""
    error = (
        dict(refusal.error)
        if refusal
        else {
            "message": "The payment needs the customer's authentication.",
            "type": "card_error",
            "code": "subscription_payment_intent_requires_action",
        }
    )
    return StripeError(str(error.pop("message")), status=402, **error)


@route(
    "POST",
    "/v1/subscriptions/{id}",
    "SubscriptionUpdateParams",
    f"{ITEMS} metadata default_payment_method payment_behavior off_session proration_behavior "
    "proration_date cancel_at cancel_at_period_end cancellation_details.comment",
)
def update_subscription(sandbox: Sandbox, params: Params, id: str) -> Object:
    subscription = living(sandbox, id)
    behavior = behavior_of(params)
    previous = {
        name: subscription[name] for name in params if name in subscription and name != "items"
    }
    set_fields(sandbox, subscription, params)
    refusal = None
    if "items" in params:
        previous["items"] = {"data": [{"price": item_of(subscription)["price"]}]}
        lines, at_once = reprice(sandbox, subscription, params)
        at_once = at_once or params.get("proration_behavior") == "always_invoice"
        sandbox.update(subscription, _pending=[*subscription["_pending"], *lines])
        if at_once and subscription["_pending"]:
            invoice = bill(sandbox, subscription, reason="subscription_update", lines=[])
            refusal = settle_or_fail(
                sandbox, id, invoice, off_session=params.get("off_session", False)
            )
            subscription = sandbox.get("subscription", id)
            paid = sandbox.get("invoice", invoice["id"])["status"] == "paid"
            if behavior == "error_if_incomplete" and not paid:
                raise without_trace(refusal)
    emit(sandbox, "customer.subscription.updated", subscription, previous=previous)
    return subscription


def set_fields(sandbox: Sandbox, subscription: Object, params: Params) -> None:
    """Set what may be set without a bill."""
    customer = subscription["customer"]
    if "metadata" in params:
        subscription["metadata"] = merged(subscription["metadata"], params["metadata"])
    if name := params.get("default_payment_method"):
        method = attach(sandbox, usable(sandbox, name), customer)
        subscription["default_payment_method"] = method["id"]
    if "cancellation_details" in params:
        given = params["cancellation_details"]
        subscription["cancellation_details"] = NO_DETAILS | given
    if "cancel_at_period_end" in params:
        set_cancellation(sandbox, subscription, params["cancel_at_period_end"])
    if "cancel_at" in params:
        cancel_at(sandbox, subscription, params["cancel_at"])
    sandbox.update(subscription)


def set_cancellation(sandbox: Sandbox, subscription: Object, wanted: bool) -> None:
    now = sandbox.now_of(subscription["customer"])
    period_end = item_of(subscription)["current_period_end"]
    subscription.update(
        cancel_at_period_end=wanted,
        cancel_at=period_end if wanted else None,
        canceled_at=now if wanted else None,
    )


def cancel_at(sandbox: Sandbox, subscription: Object, instant: int | str) -> None:
    sandbox.forget("cancel", subscription["id"])
    subscription.update(cancel_at=None, canceled_at=None)
    if isinstance(instant, str) and instant:
        raise unknown_here(f"cancel_at={instant}", "cancel_at")
    if instant:
        now = sandbox.now_of(subscription["customer"])
        subscription.update(cancel_at=instant, canceled_at=now)
        sandbox.at(int(instant), "cancel", subscription["id"], customer=subscription["customer"])


def reprice(sandbox: Sandbox, subscription: Object, params: Params) -> tuple[list[Object], bool]:
    """Put the subscription on the price and quantity that ``params`` name for its item."""
    line, item = one_item(params["items"]), item_of(subscription)
    if line.get("id") != item["id"]:
        raise StripeError(f"No such subscription item: '{line.get('id')}'", param="items[0][id]")
    by_price = "price" in line or "price_data" in line
    return change_price(
        sandbox,
        subscription,
        price_of_line(sandbox, line) if by_price else item["price"],
        line["quantity"] if "quantity" in line else item["quantity"],
        prorate=params.get("proration_behavior", "create_prorations") != "none",
        at=params.get("proration_date"),
    )


def living(sandbox: Sandbox, id: str) -> Object:
    """:raises StripeError: there is no such subscription, or it has ended."""
    subscription = sandbox.get("subscription", id)
    if subscription["status"] not in LIVE:
        raise StripeError(
            "A canceled subscription can only update its cancellation_details and metadata.",
            status=400,
        )
    return subscription


@route(
    "DELETE", "/v1/subscriptions/{id}", "SubscriptionCancelParams", "cancellation_details.comment"
)
def cancel_subscription(sandbox: Sandbox, params: Params, id: str) -> Object:
    subscription = sandbox.get("subscription", id)
    if subscription["status"] not in LIVE:
        raise missing_object("subscription", id)
    if "cancellation_details" in params:
        subscription["cancellation_details"] = NO_DETAILS | params["cancellation_details"]
    return end(sandbox, subscription)


@route(
    "GET",
    "/v1/subscriptions",
    "SubscriptionListParams",
    "customer status created limit starting_after ending_before",
)
def list_subscriptions(sandbox: Sandbox, params: Params) -> Object:
    """List those that have not been cancelled, unless their status is asked for."""
    fields = {"customer": params["customer"]} if "customer" in params else {}
    status = params.get("status", LIVE)
    if status == "ended":
        status = ["canceled", "incomplete_expired"]
    if status != "all":
        fields["status"] = status
    return page(sandbox, "subscription", "/v1/subscriptions", params, fields)


retrieve("subscription", "/v1/subscriptions", "SubscriptionRetrieveParams")
