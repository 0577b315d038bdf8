"""
Deciding disputes: by giving credits back, by explaining the charge, or by rejecting.

What is given back goes where DESIGN 4 says, entry by entry: the engine knows what of each was given
back already, by whatever dispute, appeal or reversal.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from creditsite.errors import InvalidRequest
from disputes import errors
from disputes.choices import DisputeStatus, EventKind, Resolution
from disputes.models import Decision, Dispute
from disputes.queries.charges import open_credits
from disputes.queries.sides import RESOLVE, decided_before, is_own
from disputes.services import mail
from disputes.services.changes import locked_dispute, move, note, refuse_own_dispute
from ledger import keys
from ledger.choices import TransactionKind
from ledger.errors import AlreadyReversed, ExceedsTaken, IdempotencyKeyReused
from ledger.models import CreditTransaction
from ledger.queries.reversals import effects_of_reversal
from ledger.queries.settings import settings_at
from ledger.services import posting
from ledger.services.bookings import Asked
from ledger.services.posting import LARGEST_AMOUNT, Header
from ledger.services.second_person import approval_waiting

LONGEST_NOTES = 500
CALLER = "disputes"
Payload = Mapping[str, Any]


class Decided(NamedTuple):
    """A decision, and whether it was made now, or by an earlier request with this key."""

    decision: Decision
    is_new: bool


def register() -> None:
    """Let :mod:`accounts.services.approvals` know large refunds of disputes."""
    approval_kind(
        RESOLVE,
        permission=RESOLVE,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: concerns(_dispute(payload), user),
        state=state,
        dropped=dropped,
    )


@transaction.atomic
def resolve_dispute(
    *,
    dispute: Dispute,
    resolution: Resolution,
    notes: str,
    actor: User,
    caller: str,
    at: datetime,
    refund_amount: int | None = None,
    idempotency_key: str | None = None,
    version: int | None = None,
) -> Decided | Approval:
    """
    Decide a dispute that is under review; of many credits, return the approval that it waits for.

    A full refund gives back what was asked for, or what of it is left; a partial one
    ``refund_amount`` whole credits. What was voided since cannot be given back: the decision says
    how much that is.

    :param notes: what the user is told.
    :param version: that the dispute was shown with.
    :raises NotPermitted: ``actor`` may not decide disputes.
    :raises InvalidRequest: ``refund_amount`` does not go with ``resolution``, or no ``notes``.
    :raises OwnWallet: it is their own, or they may spend what would be given back.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    :raises DisputeNotInState: it is not under review.
    :raises DisputeChanged: it has changed since ``version``.
    :raises SameReviewer: they decided it before it was appealed.
    :raises DisputeWaits: a decision waits for a second person.
    :raises AlreadyReversed: nothing is left to give back.
    :raises ExceedsTaken: less is left to give back.
    :raises NothingToRestore: all of it was voided or written off.
    """
    require(actor, RESOLVE)
    refuse_shape(resolution, refund_amount, notes)
    refuse_own_dispute(actor, dispute)
    fingerprint = keys.fingerprint(
        "resolve_dispute", notes, dispute.pk, resolution, refund_amount, version
    )
    asked = Asked(actor, notes, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    if known := decided_under(asked):
        return Decided(known, False)
    locked = decidable(dispute, actor, at, version)
    amount = credits_to_return(locked, resolution, refund_amount)
    with transaction.atomic():
        decision = decide(locked, resolution, amount, asked, actor)
        is_for_two = amount > settings_at(at).approval_dispute_above
        transaction.set_rollback(is_for_two)
    if is_for_two:
        return ask_for_approval(dispute, resolution, amount, asked, actor)
    return Decided(decision, True)


def refuse_shape(resolution: Resolution, refund_amount: int | None, notes: str) -> None:
    """:raises InvalidRequest: the amount does not go with the resolution, or notes are none."""
    is_partial = resolution == Resolution.PARTIAL_REFUND
    if is_partial != (refund_amount is not None):
        raise InvalidRequest("Name a refund_amount for a partial refund, and for nothing else.")
    if refund_amount is not None and not 1 <= refund_amount <= LARGEST_AMOUNT:
        raise InvalidRequest(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    if not 1 <= len(notes) <= LONGEST_NOTES:
        raise InvalidRequest(f"Tell the user why, in 1 to {LONGEST_NOTES} characters.")


def decided_under(asked: Asked) -> Decision | None:
    """
    Return the decision that this key made.

    :raises IdempotencyKeyReused: the key was used for something else.
    """
    if asked.idempotency_key is None:
        return None
    key = keys.digest(asked.caller, asked.idempotency_key)
    known = Decision.objects.filter(request_key=key).first()
    is_other = known and known.fingerprint != asked.fingerprint
    if is_other or CreditTransaction.objects.filter(key=key).exists():
        raise IdempotencyKeyReused
    return known


def decidable(dispute: Dispute, actor: User, at: datetime, version: int | None) -> Dispute:
    """Return the dispute, locked, if ``actor`` may decide it now."""
    locked = locked_dispute(
        dispute, states=[DisputeStatus.UNDER_REVIEW], verb="decided", version=version
    )
    if decided_before(actor, locked):
        raise errors.SameReviewer
    if locked.approval and locked.approval.status_at(at) == "waiting":
        raise errors.DisputeWaits
    return locked


def credits_to_return(dispute: Dispute, resolution: Resolution, refund_amount: int | None) -> int:
    """
    Return the whole credits that a resolution asks the books to give back.

    :raises AlreadyReversed: nothing is left to give back.
    :raises ExceedsTaken: less is.
    """
    if resolution in (Resolution.EXPLANATION, Resolution.REJECTED):
        return 0
    open = open_credits(dispute.transaction_id)
    if not open:
        raise AlreadyReversed
    if refund_amount is not None and refund_amount > open:
        raise ExceedsTaken(asked=refund_amount, open=open)
    return refund_amount or min(dispute.requested, open)


def decide(
    dispute: Dispute, resolution: Resolution, amount: int, asked: Asked, by: User
) -> Decision:
    """Write ``by``'s decision on a locked dispute, give ``amount`` credits back, and tell all."""
    posted = give_back(dispute, amount, asked, by) if amount else None
    decision = Decision.objects.create(
        dispute=dispute,
        round=dispute.round,
        resolution=resolution,
        asked=amount,
        refunded=(posted.available or 0) if posted else 0,
        to_balance=(posted.amount or 0) if posted else 0,
        transaction_id=posted.transaction_id if posted else None,
        decided_by=by,
        approval_id=asked.approval_id,
        notes=asked.reason,
        started_at=dispute.appealed_at or dispute.submitted_at,
        decided_at=asked.at,
        request_key=(
            keys.digest(asked.caller, asked.idempotency_key) if asked.idempotency_key else None
        ),
        fingerprint=asked.fingerprint,
    )
    is_rejected = resolution == Resolution.REJECTED
    outcome = DisputeStatus.REJECTED if is_rejected else DisputeStatus.RESOLVED
    move(dispute, status=outcome, approval=None)
    told = {"resolution": resolution, "asked": amount, "refunded": decision.refunded}
    note(dispute, EventKind.DECIDED, actor=by, at=asked.at, data=told)
    asked.record(
        "disputes.dispute.decided",
        dispute,
        before={"status": DisputeStatus.UNDER_REVIEW},
        after={**told, "status": outcome, "transaction": str(decision.transaction_id or "")},
    )
    mail.tell_decided(dispute, decision)
    return decision


def give_back(dispute: Dispute, amount: int, asked: Asked, by: User) -> posting.Posting:
    # One key for each round, whoever asks how often: it is given back once, for ever.
    key = f"dispute:{dispute.pk}:{dispute.round}"
    return posting.restore(
        transaction=dispute.transaction_id,
        amount=amount,
        header=Header(
            kind=TransactionKind.REFUND,
            at=asked.at,
            caller=asked.caller,
            key=keys.digest(CALLER, key),
            fingerprint=keys.fingerprint("dispute", key, amount),
            actor_id=by.pk,
            reference_id=str(dispute.pk),
            description="Given back after a dispute",
        ),
    )


# --- With a second person -------------------------------------------------------------------------
def ask_for_approval(
    dispute: Dispute, resolution: Resolution, amount: int, asked: Asked, maker: User
) -> Approval:
    locked = Dispute.objects.get(pk=dispute.pk)  # As it was before the decision was taken back.
    approval = request_approval(
        kind=RESOLVE,
        payload={
            "dispute": str(locked.pk),
            "round": locked.round,
            "resolution": resolution,
            "amount": amount,
        },
        maker=maker,
        reason=asked.reason,
        at=asked.at,
        about=locked.opened_by,
        caller=asked.caller,
        idempotency_key=asked.idempotency_key,
        fingerprint=asked.fingerprint,
    )
    move(locked, approval=approval)
    data = {"approval": approval.pk, "resolution": resolution, "amount": amount}
    note(
        locked,
        EventKind.APPROVAL_ASKED,
        actor=maker,
        at=asked.at,
        is_internal=True,
        data=data,
    )
    return approval


def execute(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    """Decide as was approved; refused if another decision, or another round, came in between."""
    dispute = _dispute(payload)
    refuse_own_dispute(approval.maker, dispute)
    locked = locked_dispute(
        dispute, states=[DisputeStatus.UNDER_REVIEW], verb="decided", version=None
    )
    if (locked.approval_id, locked.round) != (approval.pk, payload["round"]):
        raise errors.DisputeChanged
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    decision = decide(
        locked, Resolution(payload["resolution"]), payload["amount"], asked, approval.maker
    )
    return {"decision": decision.pk, "refunded": decision.refunded}


def dropped(*, approval: Approval, at: datetime) -> None:
    """Let the dispute be decided otherwise: nobody approved what waited."""
    waiting = Dispute.objects.select_for_update(no_key=True).filter(approval=approval).first()
    if waiting is None:
        return
    move(waiting, approval=None)
    note(
        waiting,
        EventKind.APPROVAL_ENDED,
        actor=approval.checker,
        at=at,
        is_internal=True,
        data={"approval": approval.pk, "status": approval.status},
    )


def describe(payload: Payload) -> str:
    dispute = _dispute(payload)
    return (
        f"Give {payload['amount']:,} credits back to {dispute.wallet} after their"
        f" {'appeal' if payload['round'] > 1 else 'dispute'} of {dispute.charged:,} credits"
    )


def state(payload: Payload, at: datetime) -> list[str]:
    dispute = _dispute(payload)
    open = open_credits(dispute.transaction_id)
    return [
        f"The dispute is {dispute.get_status_display()}.",
        f"{open:,} credits of the charge are not given back yet.",
        *effects_of_reversal(dispute.transaction, at),
    ]


def concerns(dispute: Dispute, user: User) -> bool:
    """Return whether it is their own, or they decided it before it was appealed."""
    return is_own(user, dispute) or decided_before(user, dispute)


def _dispute(payload: Payload) -> Dispute:
    rows = Dispute.objects.select_related("wallet__user", "wallet__team", "transaction")
    return rows.get(pk=payload["dispute"])
