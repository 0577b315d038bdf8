"""Refunds: in part or whole, never of more than is left; some cards refuse them afterwards."""

import stripe

from billing.stripe_sandbox.balance import move
from billing.stripe_sandbox.clock import DAY
from billing.stripe_sandbox.disputes import OPEN
from billing.stripe_sandbox.errors import StripeError, unexpected_state
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.payment_methods import card_of
from billing.stripe_sandbox.routes import Params, listing, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, act, merged
from billing.stripe_sandbox.store import Object
from creditsite.money import format_money


@route("POST", "/v1/refunds", "RefundCreateParams", "amount charge payment_intent reason metadata")
def create_refund(sandbox: Sandbox, params: Params) -> Object:
    charge = charge_to_refund(sandbox, params)
    left = charge["amount"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    refuse_more_than(left, amount, charge)
    method = sandbox.get("payment_method", charge["payment_method"])
    how = card_of(method).refund
    refund = sandbox.add(
        stripe.Refund,
        "re",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        created=sandbox.now_of(charge["customer"]),
        metadata=params.get("metadata") or {},
        payment_intent=charge["payment_intent"],
        reason=params.get("reason"),
        status="pending" if how == "pending" else "succeeded",
        destination_details={"type": "card", "card": {"type": "refund"}},
    )
    booked = move(sandbox, refund, -amount, "refund")
    sandbox.update(refund, balance_transaction=booked["id"])
    count(sandbox, charge, amount)
    emit(sandbox, "refund.created", refund)
    emit(sandbox, "charge.refunded", charge)
    if how != "succeeds":
        act = "fail refund" if how == "fails" else "settle refund"
        sandbox.at(
            sandbox.now_of(charge["customer"]) + DAY, act, refund["id"], customer=charge["customer"]
        )
    return refund


def charge_to_refund(sandbox: Sandbox, params: Params) -> Object:
    """:raises StripeError: neither names a payment that was made and may be refunded."""
    if ("charge" in params) == ("payment_intent" in params):
        raise StripeError(
            "One of the following params should be provided: payment_intent or charge."
        )
    if "charge" in params:
        charge = sandbox.get("charge", params["charge"], param="charge")
    else:
        intent = sandbox.get("payment_intent", params["payment_intent"], param="payment_intent")
        if intent["status"] != "succeeded":
            raise unexpected_state(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                "payment_intent_unexpected_state",
                param="payment_intent",
            )
        charge = sandbox.get("charge", intent["latest_charge"])
    if not charge["paid"]:
        raise unexpected_state(f"Charge {charge['id']} has not been paid.", "charge_not_refundable")
    refuse_disputed(sandbox, charge)
    return charge


def refuse_disputed(sandbox: Sandbox, charge: Object) -> None:
    dispute = sandbox.first("dispute", charge=charge["id"])
    if dispute and not dispute["is_charge_refundable"] and dispute["status"] in [*OPEN, "lost"]:
        raise unexpected_state(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            "charge_disputed",
        )


def refuse_more_than(left: int, amount: int, charge: Object) -> None:
    if left == 0:
        raise unexpected_state(
            f"Charge {charge['id']} has already been refunded.", "charge_already_refunded"
        )
    if amount < 1:
        raise StripeError(
            "Invalid positive integer", code="parameter_invalid_integer", param="amount"
        )
    if amount > left:
        asked, shown = (format_money(one, charge["currency"]) for one in (amount, left))
        raise StripeError(
            f"Refund amount ({asked}) is greater than unrefunded amount on charge ({shown})",
            code="amount_too_large",
            param="amount",
        )


def count(sandbox: Sandbox, charge: Object, amount: int) -> None:
    """Count what went back of a charge, or came back after all."""
    refunded = charge["amount_refunded"] + amount
    sandbox.update(charge, amount_refunded=refunded, refunded=refunded == charge["amount"])


@act("settle refund")
def settle(sandbox: Sandbox, id: str) -> None:
    refund = sandbox.get("refund", id)
    if refund["status"] == "pending":
        announce(sandbox, sandbox.update(refund, status="succeeded"))


@act("fail refund")
def fail(sandbox: Sandbox, id: str) -> None:
    """Let the bank send a refund back: the money is ours again, and owed."""
    refund = sandbox.get("refund", id)
    if refund["status"] == "failed":
        return
    booked = move(sandbox, refund, refund["amount"], "refund_failure")
    sandbox.update(
        refund,
        status="failed",
        failure_reason="unknown",
        failure_balance_transaction=booked["id"],
    )
    count(sandbox, sandbox.get("charge", refund["charge"]), -refund["amount"])
    announce(sandbox, refund)
    emit(sandbox, "refund.failed", refund)


def announce(sandbox: Sandbox, refund: Object) -> None:
    emit(sandbox, "refund.updated", refund)
    emit(sandbox, "charge.refund.updated", refund)


@route("POST", "/v1/refunds/{id}", "RefundUpdateParams", "metadata")
def update_refund(sandbox: Sandbox, params: Params, id: str) -> Object:
    refund = sandbox.get("refund", id)
    sandbox.update(refund, metadata=merged(refund["metadata"], params.get("metadata", {})))
    emit(sandbox, "refund.updated", refund)
    return refund


retrieve("refund", "/v1/refunds", "RefundRetrieveParams")
listing("refund", "/v1/refunds", "RefundListParams", "charge payment_intent")
