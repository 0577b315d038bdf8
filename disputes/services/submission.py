"""What users do: dispute a charge once, and appeal once."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from accounts.models import User
from creditsite.errors import InvalidRequest
from disputes import errors
from disputes.choices import ENDED, DisputeStatus, EventKind
from disputes.models import Dispute
from disputes.queries.charges import charged_by, open_credits
from disputes.queries.sides import may_dispute, visible_to
from disputes.services import mail
from disputes.services.changes import locked_dispute, move, note
from disputes.services.reasons import reason_meant
from ledger import keys
from ledger.choices import TransactionKind
from ledger.errors import ExceedsTaken, IdempotencyKeyReused, TransactionNotFound
from ledger.models import CreditTransaction
from ledger.queries.settings import settings_at
from ledger.queries.wallets import is_own_wallet

SHORTEST_DESCRIPTION, LONGEST_DESCRIPTION = 10, 2_000
LONGEST_REASON = 200


class Submitted(NamedTuple):
    """A dispute, and whether it was opened now, or by an earlier request with this key."""

    dispute: Dispute
    is_new: bool


@transaction.atomic
def submit_dispute(
    *,
    transaction_id: UUID,
    reason: str,
    description: str,
    requested: int,
    actor: User,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> Submitted:
    """
    Say that a charge was wrong, and ask for ``requested`` whole credits back.

    :param reason: code or label of a listed reason; another text is kept under "other".
    :raises InvalidRequest: a text is too short or too long, or ``requested`` is below 1.
    :raises TransactionNotFound: there is no such transaction for ``actor``.
    :raises NotYourCharge: they see it, and neither made it nor answer for the wallet.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises NotDisputable: it is no charge for use.
    :raises AlreadyDisputed: somebody did already.
    :raises TooLateToDispute: it was made too long ago.
    :raises NothingToDispute: all of it was given back.
    :raises ExceedsTaken: less was taken and not yet given back.
    """
    refuse_text(description)
    if not 1 <= len(reason) <= LONGEST_REASON or requested < 1:
        raise InvalidRequest(
            f"Give a reason of at most {LONGEST_REASON} characters, and ask for 1 credit or more."
        )
    charge = charge_of(actor, transaction_id)
    key = keys.digest(caller, idempotency_key) if idempotency_key else None
    fingerprint = keys.fingerprint("dispute", transaction_id, reason, description, requested)
    if known := submitted_under(key, fingerprint):
        return Submitted(known, False)
    refuse_charge(charge, requested, at)
    meant, other = reason_meant(reason)
    try:
        with transaction.atomic():
            dispute = Dispute.objects.create(
                transaction=charge,
                wallet=charge.wallet,
                feature=charge.feature,
                charged=charged_by(charge),
                requested=requested,
                reason=meant,
                other_reason=other,
                description=description,
                opened_by=actor,
                submitted_at=at,
                due_at=due_from(at),
                request_key=key,
                fingerprint=fingerprint,
            )
    except IntegrityError as race:
        if not Dispute.objects.filter(transaction=charge).exists():
            raise
        raise errors.AlreadyDisputed from race
    note(dispute, EventKind.SUBMITTED, actor=actor, at=at, by_staff=False)
    mail.tell_submitted(dispute)
    return Submitted(dispute, True)


def refuse_text(text: str) -> None:
    """:raises InvalidRequest: it is too short or too long."""
    if not SHORTEST_DESCRIPTION <= len(text) <= LONGEST_DESCRIPTION:
        raise InvalidRequest(
            f"Describe it in {SHORTEST_DESCRIPTION} to {LONGEST_DESCRIPTION:,} characters."
        )


def charge_of(user: User, transaction_id: UUID) -> CreditTransaction:
    """
    Return a transaction that ``user`` may dispute.

    :raises TransactionNotFound: there is none of that id for them.
    :raises NotYourCharge: they see it, and may not.
    """
    rows = CreditTransaction.objects.select_related("wallet__user", "wallet__team")
    charge = rows.filter(pk=transaction_id).first()
    if charge is None:
        raise TransactionNotFound
    if may_dispute(user, charge):
        return charge
    is_of_their_team = charge.wallet.team_id and is_own_wallet(user, charge.wallet)
    if charge.actor_id == user.pk or is_of_their_team:
        raise errors.NotYourCharge
    raise TransactionNotFound


def submitted_under(key: UUID | None, fingerprint: UUID) -> Dispute | None:
    """
    Return the dispute that this key opened; another request with it waits until we are done.

    :raises IdempotencyKeyReused: the key was used for something else.
    """
    if key is None:
        return None
    with connection.cursor() as cursor:  # The lock that the engine takes for a key.
        cursor.execute("SELECT pg_advisory_xact_lock(uuid_hash_extended(%s, 0))", [key])
    known = Dispute.objects.filter(request_key=key).first()
    is_other = known and known.fingerprint != fingerprint
    if is_other or CreditTransaction.objects.filter(key=key).exists():
        raise IdempotencyKeyReused
    return known


def refuse_charge(charge: CreditTransaction, requested: int, at: datetime) -> None:
    """Refuse a charge that cannot be disputed for so much at ``at``."""
    if charge.kind != TransactionKind.USAGE:
        raise errors.NotDisputable
    if Dispute.objects.filter(transaction=charge).exists():
        raise errors.AlreadyDisputed
    until = charge.recorded_at + timedelta(days=settings_at(at).dispute_days)
    if at >= until:
        raise errors.TooLateToDispute(until=until)
    open = open_credits(charge.pk)
    if not open:
        raise errors.NothingToDispute
    if requested > open:
        raise ExceedsTaken(asked=requested, open=open)


def due_from(at: datetime) -> datetime:
    """Return until when what is asked for at ``at`` is to be decided."""
    return at + timedelta(hours=settings_at(at).dispute_review_hours)


@transaction.atomic
def appeal_dispute(
    *, dispute: Dispute, description: str, actor: User, at: datetime, version: int | None = None
) -> Dispute:
    """
    Have a decision looked at again, once, by somebody else than who made it.

    :raises InvalidRequest: ``description`` is too short or too long.
    :raises DisputeNotFound: it is not theirs.
    :raises AlreadyAppealed: it was.
    :raises DisputeNotInState: it is not decided.
    :raises DisputeChanged: it has changed since ``version``.
    :raises TooLateToDispute: it was decided too long ago.
    :raises NothingToDispute: all of the charge was given back.
    """
    refuse_text(description)
    if not visible_to(actor).filter(pk=dispute.pk).exists():
        raise errors.DisputeNotFound
    locked = locked_dispute(dispute, states=DisputeStatus.values, verb="appealed", version=None)
    if locked.round > 1:
        raise errors.AlreadyAppealed
    locked = locked_dispute(dispute, states=ENDED, verb="appealed", version=version)
    decided = locked.decisions.get(round=1)
    until = decided.decided_at + timedelta(days=settings_at(at).dispute_days)
    if at >= until:
        raise errors.TooLateToDispute(until=until)
    if not open_credits(locked.transaction_id):
        raise errors.NothingToDispute
    move(
        locked,
        status=DisputeStatus.PENDING,
        round=2,
        due_at=due_from(at),
        appealed_at=at,
        assignee=None,
        told_new_at=None,
        told_overdue_at=None,
    )
    note(locked, EventKind.APPEALED, actor=actor, at=at, by_staff=False, text=description)
    mail.tell_appealed(locked)
    return locked
