"""What reversing a transaction would do, read from the lines that the engine would reverse."""

from datetime import datetime
from uuid import UUID

from django.db import connection

from ledger.choices import TransactionKind
from ledger.models import CreditTransaction, Grant
from ledger.queries.settings import settings_at

# As the engine has it in ``ledger/sql/restore.sql``: ``ledger_restore`` and ``ledger_take_back``.
PUT_BACK = {TransactionKind.USAGE, TransactionKind.ADJUSTMENT, TransactionKind.EXPIRY}
TAKEN_BACK = {
    TransactionKind.AWARD,
    TransactionKind.PARTNER,
    TransactionKind.PURCHASE,
    TransactionKind.ADJUSTMENT,
}


def is_reversible(transaction: CreditTransaction) -> bool:
    """
    Return whether a transaction of this kind and sign can be reversed; payments are refunded.

    That nothing of it may be left to reverse is for the engine to say.
    """
    if transaction.amount > 0:
        return transaction.kind in TAKEN_BACK and not granted_by(transaction).paid_minor
    return transaction.kind in PUT_BACK


def granted_by(transaction: CreditTransaction) -> Grant:
    """Return the grant that ``transaction`` gave, which is its one entry."""
    return transaction.entries.select_related("grant").get().grant


def open_lines(transaction_id: UUID) -> list[tuple[UUID | None, int]]:
    """
    Return what a taking took and was not given back yet, by grant, in the order of a reversal.

    No grant stands for the debt that it opened.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT grant_id, open FROM ledger_open_lines(%s) AS l WHERE open > 0"
            ' ORDER BY l."position" = 0 DESC, l."position" DESC',
            [transaction_id],
        )
        return cursor.fetchall()


def effects_of_reversal(transaction: CreditTransaction, at: datetime) -> list[str]:
    """Say, grant by grant, what reversing all of ``transaction`` at ``at`` would do."""
    if transaction.amount > 0:
        grant = granted_by(transaction)
        return [
            f"Of the {grant.amount:,} credits that it gave, {grant.remaining - grant.held:,} are"
            " neither spent nor held, and can be taken back."
        ]
    lines = open_lines(transaction.pk)
    grants = Grant.objects.in_bulk([grant_id for grant_id, _ in lines if grant_id])
    said = [_effect(grants[grant_id] if grant_id else None, open, at) for grant_id, open in lines]
    return said or ["All that it took has been given back already."]


def _effect(grant: Grant | None, credits: int, at: datetime) -> str:
    if grant is None:
        return f"{credits:,} credits come off the debt that it opened."
    if grant.voided_at:
        return f"{credits:,} credits are not put back: {grant} was voided since."
    if grant.clawback_target:
        return f"{credits:,} credits of {grant}: it was clawed back, so its debt shrinks first."
    if grant.expires_at and grant.expires_at <= at:
        return (
            f"{credits:,} credits of {grant}: it has expired, so they go into a new grant that"
            f" lasts {settings_at(at).grace_days} days."
        )
    return f"{credits:,} credits go back into {grant}."
