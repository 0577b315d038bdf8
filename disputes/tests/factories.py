"""Disputes for tests, made the way production makes them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from accounts.models import Approval, User
from accounts.tests.factories import StaffFactory
from disputes.choices import Resolution
from disputes.models import Decision, Dispute
from disputes.services.resolution import Decided, resolve_dispute
from disputes.services.review import review_dispute
from disputes.services.submission import Submitted, appeal_dispute, submit_dispute
from ledger.models import CreditTransaction, Wallet
from ledger.tests.factories import AT, HOUR, finance, spend, wallet_with_credits

WHY = "It charged me and delivered nothing."
NOTES = "We looked at the job, and you are right."


def charged(amount: int = 40, *, wallet: Wallet | None = None, **more: Any) -> CreditTransaction:
    """Return a charge of a new user's, or of ``wallet``, made by its user."""
    wallet = wallet or wallet_with_credits(award=100)
    more = {"actor_id": wallet.user_id} | more
    return CreditTransaction.objects.get(pk=spend(wallet, amount, **more).transaction_id)


def submit(
    charge: CreditTransaction,
    requested: int = 40,
    *,
    actor: User | None = None,
    at: datetime = AT + HOUR,
    key: str | None = None,
    **more: Any,
) -> Submitted:
    actor = actor or User.objects.get(pk=charge.actor_id)
    given: dict[str, Any] = {"reason": "poor_result", "description": WHY}
    return submit_dispute(
        transaction_id=charge.pk,
        requested=requested,
        actor=actor,
        caller=f"user:{actor.pk}",
        at=at,
        idempotency_key=key,
        **given | more,
    )


def disputed(amount: int = 40, requested: int | None = None, **more: Any) -> Dispute:
    """Return a dispute of a new charge."""
    at = more.pop("at", AT + HOUR)
    charge = charged(amount, **more)
    return submit(charge, requested or amount, at=at).dispute


def review(dispute: Dispute, actor: User | None = None, **more: Any) -> Dispute:
    given: dict[str, Any] = {"notes": "I take it.", "at": dispute.submitted_at + HOUR}
    return review_dispute(dispute=dispute, actor=actor or finance(), **given | more)


def reviewed(*args: Any, **more: Any) -> Dispute:
    """Return a dispute of a new charge, under review."""
    return review(disputed(*args, **more))


def resolve(
    dispute: Dispute,
    resolution: str = "full_refund",
    refund_amount: int | None = None,
    *,
    actor: User | None = None,
    key: str | None = None,
    **more: Any,
) -> Decided | Approval:
    actor = actor or finance()
    given: dict[str, Any] = {"notes": NOTES, "at": dispute.due_at - timedelta(hours=1)}
    return resolve_dispute(
        dispute=dispute,
        resolution=Resolution(resolution),
        refund_amount=refund_amount,
        actor=actor,
        caller=f"user:{actor.pk}",
        idempotency_key=key,
        **given | more,
    )


def decision_of(done: Decided | Approval) -> Decision:
    assert isinstance(done, Decided)
    return done.decision


def appeal(dispute: Dispute, actor: User | None = None, **more: Any) -> Dispute:
    given: dict[str, Any] = {"description": "Please look again.", "at": dispute.due_at}
    return appeal_dispute(dispute=dispute, actor=actor or dispute.opened_by, **given | more)


def support(**fields: Any) -> User:
    return StaffFactory(groups="Support", **fields)


def now(dispute: Dispute) -> Dispute:
    return Dispute.objects.get(pk=dispute.pk)


def states(dispute: Dispute) -> tuple[str, int, int]:
    row = now(dispute)
    return row.status, row.round, row.version


def some_key() -> str:
    return str(uuid4())
