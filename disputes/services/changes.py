"""How a dispute changes: locked, from the state that was seen, and with a line of its timeline."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db.models import F

from accounts.models import User
from disputes.choices import EventKind
from disputes.errors import DisputeChanged, DisputeNotInState
from disputes.models import Dispute, DisputeEvent
from disputes.queries.sides import is_own
from ledger.errors import OwnWallet


def locked_dispute(
    dispute: Dispute, *, states: Collection[str], verb: str, version: int | None
) -> Dispute:
    """
    Return the dispute as it is now; nobody else changes it until the transaction ends.

    :param version: that who acts was shown, if they say.
    :raises DisputeNotInState: it is in none of ``states``.
    :raises DisputeChanged: it has changed since that ``version``.
    """
    rows = Dispute.objects.select_for_update(no_key=True, of=("self",))
    locked = rows.select_related("wallet", "opened_by", "approval").get(pk=dispute.pk)
    if locked.status not in states:
        raise DisputeNotInState(verb=verb, status=locked.status)
    if version is not None and locked.version != version:
        raise DisputeChanged
    return locked


def move(dispute: Dispute, **changes: Any) -> None:
    """
    Change a dispute from the state and version that it was read in.

    :raises DisputeChanged: it is in another by now.
    """
    unchanged = Dispute.objects.filter(
        pk=dispute.pk, status=dispute.status, round=dispute.round, version=dispute.version
    )
    if not unchanged.update(version=F("version") + 1, **changes):
        raise DisputeChanged
    dispute.version += 1
    for name, value in changes.items():
        setattr(dispute, name, value)


def note(
    dispute: Dispute,
    kind: EventKind,
    *,
    actor: User | None,
    at: datetime,
    by_staff: bool = True,
    is_internal: bool = False,
    text: str = "",
    data: Mapping[str, Any] | None = None,
) -> DisputeEvent:
    """Add a line to the timeline; ``data`` are numbers and codes, without personal data."""
    return DisputeEvent.objects.create(
        dispute=dispute,
        kind=kind,
        actor=actor,
        by_staff=by_staff,
        is_internal=is_internal,
        text=text,
        data=dict(data or {}),
        at=at,
    )


def refuse_own_dispute(actor: User | None, dispute: Dispute) -> None:
    """
    Refuse staff whose own dispute it is, or who may spend what would be given back.

    :raises OwnWallet: it is, or they may.
    """
    if actor is not None and is_own(actor, dispute):
        raise OwnWallet
