"""What is written about a dispute: between staff and its user, and among staff."""

from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from creditsite.errors import InvalidRequest
from disputes.choices import OPEN, DisputeStatus, EventKind
from disputes.errors import DisputeNotFound, TooManyMessages
from disputes.models import Dispute, DisputeEvent
from disputes.queries.sides import REVIEW, visible_to
from disputes.services import mail
from disputes.services.changes import locked_dispute, note, refuse_own_dispute

LONGEST_TEXT = 2_000
MOST_REPLIES = 20


@transaction.atomic
def add_note(*, dispute: Dispute, text: str, actor: User, at: datetime) -> DisputeEvent:
    """
    Write a note for colleagues, whatever became of the dispute; the user does not see it.

    :raises NotPermitted: ``actor`` may not review disputes.
    :raises OwnWallet: it is their own, or they may spend what would be given back.
    :raises InvalidRequest: there is no text, or too much.
    """
    return _write_as_staff(dispute, EventKind.NOTE, text, actor, at)


@transaction.atomic
def write_to_user(*, dispute: Dispute, text: str, actor: User, at: datetime) -> DisputeEvent:
    """
    Write a message to the user, who gets it by e-mail as well.

    :raises NotPermitted: ``actor`` may not review disputes.
    :raises OwnWallet: it is their own, or they may spend what would be given back.
    :raises InvalidRequest: there is no text, or too much.
    """
    event = _write_as_staff(dispute, EventKind.MESSAGE, text, actor, at)
    mail.tell_message(dispute, text)
    return event


def _write_as_staff(
    dispute: Dispute, kind: EventKind, text: str, actor: User, at: datetime
) -> DisputeEvent:
    require(actor, REVIEW)
    refuse_own_dispute(actor, dispute)
    refuse_length(text)
    is_internal = kind == EventKind.NOTE
    event = note(dispute, kind, actor=actor, at=at, is_internal=is_internal, text=text)
    audit.record(
        "disputes.note.written" if is_internal else "disputes.message.written",
        actor=actor,
        target=dispute,
        at=at,
        after={"event": str(event.pk)},
    )
    return event


@transaction.atomic
def write_to_staff(*, dispute: Dispute, text: str, actor: User, at: datetime) -> DisputeEvent:
    """
    Write to who reviews one's dispute, while it is open.

    :raises DisputeNotFound: it is not theirs.
    :raises InvalidRequest: there is no text, or too much.
    :raises DisputeNotInState: it is decided.
    :raises TooManyMessages: they wrote ``MOST_REPLIES`` already.
    """
    refuse_length(text)
    if not visible_to(actor).filter(pk=dispute.pk).exists():
        raise DisputeNotFound
    locked = locked_dispute(dispute, states=OPEN, verb="written in", version=None)
    if locked.events.filter(kind=EventKind.REPLY).count() >= MOST_REPLIES:
        raise TooManyMessages
    event = note(locked, EventKind.REPLY, actor=actor, at=at, by_staff=False, text=text)
    if locked.status == DisputeStatus.UNDER_REVIEW:
        mail.tell_assignee(locked, "The user wrote about a dispute of yours", text)
    return event


def refuse_length(text: str) -> None:
    """:raises InvalidRequest: there is no text, or too much."""
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise InvalidRequest(f"Write 1 to {LONGEST_TEXT:,} characters.")
