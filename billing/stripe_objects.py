"""
What Stripe has, in our words.

Amounts are whole minor units as in `creditsite.money`, currencies are in lower case, instants UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

# Stripe counts these in hundredths, though nobody can pay less than one.
COUNTED_IN_HUNDREDTHS = {"ugx"}

Values = dict[str, Any]
Metadata = Mapping[str, str]


@dataclass(frozen=True)
class Customer:
    id: str
    email: str | None
    name: str | None
    default_payment_method: str | None
    metadata: Metadata
    is_deleted: bool


@dataclass(frozen=True)
class Card:
    """A saved card; ``id`` is that of its payment method."""

    id: str
    brand: str
    last4: str
    expires: tuple[int, int]  # Year and month.


@dataclass(frozen=True)
class CheckoutSession:
    """
    A visit to Stripe's payment page.

    ``amount_minor`` is the total with ``tax_minor``; ``payment_method`` is the card that a session
    for saving one has saved. Complete is not yet paid: slow methods are paid later.
    """

    id: str
    url: str | None
    mode: str
    status: str
    payment_status: str
    amount_minor: int
    tax_minor: int
    currency: str | None
    customer: str | None
    payment_intent: str | None
    subscription: str | None
    invoice: str | None
    payment_method: str | None
    metadata: Metadata
    created_at: datetime
    expires_at: datetime

    @property
    def is_paid(self) -> bool:
        return self.payment_status in {"paid", "no_payment_required"}


@dataclass(frozen=True)
class PaymentIntent:
    """A payment; ``refunded_minor`` and ``is_disputed`` are those of its latest charge."""

    id: str
    status: str
    amount_minor: int
    received_minor: int
    refunded_minor: int
    currency: str
    customer: str | None
    payment_method: str | None
    charge: str | None
    is_disputed: bool
    receipt_url: str | None
    client_secret: str | None
    failure: str | None
    metadata: Metadata
    created_at: datetime
    charged_at: datetime | None = None


@dataclass(frozen=True)
class Refund:
    id: str
    status: str
    amount_minor: int
    currency: str
    payment_intent: str | None
    failure: str | None
    metadata: Metadata
    created_at: datetime


@dataclass(frozen=True)
class Dispute:
    """A chargeback or inquiry; ``withdrawn_minor`` is what the bank took and did not return."""

    id: str
    status: str
    reason: str
    amount_minor: int
    withdrawn_minor: int
    currency: str
    payment_intent: str | None
    is_refundable: bool
    has_evidence: bool
    evidence_due_at: datetime | None
    metadata: Metadata
    created_at: datetime


@dataclass(frozen=True)
class Subscription:
    """A subscription to one price."""

    id: str
    status: str
    customer: str
    item: str
    price: str
    quantity: int
    currency: str
    period_start: datetime
    period_end: datetime
    cancels_at_period_end: bool
    cancel_at: datetime | None
    ended_at: datetime | None
    latest_invoice: str | None
    default_payment_method: str | None
    metadata: Metadata
    created_at: datetime


@dataclass(frozen=True)
class InvoiceLine:
    """What is billed for a service period; negative where a proration gives back unused time."""

    id: str
    amount_minor: int
    tax_minor: int
    price: str | None
    quantity: int
    is_proration: bool
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True)
class Invoice:
    """
    An invoice of a subscription.

    ``paid_minor`` is money; the rest of ``total_minor`` was settled by the customer's balance.
    """

    id: str
    status: str
    reason: str
    customer: str | None
    subscription: str | None
    payment_intent: str | None
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    due_minor: int
    paid_minor: int
    currency: str
    lines: tuple[InvoiceLine, ...]
    attempts: int
    next_attempt_at: datetime | None
    page_url: str | None
    created_at: datetime
    paid_at: datetime | None


@dataclass(frozen=True)
class BalanceMovement:
    """
    What a charge, refund or dispute did to the account; ``net_minor`` is after fees.

    ``source_minor`` is the amount of its source with the sign of the movement, in the currency that
    was paid in; the rest is in that of the account.
    """

    id: str
    category: str
    amount_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    source: str | None
    created_at: datetime
    payment_intent: str | None = None
    source_minor: int = 0
    source_currency: str = ""


@dataclass(frozen=True)
class Event:
    """What Stripe tells; the object in it may be old news, so handlers fetch it anew."""

    id: str
    type: str
    object_id: str | None
    object_type: str
    api_version: str | None
    created_at: datetime
    payload: Values


# --- From Stripe's words into ours ----------------------------------------------------------------
def to_stripe(minor: int, currency: str) -> int:
    return minor * 100 if currency in COUNTED_IN_HUNDREDTHS else minor


def from_stripe(amount: int | None, currency: str | None) -> int:
    """Return an amount of Stripe's in our minor units; none is 0."""
    return (amount or 0) // (100 if currency in COUNTED_IN_HUNDREDTHS else 1)


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def instant_or_none(seconds: int | None) -> datetime | None:
    return None if seconds is None else instant(seconds)


def id_of(value: Any) -> str | None:
    """Return the id of what is there as an id or whole."""
    return value["id"] if isinstance(value, dict) else value


def uuid_in(metadata: Metadata, name: str) -> UUID | None:
    """Return the id of ours that was sent along under ``name``, if there is one."""
    try:
        return UUID(metadata.get(name, ""))
    except ValueError:
        return None


def customer_of(values: Values) -> Customer:
    return Customer(
        id=values["id"],
        email=values.get("email"),
        name=values.get("name"),
        default_payment_method=id_of(
            (values.get("invoice_settings") or {}).get("default_payment_method")
        ),
        metadata=values.get("metadata") or {},
        is_deleted=values.get("deleted", False),
    )


def card_of(values: Values) -> Card:
    card = values["card"]
    expires = card["exp_year"], card["exp_month"]
    return Card(id=values["id"], brand=card["brand"], last4=card["last4"], expires=expires)


def session_of(values: Values) -> CheckoutSession:
    currency, setup = values["currency"], values["setup_intent"]
    return CheckoutSession(
        id=values["id"],
        url=values["url"],
        mode=values["mode"],
        status=values["status"],
        payment_status=values["payment_status"],
        amount_minor=from_stripe(values["amount_total"], currency),
        tax_minor=from_stripe((values["total_details"] or {}).get("amount_tax"), currency),
        currency=currency,
        customer=id_of(values["customer"]),
        payment_intent=id_of(values["payment_intent"]),
        subscription=id_of(values["subscription"]),
        invoice=id_of(values["invoice"]),
        payment_method=id_of(setup["payment_method"]) if isinstance(setup, dict) else None,
        metadata=values["metadata"] or {},
        created_at=instant(values["created"]),
        expires_at=instant(values["expires_at"]),
    )


def intent_of(values: Values) -> PaymentIntent:
    currency = values["currency"]
    charge = values["latest_charge"]
    charged: Values = charge if isinstance(charge, dict) else {}
    error = values["last_payment_error"] or {}
    return PaymentIntent(
        id=values["id"],
        status=values["status"],
        amount_minor=from_stripe(values["amount"], currency),
        received_minor=from_stripe(values["amount_received"], currency),
        refunded_minor=from_stripe(charged.get("amount_refunded"), currency),
        currency=currency,
        customer=id_of(values["customer"]),
        payment_method=id_of(values["payment_method"]),
        charge=id_of(charge),
        is_disputed=charged.get("disputed", False),
        receipt_url=charged.get("receipt_url"),
        client_secret=values["client_secret"],
        failure=error.get("decline_code") or error.get("code"),
        metadata=values["metadata"],
        created_at=instant(values["created"]),
        charged_at=instant_or_none(charged.get("created")),
    )


def refund_of(values: Values) -> Refund:
    return Refund(
        id=values["id"],
        status=values["status"],
        amount_minor=from_stripe(values["amount"], values["currency"]),
        currency=values["currency"],
        payment_intent=id_of(values["payment_intent"]),
        failure=values.get("failure_reason"),
        metadata=values["metadata"] or {},
        created_at=instant(values["created"]),
    )


def dispute_of(values: Values) -> Dispute:
    currency, details = values["currency"], values["evidence_details"]
    taken = -sum(one["amount"] for one in values["balance_transactions"])
    return Dispute(
        id=values["id"],
        status=values["status"],
        reason=values["reason"],
        amount_minor=from_stripe(values["amount"], currency),
        withdrawn_minor=from_stripe(taken, currency),
        currency=currency,
        payment_intent=id_of(values["payment_intent"]),
        is_refundable=values["is_charge_refundable"],
        has_evidence=details["has_evidence"],
        evidence_due_at=instant_or_none(details["due_by"]),
        metadata=values["metadata"],
        created_at=instant(values["created"]),
    )


def subscription_of(values: Values) -> Subscription:
    item = values["items"]["data"][0]
    return Subscription(
        id=values["id"],
        status=values["status"],
        customer=str(id_of(values["customer"])),
        item=item["id"],
        price=item["price"]["id"],
        quantity=item["quantity"],
        currency=values["currency"],
        period_start=instant(item["current_period_start"]),
        period_end=instant(item["current_period_end"]),
        cancels_at_period_end=values["cancel_at_period_end"],
        cancel_at=instant_or_none(values["cancel_at"]),
        ended_at=instant_or_none(values["ended_at"]),
        latest_invoice=id_of(values["latest_invoice"]),
        default_payment_method=id_of(values["default_payment_method"]),
        metadata=values["metadata"],
        created_at=instant(values["created"]),
    )


def invoice_of(values: Values) -> Invoice:
    currency = values["currency"]
    parent = (values["parent"] or {}).get("subscription_details") or {}
    return Invoice(
        id=values["id"],
        status=values["status"],
        reason=values["billing_reason"],
        customer=id_of(values["customer"]),
        subscription=id_of(parent.get("subscription")),
        payment_intent=payment_of_invoice(values),
        subtotal_minor=from_stripe(values["subtotal"], currency),
        tax_minor=from_stripe(tax_of(values["total_taxes"]), currency),
        total_minor=from_stripe(values["total"], currency),
        due_minor=from_stripe(values["amount_due"], currency),
        paid_minor=from_stripe(values["amount_paid"], currency),
        currency=currency,
        lines=tuple(map(invoice_line_of, values["lines"]["data"])),
        attempts=values["attempt_count"],
        next_attempt_at=instant_or_none(values["next_payment_attempt"]),
        page_url=values["hosted_invoice_url"],
        created_at=instant(values["created"]),
        paid_at=instant_or_none(values["status_transitions"]["paid_at"]),
    )


def payment_of_invoice(values: Values) -> str | None:
    """Return the payment that paid an invoice, or else the one that is to."""
    payments = (values.get("payments") or {"data": []})["data"]
    for one in sorted(payments, key=lambda payment: payment["status"] != "paid"):
        return id_of(one["payment"].get("payment_intent"))
    return None


def tax_of(taxes: list[Values] | None) -> int:
    """Return the tax that is added to prices."""
    return sum(one["amount"] for one in taxes or [] if one["tax_behavior"] == "exclusive")


def invoice_line_of(values: Values) -> InvoiceLine:
    currency, parent = values["currency"], values["parent"] or {}
    details = parent.get(parent.get("type")) or {}
    price = ((values["pricing"] or {}).get("price_details") or {}).get("price")
    return InvoiceLine(
        id=values["id"],
        amount_minor=from_stripe(values["amount"], currency),
        tax_minor=from_stripe(tax_of(values["taxes"]), currency),
        price=id_of(price),
        quantity=values["quantity"] or 1,
        is_proration=details.get("proration", False),
        period_start=instant(values["period"]["start"]),
        period_end=instant(values["period"]["end"]),
    )


def movement_of(values: Values) -> BalanceMovement:
    currency, whole = values["currency"], values["source"]
    source: Values = whole if isinstance(whole, dict) else {}
    paid_in = source.get("currency") or currency
    sign = -1 if values["amount"] < 0 else 1
    return BalanceMovement(
        id=values["id"],
        category=values["reporting_category"],
        amount_minor=from_stripe(values["amount"], currency),
        fee_minor=from_stripe(values["fee"], currency),
        net_minor=from_stripe(values["net"], currency),
        currency=currency,
        source=id_of(whole),
        created_at=instant(values["created"]),
        payment_intent=id_of(source.get("payment_intent")),
        source_minor=sign * from_stripe(source.get("amount"), paid_in),
        source_currency=paid_in,
    )


def event_of(values: Values) -> Event:
    item = values["data"]["object"]
    return Event(
        id=values["id"],
        type=values["type"],
        object_id=item.get("id"),
        object_type=item["object"],
        api_version=values["api_version"],
        created_at=instant(values["created"]),
        payload=values,
    )
