"""Disputes: opened by test cards or by order, answered with evidence, won or lost."""

import stripe

from billing.stripe_sandbox.balance import DISPUTE_FEE, move
from billing.stripe_sandbox.clock import DAY
from billing.stripe_sandbox.errors import StripeError, unexpected_state
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.routes import Params, listing, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, merged
from billing.stripe_sandbox.store import Object

OPEN = ["needs_response", "under_review", "warning_needs_response", "warning_under_review"]
# What a test submits as `uncategorized_text` to have it decided at once.
VERDICTS = {"winning_evidence": "won", "losing_evidence": "lost"}


def open_dispute(
    sandbox: Sandbox, charge: Object, *, reason: str, amount: int | None = None
) -> Object:
    """
    Let the cardholder dispute a charge; an `inquiry` takes no money yet.

    :raises StripeError: it is disputed already, or for more than was charged.
    """
    amount = charge["amount"] if amount is None else amount
    if charge["disputed"] or not charge["paid"] or not 0 < amount <= charge["amount"]:
        raise StripeError(f"{charge['id']} cannot be disputed for {amount}.")
    inquiry = reason == "inquiry"
    evidence_fields = stripe.Dispute.Evidence.__annotations__
    dispute = sandbox.add(
        stripe.Dispute,
        "du",
        amount=amount,
        balance_transactions=[],
        charge=charge["id"],
        created=sandbox.now_of(charge["customer"]),
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence=dict.fromkeys(evidence_fields) | {"enhanced_evidence": {}},
        evidence_details={
            "due_by": sandbox.now_of(charge["customer"]) + 9 * DAY,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=inquiry,
        metadata={},
        network_reason_code="10.4",
        payment_intent=charge["payment_intent"],
        reason="general" if inquiry else reason,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    sandbox.update(charge, disputed=True)
    emit(sandbox, "charge.dispute.created", dispute)
    if not inquiry:
        move_funds(sandbox, dispute, withdrawn=True)
    return dispute


def move_funds(sandbox: Sandbox, dispute: Object, *, withdrawn: bool) -> None:
    sign = -1 if withdrawn else 1
    booked = move(
        sandbox,
        dispute,
        sign * dispute["amount"],
        "adjustment",
        fee=DISPUTE_FEE if withdrawn else 0,
        category="dispute" if withdrawn else "dispute_reversal",
    )
    sandbox.update(dispute, balance_transactions=[*dispute["balance_transactions"], booked])
    emit(sandbox, f"charge.dispute.funds_{'withdrawn' if withdrawn else 'reinstated'}", dispute)


def decide(sandbox: Sandbox, dispute: Object, outcome: str) -> Object:
    """
    Close a dispute as `won` or `lost`; an inquiry closes as a warning or becomes a dispute.

    :raises StripeError: it is closed already.
    """
    refuse_closed(dispute)
    if dispute["status"].startswith("warning"):
        if outcome == "lost":
            sandbox.update(dispute, status="needs_response", is_charge_refundable=False)
            emit(sandbox, "charge.dispute.updated", dispute)
            move_funds(sandbox, dispute, withdrawn=True)
            return dispute
        outcome = "warning_closed"
    sandbox.update(dispute, status=outcome)
    if outcome == "won":
        move_funds(sandbox, dispute, withdrawn=False)
    emit(sandbox, "charge.dispute.closed", dispute)
    return dispute


def refuse_closed(dispute: Object) -> None:
    if dispute["status"] not in OPEN:
        raise unexpected_state(
            f"This dispute is already closed ({dispute['status']}).", "dispute_closed"
        )


@route("POST", "/v1/disputes/{id}", "DisputeUpdateParams", "evidence metadata submit")
def update_dispute(sandbox: Sandbox, params: Params, id: str) -> Object:
    """Take evidence; unless ``submit`` is false it goes to the bank at once, and only once."""
    dispute = sandbox.get("dispute", id)
    if "metadata" in params:
        sandbox.update(dispute, metadata=merged(dispute["metadata"], params["metadata"]))
    if "evidence" not in params and "submit" not in params:
        return dispute
    refuse_closed(dispute)
    if dispute["evidence_details"]["submission_count"]:
        raise StripeError("Evidence was submitted already, and cannot be changed.")
    evidence = dispute["evidence"] | (params.get("evidence") or {})
    submitted = params.get("submit", True)
    details = dispute["evidence_details"] | {"has_evidence": True}
    if submitted:
        details |= {"submission_count": 1, "submission_method": "manual"}
        warning = "warning_" if dispute["status"].startswith("warning") else ""
        dispute["status"] = f"{warning}under_review"
    sandbox.update(dispute, evidence=evidence, evidence_details=details)
    emit(sandbox, "charge.dispute.updated", dispute)
    verdict = VERDICTS.get(evidence["uncategorized_text"] or "")
    return decide(sandbox, dispute, verdict) if submitted and verdict else dispute


@route("POST", "/v1/disputes/{id}/close", "DisputeCloseParams")
def close_dispute(sandbox: Sandbox, params: Params, id: str) -> Object:
    """Give in: the dispute is lost."""
    return decide(sandbox, sandbox.get("dispute", id), "lost")


retrieve("dispute", "/v1/disputes", "DisputeRetrieveParams")
listing("dispute", "/v1/disputes", "DisputeListParams", "charge payment_intent")
