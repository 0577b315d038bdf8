"""
The only module that calls Stripe; what it is told and returns is in our words (`stripe_objects`).

A call is tried once, and never inside a database transaction. The caller brings the
idempotency key: after ``PaymentsUnavailable`` nobody knows whether Stripe did it, and the same call
with the same key finds out. Keys live for a day at Stripe; after that, look before calling again.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import stripe
from django.conf import settings
from django.db import connection

from billing.stripe_objects import (
    BalanceMovement,
    Card,
    CheckoutSession,
    Customer,
    Dispute,
    Event,
    Invoice,
    Metadata,
    PaymentIntent,
    Refund,
    Subscription,
    Values,
    card_of,
    customer_of,
    dispute_of,
    event_of,
    id_of,
    intent_of,
    invoice_of,
    movement_of,
    refund_of,
    session_of,
    subscription_of,
    to_stripe,
)
from creditsite.errors import Conflict, InvalidRequest, Unavailable

CONNECT_SECONDS, READ_SECONDS = 3, 10
WEBHOOK_TOLERANCE_SECONDS = 300
PAGE = 100
NEAR: Any = {"no_proxy": "127.0.0.1,localhost"}
NOT_SIGNED = "The signature is none of Stripe's."

Found = TypeVar("Found")

logger = logging.getLogger(__name__)
stripe.enable_telemetry = False
logging.getLogger("stripe").setLevel(logging.WARNING)  # It tells of each call and what it said.


# --- Refusals -------------------------------------------------------------------------------------
class PaymentsUnavailable(Unavailable):
    """Stripe did not answer, or not clearly; what was asked may have been done."""

    code = "payments_unavailable"


class PaymentDeclined(Conflict):
    """
    The bank says no; ``reason`` is its word, such as ``insufficient_funds`` or ``lost_card``.

    The message is for the customer; the reason is for staff.
    """

    code = "payment_declined"
    status = 402

    def __init__(self, message: str, *, reason: str, payment_intent: str | None) -> None:
        self.reason, self.payment_intent = reason, payment_intent
        super().__init__(message)


class AuthenticationRequired(PaymentDeclined):
    """The cardholder must confirm the payment themselves, and is not there."""

    code = "authentication_required"


class StripeRefused(Conflict):
    """Stripe will not do this; ``reason`` is its code, such as ``charge_already_refunded``."""

    code = "stripe_refused"

    def __init__(self, message: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class BadSignature(InvalidRequest):
    """It was not sent by Stripe, or not now."""

    code = "bad_signature"


class ForeignEvent(InvalidRequest):
    """Stripe sent it, about another account or mode than ours."""

    code = "foreign_event"


@dataclass(frozen=True)
class Line:
    """Something to pay for in a checkout: a name and a price, without tax."""

    name: str
    amount_minor: int
    currency: str
    quantity: int = 1


# --- Account and customers ------------------------------------------------------------------------
def account_id() -> str:
    """Return the account that our key belongs to."""
    return str(ask(lambda v1: v1.accounts.retrieve_current())["id"])


def create_customer(
    *, email: str, metadata: Metadata, idempotency_key: str, name: str = ""
) -> Customer:
    given = with_values(email=email, name=name, metadata=dict(metadata))
    return customer_of(ask(lambda v1: v1.customers.create(given, keyed(idempotency_key))))


def retrieve_customer(id: str) -> Customer:
    return customer_of(ask(lambda v1: v1.customers.retrieve(id)))


def update_customer(
    id: str, *, idempotency_key: str, email: str = "", name: str = "", payment_method: str = ""
) -> Customer:
    """Change what is given; ``payment_method`` is what later payments are made with."""
    given = with_values(email=email, name=name)
    if payment_method:
        given["invoice_settings"] = {"default_payment_method": payment_method}
    return customer_of(ask(lambda v1: v1.customers.update(id, given, keyed(idempotency_key))))


def delete_customer(id: str) -> None:
    """Delete a customer with their cards, and end their subscriptions; harmless if it is done."""
    try:
        ask(lambda v1: v1.customers.delete(id))
    except StripeRefused as refusal:
        if refusal.reason != "resource_missing":
            raise


def list_cards(customer: str) -> Iterator[Card]:
    return every(
        lambda v1, page: v1.customers.payment_methods.list(customer, page),
        card_of,
        {"type": "card"},
    )


def remove_card(id: str, *, idempotency_key: str) -> None:
    ask(lambda v1: v1.payment_methods.detach(id, {}, keyed(idempotency_key)))


# --- Catalogue ------------------------------------------------------------------------------------
def create_product(*, name: str, metadata: Metadata, idempotency_key: str) -> str:
    """Make a product to hang prices on; return its id."""
    given: Any = {"name": name, "metadata": dict(metadata)}
    return str(ask(lambda v1: v1.products.create(given, keyed(idempotency_key)))["id"])


def create_price(
    *,
    product: str,
    amount_minor: int,
    currency: str,
    interval: str,
    metadata: Metadata,
    idempotency_key: str,
) -> str:
    """Make a price for each ``interval`` (month or year), without tax; return its id."""
    given: Any = {
        "product": product,
        "unit_amount": to_stripe(amount_minor, currency),
        "currency": currency,
        "recurring": {"interval": interval},
        "tax_behavior": "exclusive",
        "metadata": dict(metadata),
    }
    return str(ask(lambda v1: v1.prices.create(given, keyed(idempotency_key)))["id"])


def retire_price(id: str, *, idempotency_key: str) -> None:
    """Sell a price no longer; who subscribes to it goes on."""
    ask(lambda v1: v1.prices.update(id, {"active": False}, keyed(idempotency_key)))


# --- Checkout and portal --------------------------------------------------------------------------
def create_payment_checkout(
    *,
    customer: str,
    lines: Sequence[Line],
    success_url: str,
    cancel_url: str,
    metadata: Metadata,
    idempotency_key: str,
    saves_card: bool = False,
    calculates_tax: bool = False,
    expires_at: datetime | None = None,
) -> CheckoutSession:
    """
    Begin a payment on Stripe's page.

    The metadata is on the payment, too. ``{CHECKOUT_SESSION_ID}`` in ``success_url`` becomes the
    session's id.
    """
    on_payment = {"metadata": dict(metadata)} | with_values(
        setup_future_usage="off_session" if saves_card else ""
    )
    return begin_checkout(
        "payment",
        customer=customer,
        urls=(success_url, cancel_url),
        metadata=metadata,
        idempotency_key=idempotency_key,
        calculates_tax=calculates_tax,
        line_items=[line_item(line) for line in lines],
        payment_intent_data=on_payment,
        **({"expires_at": int(expires_at.timestamp())} if expires_at else {}),
    )


def create_subscription_checkout(
    *,
    customer: str,
    price: str,
    success_url: str,
    cancel_url: str,
    metadata: Metadata,
    idempotency_key: str,
    calculates_tax: bool = False,
) -> CheckoutSession:
    """Begin to subscribe on Stripe's page; the metadata is on the subscription, too."""
    return begin_checkout(
        "subscription",
        customer=customer,
        urls=(success_url, cancel_url),
        metadata=metadata,
        idempotency_key=idempotency_key,
        calculates_tax=calculates_tax,
        line_items=[{"price": price, "quantity": 1}],
        subscription_data={"metadata": dict(metadata)},
    )


def create_card_checkout(
    *,
    customer: str,
    currency: str,
    success_url: str,
    cancel_url: str,
    metadata: Metadata,
    idempotency_key: str,
) -> CheckoutSession:
    """Begin to save a card on Stripe's page, for payments while its holder is away."""
    return begin_checkout(
        "setup",
        customer=customer,
        urls=(success_url, cancel_url),
        metadata=metadata,
        idempotency_key=idempotency_key,
        currency=currency,
        setup_intent_data={"metadata": dict(metadata)},
    )


def begin_checkout(
    mode: str,
    *,
    customer: str,
    urls: tuple[str, str],
    metadata: Metadata,
    idempotency_key: str,
    calculates_tax: bool = False,
    **more: Any,
) -> CheckoutSession:
    given: Any = {
        "mode": mode,
        "customer": customer,
        "success_url": urls[0],
        "cancel_url": urls[1],
        "metadata": dict(metadata),
        **more,
    }
    if calculates_tax:
        given |= {"automatic_tax": {"enabled": True}, "customer_update": {"address": "auto"}}
    return session_of(ask(lambda v1: v1.checkout.sessions.create(given, keyed(idempotency_key))))


def line_item(line: Line) -> Values:
    price = {
        "currency": line.currency,
        "unit_amount": to_stripe(line.amount_minor, line.currency),
        "product_data": {"name": line.name},
        "tax_behavior": "exclusive",
    }
    return {"price_data": price, "quantity": line.quantity}


def retrieve_checkout(id: str) -> CheckoutSession:
    expanded: Any = {"expand": ["setup_intent"]}
    return session_of(ask(lambda v1: v1.checkout.sessions.retrieve(id, expanded)))


def expire_checkout(id: str, *, idempotency_key: str) -> CheckoutSession:
    """
    End a checkout that nobody has completed.

    :raises StripeRefused: it is completed, or has expired.
    """
    return session_of(ask(lambda v1: v1.checkout.sessions.expire(id, {}, keyed(idempotency_key))))


def create_portal(*, customer: str, return_url: str, idempotency_key: str) -> str:
    """Return the address at which a customer looks after subscriptions, cards and invoices."""
    given: Any = {"customer": customer, "return_url": return_url}
    made = ask(lambda v1: v1.billing_portal.sessions.create(given, keyed(idempotency_key)))
    return str(made["url"])


# --- Payments -------------------------------------------------------------------------------------
def create_payment_intent(
    *,
    customer: str,
    amount_minor: int,
    currency: str,
    metadata: Metadata,
    idempotency_key: str,
    description: str = "",
) -> PaymentIntent:
    """Begin a payment that the customer's browser confirms with ``client_secret``."""
    given = payment_values(customer, amount_minor, currency, metadata, description)
    given["automatic_payment_methods"] = {"enabled": True}
    return intent_of(ask(lambda v1: v1.payment_intents.create(given, keyed(idempotency_key))))


def pay_off_session(
    *,
    customer: str,
    payment_method: str,
    amount_minor: int,
    currency: str,
    metadata: Metadata,
    idempotency_key: str,
    description: str = "",
) -> PaymentIntent:
    """
    Charge a saved card while its holder is away.

    :raises PaymentDeclined: the bank says no; asking again at once would be held against us.
    :raises AuthenticationRequired: the holder must come and pay themselves.
    """
    given = payment_values(customer, amount_minor, currency, metadata, description)
    given |= {"payment_method": payment_method, "confirm": True, "off_session": True}
    return intent_of(ask(lambda v1: v1.payment_intents.create(given, keyed(idempotency_key))))


def payment_values(
    customer: str, amount_minor: int, currency: str, metadata: Metadata, description: str
) -> Any:
    return with_values(
        customer=customer,
        amount=to_stripe(amount_minor, currency),
        currency=currency,
        metadata=dict(metadata),
        description=description,
        expand=["latest_charge"],
    )


def retrieve_payment_intent(id: str) -> PaymentIntent:
    expanded: Any = {"expand": ["latest_charge"]}
    return intent_of(ask(lambda v1: v1.payment_intents.retrieve(id, expanded)))


def cancel_payment_intent(id: str, *, idempotency_key: str) -> PaymentIntent:
    """:raises StripeRefused: it is paid, under way or cancelled."""
    given: Any = {"expand": ["latest_charge"]}
    return intent_of(ask(lambda v1: v1.payment_intents.cancel(id, given, keyed(idempotency_key))))


def invoice_of_payment(payment_intent: str) -> str | None:
    """Return the invoice that a payment was for, if it was for one."""
    given: Any = {"payment": {"type": "payment_intent", "payment_intent": payment_intent}}
    found = ask(lambda v1: v1.invoice_payments.list(given))["data"]
    return str(found[0]["invoice"]) if found else None


# --- Refunds and disputes -------------------------------------------------------------------------
def refund_payment(
    *,
    payment_intent: str,
    amount_minor: int,
    currency: str,
    metadata: Metadata,
    idempotency_key: str,
) -> Refund:
    """
    Send money back. It may fail days later, which an event tells.

    :raises StripeRefused: it is more than is left of the payment, or the payment is disputed.
    """
    given: Any = {
        "payment_intent": payment_intent,
        "amount": to_stripe(amount_minor, currency),
        "reason": "requested_by_customer",
        "metadata": dict(metadata),
    }
    return refund_of(ask(lambda v1: v1.refunds.create(given, keyed(idempotency_key))))


def retrieve_refund(id: str) -> Refund:
    return refund_of(ask(lambda v1: v1.refunds.retrieve(id)))


def refunds_of(payment_intent: str) -> list[Refund]:
    """Return all refunds of a payment, newest first."""
    given = {"payment_intent": payment_intent}
    return list(every(lambda v1, page: v1.refunds.list(page), refund_of, given))


def disputes_of(payment_intent: str) -> list[Dispute]:
    """Return all disputes of a payment, newest first."""
    given = {"payment_intent": payment_intent}
    return list(every(lambda v1, page: v1.disputes.list(page), dispute_of, given))


def retrieve_dispute(id: str) -> Dispute:
    return dispute_of(ask(lambda v1: v1.disputes.retrieve(id)))


def submit_dispute_evidence(
    id: str, *, evidence: Mapping[str, str], idempotency_key: str
) -> Dispute:
    """
    Send evidence to the bank, once and finally; its keys are Stripe's, as ``access_activity_log``.

    :raises StripeRefused: the dispute is closed, or has its evidence.
    """
    given: Any = {"evidence": dict(evidence), "submit": True}
    return dispute_of(ask(lambda v1: v1.disputes.update(id, given, keyed(idempotency_key))))


def concede_dispute(id: str, *, idempotency_key: str) -> Dispute:
    """Let a dispute be lost."""
    return dispute_of(ask(lambda v1: v1.disputes.close(id, {}, keyed(idempotency_key))))


# --- Subscriptions and invoices -------------------------------------------------------------------
def retrieve_subscription(id: str) -> Subscription:
    return subscription_of(ask(lambda v1: v1.subscriptions.retrieve(id)))


def change_subscription(
    subscription: Subscription, *, price: str, bills_now: bool, idempotency_key: str
) -> Subscription:
    """
    Put a subscription on another price.

    With ``bills_now`` the difference for the rest of the period is invoiced and paid at once, or
    nothing changes; without, the next period is the first to cost the new price. A price of another
    interval begins a new period at once, and bills it.

    :raises PaymentDeclined: the difference was not paid.
    :raises AuthenticationRequired: its cardholder must confirm it, in the portal.
    """
    given: Any = {
        "items": [{"id": subscription.item, "price": price}],
        "proration_behavior": "always_invoice" if bills_now else "none",
        "payment_behavior": "error_if_incomplete",
    }
    return updated_subscription(subscription.id, given, idempotency_key)


def preview_change(subscription: Subscription, *, price: str, at: datetime) -> Invoice:
    """Return the invoice that ``change_subscription`` would make at that instant."""
    given: Any = {
        "customer": subscription.customer,
        "subscription": subscription.id,
        "subscription_details": {
            "items": [{"id": subscription.item, "price": price}],
            "proration_behavior": "always_invoice",
            "proration_date": int(at.timestamp()),
        },
    }
    return whole_invoice(ask(lambda v1: v1.invoices.create_preview(given)))


def end_with_period(id: str, *, idempotency_key: str) -> Subscription:
    """Cancel a subscription at the end of what is paid for."""
    return updated_subscription(id, {"cancel_at_period_end": True}, idempotency_key)


def keep_subscription(id: str, *, idempotency_key: str) -> Subscription:
    """Take such a cancellation back."""
    return updated_subscription(id, {"cancel_at_period_end": False}, idempotency_key)


def updated_subscription(id: str, given: Any, idempotency_key: str) -> Subscription:
    return subscription_of(
        ask(lambda v1: v1.subscriptions.update(id, given, keyed(idempotency_key)))
    )


def cancel_subscription(id: str) -> Subscription:
    """End a subscription now, which refunds nothing; harmless if it has ended."""
    try:
        return subscription_of(ask(lambda v1: v1.subscriptions.cancel(id)))
    except StripeRefused as refusal:
        if refusal.reason != "resource_missing":
            raise
    return retrieve_subscription(id)


def invoices_of(subscription: str) -> list[Invoice]:
    """Return all invoices of a subscription, newest first."""
    given = {"subscription": subscription, "expand": ["data.payments"]}
    return list(every(lambda v1, page: v1.invoices.list(page), whole_invoice, given))


def retrieve_invoice(id: str) -> Invoice:
    expanded: Any = {"expand": ["payments"]}
    return whole_invoice(ask(lambda v1: v1.invoices.retrieve(id, expanded)))


def pay_invoice(id: str, *, idempotency_key: str) -> Invoice:
    """
    Try again to have an invoice paid, by the customer's card.

    :raises PaymentDeclined: the bank says no.
    """
    given: Any = {"expand": ["payments"]}
    return whole_invoice(ask(lambda v1: v1.invoices.pay(id, given, keyed(idempotency_key))))


def whole_invoice(values: Values) -> Invoice:
    """Return an invoice with all its lines, of which Stripe shows ten."""
    if values["lines"]["has_more"]:
        id = values["id"]
        lines = every(lambda v1, page: v1.invoices.line_items.list(id, page), dict, {})
        values["lines"] = {"data": list(lines)}
    return invoice_of(values)


# --- All since an instant, and before another, newest first; for reconciliation -------------------
def list_payment_intents(
    since: datetime, until: datetime | None = None, *, customer: str = ""
) -> Iterator[PaymentIntent]:
    given = created_since(since, until) | {"expand": ["data.latest_charge"]}
    given |= with_values(customer=customer)
    return every(lambda v1, page: v1.payment_intents.list(page), intent_of, given)


def list_refunds(since: datetime, until: datetime | None = None) -> Iterator[Refund]:
    return every(lambda v1, page: v1.refunds.list(page), refund_of, created_since(since, until))


def list_disputes(since: datetime, until: datetime | None = None) -> Iterator[Dispute]:
    return every(lambda v1, page: v1.disputes.list(page), dispute_of, created_since(since, until))


def list_invoices(since: datetime, until: datetime | None = None) -> Iterator[Invoice]:
    given = created_since(since, until) | {"expand": ["data.payments"]}
    return every(lambda v1, page: v1.invoices.list(page), whole_invoice, given)


def list_checkouts(since: datetime, until: datetime | None = None) -> Iterator[CheckoutSession]:
    given = created_since(since, until)
    return every(lambda v1, page: v1.checkout.sessions.list(page), session_of, given)


def list_subscriptions(since: datetime) -> Iterator[Subscription]:
    given = created_since(since) | {"status": "all"}
    return every(lambda v1, page: v1.subscriptions.list(page), subscription_of, given)


def list_balance_movements(
    since: datetime, until: datetime | None = None
) -> Iterator[BalanceMovement]:
    given = created_since(since, until) | {"expand": ["data.source"]}
    return every(lambda v1, page: v1.balance_transactions.list(page), movement_of, given)


def list_events(since: datetime, types: Sequence[str] = ()) -> Iterator[Event]:
    """Yield events of the last 30 days at most, which is how long Stripe keeps them."""
    given = created_since(since) | ({"types": list(types)} if types else {})
    return every(lambda v1, page: v1.events.list(page), event_of, given)


def created_since(since: datetime, until: datetime | None = None) -> Values:
    before = {"lt": int(until.timestamp())} if until else {}
    return {"created": {"gte": int(since.timestamp()), **before}}


def every(
    fetch: Callable[[Any, Values], Any], read: Callable[[Values], Found], given: Values
) -> Iterator[Found]:
    """Yield what a list at Stripe has, page by page, each one a call of its own."""
    page: Values = {"has_more": True, "data": []}
    while page["has_more"]:
        after = {"starting_after": page["data"][-1]["id"]} if page["data"] else {}
        wanted = {"limit": PAGE, **given, **after}
        page = ask(lambda v1: fetch(v1, wanted))  # noqa: B023
        yield from map(read, page["data"])


# --- Webhooks -------------------------------------------------------------------------------------
def construct_event(body: bytes, signature: str, *, at: datetime) -> Event:
    """
    Return the event that a webhook brought.

    :raises BadSignature: none of our secrets signed it, or not within five minutes of ``at``.
    :raises ForeignEvent: it is of another account, or of test mode in live mode or the reverse.
    """
    if secret_of(body, signature) is None:
        raise BadSignature(NOT_SIGNED)
    if abs(at.timestamp() - signed_at(signature)) > WEBHOOK_TOLERANCE_SECONDS:
        raise BadSignature("The signature is not of now.")
    try:
        values = json.loads(body)
        event, livemode = event_of(values), values["livemode"]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise BadSignature("This is no event of Stripe's.") from None
    if livemode is not is_live() or values.get("account") not in {None, our_account()}:
        raise ForeignEvent("The event is of another account or mode.")
    return event


def secret_of(body: bytes, signature: str) -> str | None:
    """Return which of our secrets signed a webhook; ``None`` if none did."""
    secrets = settings.STRIPE_WEBHOOK_SECRETS
    return next((one for one in secrets if is_signed(body, signature, one)), None)


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    if not signature.isascii():  # The SDK would raise a TypeError.
        return False
    try:
        # Without its tolerance: that reads the clock, and lets any signature of the future pass.
        return stripe.WebhookSignature.verify_header(body, signature, secret, tolerance=None)
    except (stripe.SignatureVerificationError, UnicodeError):
        return False


def signed_at(signature: str) -> int:
    """Return the instant that a header begins with; :raises BadSignature: it does not."""
    # The one that is signed: the SDK takes the first, and reads " 7" and "+7" as numbers, too.
    found = re.match(r"t=([0-9]{1,12}),", signature)
    if found is None:
        raise BadSignature("The signature says no time.")
    return int(found[1])


def is_live() -> bool:
    return settings.STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))


def our_account() -> str | None:
    return settings.STRIPE_ACCOUNT or None


# --- Calls ----------------------------------------------------------------------------------------
def ask(call: Callable[[Any], Any]) -> Values:
    """
    Call Stripe once, and return what it answers.

    :raises PaymentsUnavailable: it did not, or not clearly.
    :raises PaymentDeclined: a bank says no.
    :raises StripeRefused: Stripe does.
    """
    with translated():
        answer: Values = call(client().v1).to_dict()
    return answer


@contextmanager
def translated() -> Iterator[None]:
    """Turn the SDK's exceptions into ours; a call inside a transaction is a mistake of ours."""
    # A test's own transaction, around all of it, does not count.
    if any(not block._from_testcase for block in connection.atomic_blocks):  # type: ignore[attr-defined]
        raise RuntimeError("Stripe is not called inside a database transaction.")
    try:
        yield
    except stripe.CardError as refusal:
        raise declined(refusal) from refusal
    except (stripe.InvalidRequestError, stripe.IdempotencyError) as refusal:
        reason = refusal.code or str(error_of(refusal).get("type", ""))
        raise StripeRefused(f"Stripe refuses: {refusal.user_message}", reason=reason) from refusal
    except (stripe.AuthenticationError, stripe.PermissionError) as refusal:
        logger.error("Stripe does not accept our key: %s", type(refusal).__name__)
        raise PaymentsUnavailable("Payments are not available.") from refusal
    except stripe.StripeError as failure:
        logger.warning("Stripe did not answer: %s", type(failure).__name__)
        raise PaymentsUnavailable("The payment service did not answer.") from failure


def declined(refusal: stripe.CardError) -> PaymentDeclined:
    error = error_of(refusal)
    asks = {"authentication_required", "subscription_payment_intent_requires_action"}
    kind = AuthenticationRequired if error.get("code") in asks else PaymentDeclined
    return kind(
        str(error.get("message", "The payment was declined.")),
        reason=str(error.get("decline_code") or error.get("code") or "declined"),
        payment_intent=id_of(error.get("payment_intent")),
    )


def error_of(refusal: stripe.StripeError) -> Values:
    body = refusal.json_body
    error: Values = body.get("error", {}) if isinstance(body, dict) else {}
    return error


def client() -> stripe.StripeClient:
    if not settings.STRIPE_SECRET_KEY:
        raise PaymentsUnavailable("Payments are not set up.")
    return client_for(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


@cache
def client_for(key: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base},
        max_network_retries=0,
        http_client=stripe.RequestsClient(
            timeout=(CONNECT_SECONDS, READ_SECONDS), proxy=NEAR if is_near(base) else None
        ),
    )


def is_near(base: str) -> bool:
    """Return whether that is a local Stripe, which no proxy can reach."""
    return urlsplit(base).hostname in {"127.0.0.1", "localhost"}


def keyed(idempotency_key: str) -> Any:
    return {"idempotency_key": idempotency_key}


def with_values(**given: Any) -> Any:
    """Return what is not empty."""
    return {name: value for name, value in given.items() if value not in ("", None)}
