"""Checkout: what is to be paid, subscribed to or saved, and the page's part in it."""

from typing import Any
from urllib.parse import quote

import stripe

from billing.stripe_sandbox import invoices, payment_intents
from billing.stripe_sandbox.clock import DAY
from billing.stripe_sandbox.contract import complete
from billing.stripe_sandbox.customers import create_customer
from billing.stripe_sandbox.errors import StripeError, unknown_here
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.expansion import LISTS
from billing.stripe_sandbox.money import check_amount, check_currency
from billing.stripe_sandbox.payment_methods import attach, card_of_number, new_method
from billing.stripe_sandbox.products import price_of_line
from billing.stripe_sandbox.routes import Params, listing, retrieve, route, whole_list
from billing.stripe_sandbox.sandbox import Sandbox, act, merged
from billing.stripe_sandbox.setup_intents import save_card
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.subscriptions import begin
from billing.stripe_sandbox.tax import calculated, tax_on

SESSIONS = "/v1/checkout/sessions"


# --- Sessions -------------------------------------------------------------------------------------
@route(
    "POST",
    SESSIONS,
    "checkout.SessionCreateParams",
    "mode line_items.price line_items.price_data.currency line_items.price_data.unit_amount "
    "line_items.price_data.product line_items.price_data.product_data.name "
    "line_items.price_data.product_data.description line_items.price_data.recurring "
    "line_items.price_data.tax_behavior line_items.quantity customer customer_email "
    "customer_creation customer_update client_reference_id metadata success_url cancel_url "
    "expires_at payment_intent_data.metadata payment_intent_data.description "
    "payment_intent_data.setup_future_usage payment_intent_data.receipt_email "
    "subscription_data.metadata setup_intent_data.metadata currency automatic_tax.enabled "
    "payment_method_types billing_address_collection locale submit_type ui_mode",
)
def create_session(sandbox: Sandbox, params: Params) -> Object:
    mode, customer = params.get("mode"), params.get("customer")
    if mode is None:
        raise StripeError("Missing required param: mode.", code="parameter_missing", param="mode")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise unknown_here(f"ui_mode={params['ui_mode']}", "ui_mode")
    if not params.get("success_url"):
        raise StripeError("Missing required param: success_url.", code="parameter_missing")
    if customer:
        sandbox.customer(customer)
    now = sandbox.now_of(customer)
    expires_at = params.get("expires_at", now + DAY)
    if not now + 1_790 <= expires_at <= now + DAY + 10:
        raise StripeError("`expires_at` is 30 minutes to 24 hours from now.", param="expires_at")
    taxed = params.get("automatic_tax", {}).get("enabled", False)
    lines = read_lines(sandbox, params, mode, calculated(taxed))
    id = sandbox.new_id("cs_test")
    session = sandbox.add(
        stripe.checkout.Session,
        "cs_test",
        id=id,
        **totals(lines),
        automatic_tax=calculated(taxed),
        cancel_url=params.get("cancel_url"),
        client_reference_id=params.get("client_reference_id"),
        currency=lines[0]["currency"] if lines else currency_of(params),
        custom_fields=[],
        custom_text=dict.fromkeys(
            ["after_submit", "shipping_address", "submit", "terms_of_service_acceptance"]
        ),
        customer=customer,
        customer_creation=None if customer else params.get("customer_creation", "if_required"),
        customer_email=params.get("customer_email"),
        expires_at=expires_at,
        metadata=params.get("metadata", {}),
        mode=mode,
        payment_method_types=params.get("payment_method_types", ["card"]),
        payment_status="no_payment_required" if mode == "setup" else "unpaid",
        shipping_options=[],
        status="open",
        success_url=params["success_url"],
        ui_mode="hosted_page",
        url=f"{sandbox.base}/c/pay/{id}",
        _lines=lines,
        _data={name: params.get(f"{name}_data", {}) for name in
               ["payment_intent", "subscription", "setup_intent"]},
    )  # fmt: skip
    sandbox.at(expires_at, "expire session", id, customer=customer)
    return session


def currency_of(params: Params) -> str | None:
    return check_currency(params["currency"]) if "currency" in params else None


def read_lines(sandbox: Sandbox, params: Params, mode: str, taxed: Object) -> list[Object]:
    """Return what is to be paid for, with its amounts."""
    given = params.get("line_items", [])
    if mode == "setup":
        return []
    if not given:
        raise StripeError("Missing required param: line_items.", code="parameter_missing")
    lines = [read_line(sandbox, line, taxed) for line in given]
    if len({line["currency"] for line in lines}) > 1:
        raise StripeError("All line items must have the same currency.", param="line_items")
    recurring = [line for line in lines if line["price"]["type"] == "recurring"]
    if mode == "payment" and recurring:
        raise StripeError(
            "You specified `payment` mode but passed a recurring price. "
            "Either switch to `subscription` mode or use only one-time prices."
        )
    if mode == "subscription" and len(recurring) != 1:
        raise StripeError("You must provide at least one recurring price in `subscription` mode.")
    if mode == "subscription" and len(lines) > 1:
        raise unknown_here("subscriptions to more than one price", "line_items")
    if total := sum(line["amount_total"] for line in lines):
        check_amount(total, lines[0]["currency"])
    return lines


def read_line(sandbox: Sandbox, line: Params, taxed: Object) -> Object:
    price, quantity = price_of_line(sandbox, line), line.get("quantity", 1)
    if quantity < 1:
        raise StripeError("Invalid positive integer", param="line_items[quantity]")
    subtotal = price["unit_amount"] * quantity
    tax = tax_on(sandbox, subtotal, taxed)
    given = {
        "id": sandbox.new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": subtotal,
        "amount_tax": tax,
        "amount_total": subtotal + tax,
        "currency": price["currency"],
        "description": sandbox.get("product", price["product"])["name"],
        "discounts": [],
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }
    return complete(stripe.LineItem, given)


def totals(lines: list[Object]) -> dict[str, Any]:
    if not lines:
        return {}
    subtotal, total, tax = (
        sum(line[name] for line in lines)
        for name in ["amount_subtotal", "amount_total", "amount_tax"]
    )
    details = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax, "breakdown": None}
    return {"amount_subtotal": subtotal, "amount_total": total, "total_details": details}


@route("POST", f"{SESSIONS}/{{id}}", "checkout.SessionUpdateParams", "metadata")
def update_session(sandbox: Sandbox, params: Params, id: str) -> Object:
    session = sandbox.get("checkout.session", id)
    metadata = merged(session["metadata"], params.get("metadata", {}))
    return sandbox.update(session, metadata=metadata)


@route("POST", f"{SESSIONS}/{{id}}/expire", "checkout.SessionExpireParams")
def expire_session(sandbox: Sandbox, params: Params, id: str) -> Object:
    session = sandbox.get("checkout.session", id)
    if session["status"] != "open":
        raise StripeError(
            'Only Checkout Sessions with a status in ["open"] can be expired. '
            f"This Checkout Session has a status of {session['status']}."
        )
    return expire(sandbox, session)


def expire(sandbox: Sandbox, session: Object) -> Object:
    sandbox.update(session, status="expired", url=None)
    emit(sandbox, "checkout.session.expired", session)
    return session


@act("expire session")
def expire_when_due(sandbox: Sandbox, id: str) -> None:
    session = sandbox.get("checkout.session", id)
    if session["status"] == "open":
        expire(sandbox, session)


@route("GET", f"{SESSIONS}/{{id}}/line_items", "checkout.SessionListLineItemsParams", "limit")
def list_line_items(sandbox: Sandbox, params: Params, id: str) -> Object:
    return lines_of(sandbox, sandbox.get("checkout.session", id))


def lines_of(sandbox: Sandbox, session: Object) -> Object:
    return whole_list(f"{SESSIONS}/{session['id']}/line_items", session["_lines"])


# --- Payment --------------------------------------------------------------------------------------
def submit(sandbox: Sandbox, session: Object, number: str) -> Object | None:
    """
    Pay, subscribe or save with a card number; return the intent that needs authentication, if any.

    :raises StripeError: the card is declined.
    """
    if session["status"] != "open":
        raise StripeError(f"This checkout is {session['status']}.")
    method = new_method(sandbox, card_of_number(number))
    give_customer(sandbox, session)
    if session["mode"] == "payment":
        return submit_payment(sandbox, session, method)
    attach(sandbox, method, session["customer"])
    if session["mode"] == "subscription":
        return submit_subscription(sandbox, session, method)
    metadata = session["_data"]["setup_intent"].get("metadata", {})
    saved = save_card(sandbox, method, session["customer"], metadata)
    sandbox.update(session, setup_intent=saved["id"])
    finish(sandbox, session, "no_payment_required")
    return None


def give_customer(sandbox: Sandbox, session: Object) -> None:
    """Make the customer whom the session needs and was not given."""
    if session["customer"] or (
        session["mode"] == "payment" and session["customer_creation"] != "always"
    ):
        return
    email = session["customer_email"]
    sandbox.update(session, customer=create_customer(sandbox, {"email": email})["id"])


def submit_payment(sandbox: Sandbox, session: Object, method: Object) -> Object | None:
    if session["amount_total"] == 0:
        finish(sandbox, session, "no_payment_required")
        return None
    intent = (
        sandbox.get("payment_intent", session["payment_intent"])
        if session["payment_intent"]
        else payment_intents.new_intent(
            sandbox,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=session["customer"],
            **session["_data"]["payment_intent"],
            _session=session["id"],
        )
    )
    sandbox.update(session, payment_intent=intent["id"])
    if intent["status"] == "requires_action":  # Asked before, and came back without an answer.
        sandbox.update(intent, next_action=None)
    sandbox.update(intent, payment_method=method["id"], status="requires_confirmation")
    payment_intents.pay(sandbox, intent)
    return intent if intent["status"] == "requires_action" else None


def submit_subscription(sandbox: Sandbox, session: Object, method: Object) -> Object | None:
    line = session["_lines"][0]
    subscription, refusal = begin(
        sandbox,
        customer=session["customer"],
        price=line["price"],
        quantity=line["quantity"],
        metadata=session["_data"]["subscription"].get("metadata", {}),
        method=method["id"],
        off_session=False,
        automatic_tax=session["automatic_tax"]["enabled"],
    )
    if refusal:
        refusal.keeps = False
        raise refusal
    sandbox.update(session, _subscription=subscription["id"])
    if subscription["status"] == "active":
        finish_subscription(sandbox, session)
        return None
    _, link = invoices.payment_of(sandbox, sandbox.get("invoice", subscription["latest_invoice"]))
    return sandbox.get("payment_intent", link["payment"]["payment_intent"])


def finish_subscription(sandbox: Sandbox, session: Object) -> None:
    subscription = sandbox.get("subscription", session["_subscription"])
    invoice = subscription["latest_invoice"]
    sandbox.update(session, subscription=subscription["id"], invoice=invoice)
    finish(sandbox, session, "paid")


def finish(sandbox: Sandbox, session: Object, payment_status: str) -> None:
    customer = sandbox.get("customer", session["customer"]) if session["customer"] else {}
    details = {
        "address": None,
        "business_name": None,
        "email": customer.get("email") or session["customer_email"],
        "individual_name": None,
        "name": customer.get("name"),
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    sandbox.update(
        session,
        status="complete",
        payment_status=payment_status,
        customer_details=details,
        url=None,
    )
    emit(sandbox, "checkout.session.completed", session)


def return_address(session: Object) -> str:
    """Return where the customer goes when all is done."""
    address: str = session["success_url"]
    return address.replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))


# --- What payments lead to ------------------------------------------------------------------------
def session_of(sandbox: Sandbox, intent: Object) -> Object | None:
    return sandbox.store.get(intent.get("_session") or "")


def on_success(sandbox: Sandbox, intent: Object) -> None:
    """Complete the session of a payment; one that was completed before is now paid."""
    if not (session := session_of(sandbox, intent)):
        return
    if session["status"] == "complete":
        sandbox.update(session, payment_status="paid")
        emit(sandbox, "checkout.session.async_payment_succeeded", session)
    else:
        finish(sandbox, session, "paid")


def on_processing(sandbox: Sandbox, intent: Object) -> None:
    if session := session_of(sandbox, intent):
        finish(sandbox, session, "unpaid")


def on_late_failure(sandbox: Sandbox, intent: Object) -> None:
    if session := session_of(sandbox, intent):
        emit(sandbox, "checkout.session.async_payment_failed", session)


def on_invoice_paid(sandbox: Sandbox, invoice: Object) -> None:
    """Complete the session of a subscription that waited for authentication."""
    subscription = invoices.subscription_of(invoice)
    session = sandbox.first("checkout.session", _subscription=subscription, status="open")
    if session:
        finish_subscription(sandbox, session)


payment_intents.ON_SUCCESS.append(on_success)
payment_intents.ON_PROCESSING.append(on_processing)
payment_intents.ON_LATE_FAILURE.append(on_late_failure)
invoices.ON_PAID.append(on_invoice_paid)
LISTS["checkout.session", "line_items"] = lines_of
retrieve("checkout.session", SESSIONS, "checkout.SessionRetrieveParams")
listing(
    "checkout.session",
    SESSIONS,
    "checkout.SessionListParams",
    "customer payment_intent subscription status",
)
