"""Invoices of subscriptions: drafted, finalised against the customer's balance, and paid."""

from collections.abc import Callable
from typing import Any

import stripe

from billing.stripe_sandbox import payment_intents
from billing.stripe_sandbox.contract import complete
from billing.stripe_sandbox.errors import StripeError, unexpected_state
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.expansion import LISTS
from billing.stripe_sandbox.money import SMALLEST
from billing.stripe_sandbox.routes import whole_list
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.tax import calculated, shown_tax, tax_on

# Who must know that an invoice has been paid.
ON_PAID: list[Callable[[Sandbox, Object], None]] = []


def line(
    sandbox: Sandbox,
    subscription: Object,
    price: Object,
    quantity: int,
    *,
    amount: int,
    period: tuple[int, int],
    proration: bool = False,
    description: str | None = None,
) -> Object:
    """Return a line of an invoice to come, about some time of a subscription at some price."""
    item = subscription["items"]["data"][0]["id"]
    details = {
        "proration": proration,
        "proration_details": None,
        "subscription": subscription["id"],
    }
    kind = "invoice_item_details" if proration else "subscription_item_details"
    invoice_item = sandbox.new_id("ii") if proration else None
    details |= (
        {"invoice_item": invoice_item}
        if proration
        else {
            "invoice_item": None,
            "subscription_item": item,
        }
    )
    given: dict[str, Any] = {
        "id": sandbox.new_id("il"),
        "object": "line_item",
        "livemode": False,
        "amount": amount,
        "currency": price["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "metadata": subscription["metadata"],
        "parent": {
            "type": kind,
            "invoice_item_details": None,
            "subscription_item_details": None,
            kind: details,
        },
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subtotal": amount,
        "taxes": [],
    }
    return complete(stripe.InvoiceLineItem, given)


def draft(sandbox: Sandbox, subscription: Object, *, reason: str, lines: list[Object]) -> Object:
    """Write an invoice that is not yet owed."""
    now = sandbox.now_of(subscription["customer"])
    customer = sandbox.get("customer", subscription["customer"])
    id = sandbox.new_id("in")
    for one in lines:
        tax = tax_on(sandbox, one["amount"], subscription["automatic_tax"])
        one |= {"invoice": id, "taxes": shown_tax(sandbox, one["amount"], tax)}
    subtotal = sum(one["amount"] for one in lines)
    tax = sum(taxed["amount"] for one in lines for taxed in one["taxes"])
    item = subscription["items"]["data"][0]
    invoice = sandbox.add(
        stripe.Invoice,
        "in",
        id=id,
        amount_due=max(0, subtotal + tax),
        amount_overpaid=0,
        amount_paid=0,
        amount_remaining=max(0, subtotal + tax),
        amount_shipping=0,
        attempt_count=0,
        attempted=False,
        auto_advance=True,
        automatic_tax=calculated(subscription["automatic_tax"]["enabled"], disabled_reason=None),
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=subscription["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_tax_exempt="none",
        default_tax_rates=[],
        discounts=[],
        issuer={"type": "self"},
        lines=whole_list(f"/v1/invoices/{id}/lines", lines),
        metadata={},
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {
                "metadata": subscription["metadata"],
                "subscription": subscription["id"],
            },
        },
        payment_settings={"payment_method_options": None, "payment_method_types": None},
        period_start=item["current_period_start"],
        period_end=now,
        post_payment_credit_notes_amount=0,
        pre_payment_credit_notes_amount=0,
        starting_balance=customer["balance"],
        status="draft",
        status_transitions=dict.fromkeys(
            ["finalized_at", "marked_uncollectible_at", "paid_at", "voided_at"]
        ),
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=subtotal + tax,
        total_discount_amounts=[],
        total_excluding_tax=subtotal,
        total_pretax_credit_amounts=[],
        total_taxes=shown_tax(sandbox, subtotal, tax),
    )
    emit(sandbox, "invoice.created", invoice)
    return invoice


def subscription_of(invoice: Object) -> str:
    return str(invoice["parent"]["subscription_details"]["subscription"])


def finalize(sandbox: Sandbox, invoice: Object) -> Object:
    """
    Make a draft owed, less what the customer has as credit; what is then nothing is paid.

    :raises StripeError: it is no draft.
    """
    if invoice["status"] != "draft":
        raise unexpected_state(
            f"This invoice is already finalized ({invoice['status']}).", "invoice_not_editable"
        )
    now = sandbox.now_of(invoice["customer"])
    customer = sandbox.get("customer", invoice["customer"])
    owed = invoice["total"] + customer["balance"]
    # Too little to be charged waits on the balance for the next invoice, as credit does.
    due = owed if owed >= SMALLEST.get(invoice["currency"], 1) else 0
    number = sandbox.store.fact("invoices", 0) + 1
    sandbox.store.set_fact("invoices", number)
    sandbox.update(
        invoice,
        status="open",
        number=f"SANDBOX-{number:06}",
        effective_at=now,
        starting_balance=customer["balance"],
        ending_balance=owed - due,
        amount_due=due,
        amount_remaining=due,
        hosted_invoice_url=f"{sandbox.base}/invoices/{invoice['id']}",
        invoice_pdf=f"{sandbox.base}/invoices/{invoice['id']}",
        status_transitions=invoice["status_transitions"] | {"finalized_at": now},
    )
    sandbox.update(customer, balance=owed - due, currency=invoice["currency"])
    emit(sandbox, "invoice.finalized", invoice)
    if not due:
        settle(sandbox, invoice)
    return invoice


def payment_of(sandbox: Sandbox, invoice: Object) -> tuple[Object, Object]:
    """Return the payment intent of an open invoice and its link, made when first needed."""
    if link := sandbox.first("invoice_payment", invoice=invoice["id"]):
        return sandbox.get("payment_intent", link["payment"]["payment_intent"]), link
    intent = payment_intents.new_intent(
        sandbox,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        description=f"Invoice {invoice['number']}",
        setup_future_usage="off_session",
        _invoice=invoice["id"],
    )
    link = sandbox.add(
        stripe.InvoicePayment,
        "inpay",
        amount_requested=invoice["amount_due"],
        created=sandbox.now_of(invoice["customer"]),
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="open",
        status_transitions={"canceled_at": None, "paid_at": None},
    )
    return intent, link


def collect(
    sandbox: Sandbox, invoice: Object, method: str | None, *, off_session: bool
) -> StripeError | None:
    """
    Try to have an open invoice paid; return why it was not, if it was refused.

    What else may come of it is that the cardholder is asked for authentication.
    """
    intent, _ = payment_of(sandbox, invoice)
    sandbox.update(invoice, attempted=True, attempt_count=invoice["attempt_count"] + 1)
    if method is None:
        return StripeError(
            "This customer has no attached payment source or default payment method.",
            code="resource_missing",
        )
    sandbox.update(intent, payment_method=method, status="requires_confirmation")
    try:
        payment_intents.pay(sandbox, intent, off_session=off_session)
    except StripeError as refusal:
        if not refusal.keeps:
            raise
        invoice = sandbox.get("invoice", invoice["id"])
        if refusal.error["code"] == "authentication_required":
            emit(sandbox, "invoice.payment_action_required", invoice)
        return refusal
    if intent["status"] == "requires_action":
        emit(sandbox, "invoice.payment_action_required", invoice)
    return None


def on_success(sandbox: Sandbox, intent: Object) -> None:
    """Settle the invoice that a payment was for."""
    if not (id := intent.get("_invoice")):
        return
    invoice = sandbox.get("invoice", id)
    now = sandbox.now_of(invoice["customer"])
    _, link = payment_of(sandbox, invoice)
    transitions = {"canceled_at": None, "paid_at": now}
    amount = intent["amount"]
    sandbox.update(link, status="paid", amount_paid=amount, status_transitions=transitions)
    emit(sandbox, "invoice_payment.paid", link)
    settle(sandbox, invoice, paid=amount)


def settle(sandbox: Sandbox, invoice: Object, *, paid: int = 0) -> None:
    """Mark an invoice as paid, with or without money."""
    transitions = invoice["status_transitions"] | {"paid_at": sandbox.now_of(invoice["customer"])}
    sandbox.update(
        invoice,
        status="paid",
        attempted=True,
        amount_paid=paid,
        amount_remaining=0,
        next_payment_attempt=None,
        status_transitions=transitions,
    )
    emit(sandbox, "invoice.paid", invoice)
    emit(sandbox, "invoice.payment_succeeded", invoice)
    for listener in ON_PAID:
        listener(sandbox, invoice)


def payments_of(sandbox: Sandbox, invoice: Object) -> Object:
    found = sandbox.store.find("invoice_payment", {"invoice": invoice["id"]})
    return whole_list("/v1/invoice_payments", found)


LISTS["invoice", "payments"] = payments_of
payment_intents.ON_SUCCESS.append(on_success)
