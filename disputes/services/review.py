"""Taking disputes under review, and giving them to colleagues."""

from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from disputes.choices import OPEN, DisputeStatus, EventKind
from disputes.errors import CannotReview, SameReviewer
from disputes.models import Dispute
from disputes.queries.sides import REVIEW, decided_before, may_review
from disputes.services import mail
from disputes.services.changes import locked_dispute, move, note, refuse_own_dispute


@transaction.atomic
def review_dispute(
    *,
    dispute: Dispute,
    notes: str,
    actor: User,
    at: datetime,
    assignee: User | None = None,
    version: int | None = None,
) -> Dispute:
    """
    Take a pending dispute under review, for oneself or for ``assignee``.

    :param notes: for colleagues; the user does not see them.
    :param version: that the dispute was shown with.
    :raises NotPermitted: ``actor`` may not review disputes.
    :raises OwnWallet: it is their own, or they may spend what would be given back.
    :raises DisputeNotInState: it is not pending.
    :raises DisputeChanged: it has changed since ``version``.
    :raises SameReviewer: they decided it before it was appealed, and name nobody else.
    :raises CannotReview: ``assignee`` may not.
    """
    require(actor, REVIEW)
    refuse_own_dispute(actor, dispute)
    locked = locked_dispute(
        dispute, states=[DisputeStatus.PENDING], verb="taken under review", version=version
    )
    if assignee is None and decided_before(actor, locked):
        raise SameReviewer
    refuse_reviewer(locked, assignee)
    chosen = assignee or actor
    move(locked, status=DisputeStatus.UNDER_REVIEW, assignee=chosen)
    note(locked, EventKind.TAKEN, actor=actor, at=at)
    note(locked, EventKind.NOTE, actor=actor, at=at, is_internal=True, text=notes)
    audit.record(
        "disputes.dispute.reviewed",
        actor=actor,
        target=locked,
        at=at,
        reason=notes,
        before={"status": DisputeStatus.PENDING},
        after={"status": DisputeStatus.UNDER_REVIEW, "assignee": chosen.pk},
    )
    mail.tell_taken(locked)
    if chosen != actor:
        mail.tell_assignee(locked, "A dispute was given to you", notes)
    return locked


@transaction.atomic
def assign_dispute(
    *,
    dispute: Dispute,
    assignee: User | None,
    actor: User,
    at: datetime,
    notes: str = "",
    version: int | None = None,
) -> Dispute:
    """
    Give an open dispute to a colleague, or to nobody.

    :raises NotPermitted: ``actor`` may not review disputes.
    :raises OwnWallet: it is their own, or they may spend what would be given back.
    :raises DisputeNotInState: it is decided.
    :raises DisputeChanged: it has changed since ``version``.
    :raises CannotReview: ``assignee`` may not.
    """
    require(actor, REVIEW)
    refuse_own_dispute(actor, dispute)
    locked = locked_dispute(dispute, states=OPEN, verb="assigned", version=version)
    refuse_reviewer(locked, assignee)
    before = locked.assignee_id
    move(locked, assignee=assignee)
    after = assignee.pk if assignee else None
    note(
        locked,
        EventKind.ASSIGNED,
        actor=actor,
        at=at,
        is_internal=True,
        text=notes,
        data={"assignee": after},
    )
    audit.record(
        "disputes.dispute.assigned",
        actor=actor,
        target=locked,
        at=at,
        reason=notes,
        before={"assignee": before},
        after={"assignee": after},
    )
    if assignee not in (None, actor):
        mail.tell_assignee(locked, "A dispute was given to you", *([notes] if notes else []))
    return locked


def refuse_reviewer(dispute: Dispute, assignee: User | None) -> None:
    """:raises CannotReview: ``assignee`` is somebody to whom it cannot be given."""
    if assignee is not None and not may_review(assignee, dispute):
        raise CannotReview
