"""Charges: attempts to take money, that succeeded or did not."""

import stripe

from billing.stripe_sandbox.balance import fee_of, move
from billing.stripe_sandbox.cards import DECLINES
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.expansion import LISTS
from billing.stripe_sandbox.payment_methods import NOBODY
from billing.stripe_sandbox.routes import listing, retrieve, whole_list
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object


def charge(
    sandbox: Sandbox, intent: Object, method: Object, *, status: str, reason: str | None = None
) -> Object:
    """Record an attempt to take an intent's amount; ``reason`` is why it failed."""
    code, message = DECLINES[reason] if reason else (None, None)
    made = sandbox.add(
        stripe.Charge,
        "ch",
        amount=intent["amount"],
        amount_captured=0 if reason else intent["amount"],
        amount_refunded=0,
        billing_details=NOBODY,
        captured=not reason,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_code=code,
        failure_message=message,
        metadata=intent["metadata"],
        outcome=outcome(reason),
        paid=status == "succeeded",
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details={"type": "card", "card": method["card"]},
        receipt_email=intent["receipt_email"],
        refunded=False,
        status=status,
    )
    sandbox.update(made, receipt_url=f"{sandbox.base}/receipts/{made['id']}")
    if status == "succeeded":
        settle(sandbox, made)
    emit(sandbox, f"charge.{status}", made)
    return made


def settle(sandbox: Sandbox, made: Object) -> Object:
    """Book the money of a charge that has succeeded."""
    booked = move(sandbox, made, made["amount"], "charge", fee=fee_of(made["amount"]))
    return sandbox.update(made, status="succeeded", paid=True, balance_transaction=booked["id"])


def outcome(reason: str | None) -> Object:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network" if reason else "approved_by_network",
        "reason": reason,
        "risk_level": "normal",
        "seller_message": "Payment declined." if reason else "Payment complete.",
        "type": "issuer_declined" if reason else "authorized",
    }


def refunds_of(sandbox: Sandbox, made: Object) -> Object:
    found = sandbox.store.find("refund", {"charge": made["id"]})
    return whole_list(f"/v1/charges/{made['id']}/refunds", found)


LISTS["charge", "refunds"] = refunds_of
retrieve("charge", "/v1/charges", "ChargeRetrieveParams")
listing("charge", "/v1/charges", "ChargeListParams", "customer payment_intent")
