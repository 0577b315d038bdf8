"""Subscriptions to one price: begun, renewed, changed, past due, cancelled, and back again."""

from typing import Any

import stripe

from billing.stripe_sandbox import invoices
from billing.stripe_sandbox.clock import DAY, plus_intervals
from billing.stripe_sandbox.contract import complete
from billing.stripe_sandbox.errors import StripeError, unknown_here
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.money import share
from billing.stripe_sandbox.routes import whole_list
from billing.stripe_sandbox.sandbox import Sandbox, act
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.tax import automatic

LIVE = ["active", "past_due", "unpaid", "incomplete", "trialing"]
# Days until a renewal that failed is tried again; after the last one, what control has set.
RETRY_DAYS = [3, 5, 7]
HOURS_TO_BEGIN = 23


def item_of(subscription: Object) -> Object:
    item: Object = subscription["items"]["data"][0]
    return item


# --- Beginning ------------------------------------------------------------------------------------
def begin(
    sandbox: Sandbox,
    *,
    customer: str,
    price: Object,
    quantity: int,
    metadata: dict[str, str],
    method: str | None,
    off_session: bool,
    automatic_tax: bool = False,
) -> tuple[Object, StripeError | None]:
    """Start a subscription and try to have its first invoice paid; return why it was not, too."""
    if price["type"] != "recurring":
        raise StripeError(
            f"The price specified is set to `type=one_time`: {price['id']}.", param="items"
        )
    now = sandbox.now_of(customer)
    id, item_id = sandbox.new_id("sub"), sandbox.new_id("si")
    subscription = sandbox.add(
        stripe.Subscription,
        "sub",
        id=id,
        automatic_tax=automatic(automatic_tax, disabled_reason=None),
        billing_cycle_anchor=now,
        billing_mode={"type": "flexible", "flexible": {"proration_discounts": "included"}},
        billing_schedules=[],
        cancel_at_period_end=False,
        collection_method="charge_automatically",
        currency=price["currency"],
        customer=customer,
        default_payment_method=method,
        discounts=[],
        invoice_settings={"issuer": {"type": "self"}},
        items=whole_list("/v1/subscription_items", [new_item(id, item_id, price, quantity, now)]),
        metadata=metadata,
        start_date=now,
        status="incomplete",
        test_clock=sandbox.clock_of(customer),
        _pending=[],
    )
    set_period(subscription, now, 1)
    sandbox.update(subscription)
    emit(sandbox, "customer.subscription.created", subscription)
    lines = [whole_period(sandbox, subscription)]
    invoice = bill(sandbox, subscription, reason="subscription_create", lines=lines)
    sandbox.at(now + HOURS_TO_BEGIN * 3600, "expire beginning", id, customer=customer)
    refusal = settle_or_fail(sandbox, id, invoice, off_session=off_session)
    return sandbox.get("subscription", id), refusal


def new_item(subscription: str, id: str, price: Object, quantity: int, now: int) -> Object:
    given = {
        "id": id,
        "object": "subscription_item",
        "created": now,
        "current_period_start": now,
        "current_period_end": now,
        "discounts": [],
        "metadata": {},
        "plan": plan_of(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }
    return complete(stripe.SubscriptionItem, given)


def plan_of(price: Object) -> Object:
    """Return a recurring price in the shape that prices had before."""
    same = ["active", "billing_scheme", "created", "currency", "id", "livemode", "metadata"]
    given = {name: price[name] for name in [*same, "nickname", "product"]}
    recurring = price["recurring"]
    return complete(
        stripe.Plan,
        given
        | {
            "object": "plan",
            "amount": price["unit_amount"],
            "amount_decimal": price["unit_amount_decimal"],
            "interval": recurring["interval"],
            "interval_count": recurring["interval_count"],
            "usage_type": "licensed",
        },
    )


def set_period(subscription: Object, anchor: int, periods: int) -> None:
    """Let the current period be the one that ends ``periods`` after the anchor."""
    recurring = item_of(subscription)["price"]["recurring"]
    interval, count = recurring["interval"], recurring["interval_count"]
    item_of(subscription).update(
        current_period_start=plus_intervals(anchor, interval, count * (periods - 1)),
        current_period_end=plus_intervals(anchor, interval, count * periods),
    )
    subscription.update(billing_cycle_anchor=anchor, _periods=periods)


def whole_period(sandbox: Sandbox, subscription: Object) -> Object:
    """Return the line for the current period, whole."""
    item = item_of(subscription)
    period = item["current_period_start"], item["current_period_end"]
    amount = item["price"]["unit_amount"] * item["quantity"]
    return invoices.line(
        sandbox, subscription, item["price"], item["quantity"], amount=amount, period=period
    )


def bill(sandbox: Sandbox, subscription: Object, *, reason: str, lines: list[Object]) -> Object:
    """Write the next invoice: these lines and the prorations that wait for it."""
    lines = [*subscription["_pending"], *lines]
    invoice = invoices.draft(sandbox, subscription, reason=reason, lines=lines)
    sandbox.update(subscription, latest_invoice=invoice["id"], _pending=[])
    return invoice


def settle_or_fail(
    sandbox: Sandbox, id: str, invoice: Object, *, off_session: bool, method: str | None = None
) -> StripeError | None:
    """Finalise a draft, try to have the invoice paid, and let the subscription follow."""
    if invoice["status"] == "draft":
        invoices.finalize(sandbox, invoice)
    if invoice["status"] != "open":
        return None
    subscription = sandbox.get("subscription", id)
    method = method or subscription["default_payment_method"] or default_of(sandbox, subscription)
    refusal = invoices.collect(sandbox, invoice, method, off_session=off_session)
    if refusal:
        unpaid(sandbox, sandbox.get("subscription", id), sandbox.get("invoice", invoice["id"]))
    elif method and invoice["billing_reason"] == "subscription_create":
        subscription = sandbox.get("subscription", id)
        sandbox.update(subscription, default_payment_method=method)
    return refusal


def default_of(sandbox: Sandbox, subscription: Object) -> str | None:
    customer = sandbox.get("customer", subscription["customer"])
    method: str | None = customer["invoice_settings"]["default_payment_method"]
    return method


# --- What payments lead to ------------------------------------------------------------------------
def on_paid(sandbox: Sandbox, invoice: Object) -> None:
    """Let a subscription be active when its latest invoice has been paid."""
    subscription = sandbox.get("subscription", invoices.subscription_of(invoice))
    if subscription["status"] not in LIVE:
        return
    if subscription["status"] == "incomplete":
        sandbox.forget("expire beginning", subscription["id"])
        end = item_of(subscription)["current_period_end"]
        sandbox.at(end, "renew", subscription["id"], customer=subscription["customer"])
    if subscription["latest_invoice"] == invoice["id"]:
        set_status(sandbox, subscription, "active")


def unpaid(sandbox: Sandbox, subscription: Object, invoice: Object) -> None:
    """Note that an invoice was not paid, and when that is tried again."""
    emit(sandbox, "invoice.payment_failed", invoice)
    if subscription["status"] == "incomplete":
        return
    tried = invoice["attempt_count"]
    if tried <= len(RETRY_DAYS):
        now = sandbox.now_of(invoice["customer"])
        again = now + RETRY_DAYS[tried - 1] * DAY
        sandbox.forget("retry invoice", invoice["id"])
        sandbox.at(again, "retry invoice", invoice["id"], customer=invoice["customer"])
        sandbox.update(invoice, next_payment_attempt=again)
        emit(sandbox, "invoice.updated", invoice)
        set_status(sandbox, subscription, "past_due")
        return
    sandbox.update(invoice, next_payment_attempt=None, auto_advance=False)
    after = sandbox.store.fact("after retries", "unpaid")
    if after == "canceled":
        end(sandbox, subscription, reason="payment_failed")
    else:
        set_status(sandbox, subscription, after)


def set_status(sandbox: Sandbox, subscription: Object, status: str) -> None:
    before = subscription["status"]
    if before != status:
        sandbox.update(subscription, status=status)
        emit(sandbox, "customer.subscription.updated", subscription, previous={"status": before})


@act("retry invoice")
def retry(sandbox: Sandbox, id: str) -> None:
    invoice = sandbox.get("invoice", id)
    subscription = sandbox.get("subscription", invoices.subscription_of(invoice))
    if invoice["status"] == "open" and subscription["status"] in LIVE:
        settle_or_fail(sandbox, subscription["id"], invoice, off_session=True)


@act("expire beginning")
def expire(sandbox: Sandbox, id: str) -> None:
    subscription = sandbox.get("subscription", id)
    if subscription["status"] == "incomplete":
        void_invoice(sandbox, sandbox.get("invoice", subscription["latest_invoice"]))
        sandbox.update(subscription, ended_at=sandbox.now_of(subscription["customer"]))
        set_status(sandbox, subscription, "incomplete_expired")


def void_invoice(sandbox: Sandbox, invoice: Object) -> Object:
    transitions = invoice["status_transitions"] | {"voided_at": sandbox.now_of(invoice["customer"])}
    sandbox.update(
        invoice, status="void", next_payment_attempt=None, status_transitions=transitions
    )
    emit(sandbox, "invoice.voided", invoice)
    return invoice


# --- Renewal and end ------------------------------------------------------------------------------
@act("renew")
def renew(sandbox: Sandbox, id: str) -> None:
    """Begin the next period, or end the subscription if that was asked for."""
    subscription = sandbox.get("subscription", id)
    if subscription["status"] not in LIVE:
        return
    if subscription["cancel_at_period_end"]:
        end(sandbox, subscription)
        return
    item = item_of(subscription)
    before = {name: item[name] for name in ["current_period_start", "current_period_end"]}
    set_period(subscription, subscription["billing_cycle_anchor"], subscription["_periods"] + 1)
    sandbox.update(subscription)
    due = item_of(subscription)["current_period_end"]
    sandbox.at(due, "renew", id, customer=subscription["customer"])
    lines = [whole_period(sandbox, subscription)]
    invoice = bill(sandbox, subscription, reason="subscription_cycle", lines=lines)
    previous = {"items": {"data": [before]}}
    emit(sandbox, "customer.subscription.updated", subscription, previous=previous)
    if subscription["status"] == "unpaid":
        sandbox.update(invoice, auto_advance=False)  # It stays a draft until somebody pays it.
    else:
        settle_or_fail(sandbox, id, invoice, off_session=True)


@act("cancel")
def cancel_when_due(sandbox: Sandbox, id: str) -> None:
    subscription = sandbox.get("subscription", id)
    if subscription["status"] in LIVE and subscription["cancel_at"]:
        end(sandbox, subscription)


def end(
    sandbox: Sandbox, subscription: Object, *, reason: str = "cancellation_requested"
) -> Object:
    """End a subscription at once; its open invoices stay, untried."""
    now = sandbox.now_of(subscription["customer"])
    details = (subscription["cancellation_details"] or NO_DETAILS) | {"reason": reason}
    for timer in ["renew", "cancel", "expire beginning"]:
        sandbox.forget(timer, subscription["id"])
    sandbox.update(
        subscription,
        status="canceled",
        canceled_at=subscription["canceled_at"] or now,
        ended_at=now,
        cancel_at_period_end=False,
        cancellation_details=details,
    )
    emit(sandbox, "customer.subscription.deleted", subscription)
    return subscription


NO_DETAILS = {"comment": None, "feedback": None, "feedback_option": None, "reason": None}


# --- Change of price ------------------------------------------------------------------------------
def change_price(
    sandbox: Sandbox,
    subscription: Object,
    price: Object,
    quantity: int,
    *,
    prorate: bool,
    at: int | None = None,
) -> tuple[list[Object], bool]:
    """
    Put a subscription on a price from now on.

    Return the lines that come of it and whether a new period has begun, to be billed at once.
    """
    if price["currency"] != subscription["currency"]:
        raise StripeError("The price is in another currency.", param="items")
    if price["type"] != "recurring":
        raise StripeError("The price is not recurring.", param="items")
    item = item_of(subscription)
    old, old_quantity = item["price"], item["quantity"]
    now = sandbox.now_of(subscription["customer"]) if at is None else at
    begin_at, end_at = item["current_period_start"], item["current_period_end"]
    if not begin_at <= now < end_at:
        raise StripeError("The proration date is outside of the current period.")
    same_interval = cadence(old) == cadence(price)
    item.update(price=price, plan=plan_of(price), quantity=quantity)
    lines = []
    left, whole = end_at - now, end_at - begin_at
    if prorate:
        credit = -share(old["unit_amount"] * old_quantity, left, whole)
        text = "Unused time"
        lines.append(part(sandbox, subscription, old, old_quantity, credit, (now, end_at), text))
    if same_interval:
        if prorate:
            amount = share(price["unit_amount"] * quantity, left, whole)
            text = "Remaining time"
            lines.append(part(sandbox, subscription, price, quantity, amount, (now, end_at), text))
    else:
        set_period(subscription, now, 1)
        due = item_of(subscription)["current_period_end"]
        sandbox.forget("renew", subscription["id"])
        sandbox.at(due, "renew", subscription["id"], customer=subscription["customer"])
        lines.append(whole_period(sandbox, subscription))
    sandbox.update(subscription)
    return lines, not same_interval


def cadence(price: Object) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def part(
    sandbox: Sandbox,
    subscription: Object,
    price: Object,
    quantity: int,
    amount: int,
    period: tuple[int, int],
    text: str,
) -> Object:
    name = sandbox.get("product", price["product"])["name"]
    more: dict[str, Any] = {"proration": True, "description": f"{text} on {name}"}
    return invoices.line(
        sandbox, subscription, price, quantity, amount=amount, period=period, **more
    )


def one_item(items: list[dict[str, Any]]) -> dict[str, Any]:
    """:raises StripeError: there is another number of items than one."""
    if len(items) != 1:
        raise unknown_here("subscriptions to more than one price", "items")
    return items[0]


invoices.ON_PAID.append(on_paid)
