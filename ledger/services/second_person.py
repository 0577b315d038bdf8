"""Whether an adjustment is booked at once, or waits for a second person."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import connection, transaction

from accounts.models import Approval
from accounts.services.approvals import approval_asked, request_approval
from ledger import keys
from ledger.models import Wallet
from ledger.queries.settings import settings_at
from ledger.services.bookings import Asked
from ledger.services.posting import Posting

Booked = TypeVar("Booked", Posting, list[Posting])


def approval_waiting(asked: Asked) -> Approval | None:
    """
    Return the approval that this same request waits for already.

    Until the transaction ends, another request with this key waits for what becomes of this one.

    :raises IdempotencyKeyReused: the key asked for something else.
    :raises ApprovalEnded: nobody approved it.
    """
    if asked.idempotency_key is None:
        return None
    with connection.cursor() as cursor:  # The lock that the engine takes for a key.
        key = keys.digest(asked.caller, asked.idempotency_key)
        cursor.execute("SELECT pg_advisory_xact_lock(uuid_hash_extended(%s, 0))", [key])
    return approval_asked(
        caller=asked.caller,
        idempotency_key=asked.idempotency_key,
        fingerprint=asked.fingerprint,
        at=asked.at,
    )


def booked_or_asked(
    book: Callable[[], Booked],
    *,
    moved: int,
    kind: str,
    payload: Mapping[str, Any],
    wallet: Wallet,
    asked: Asked,
) -> Booked | Approval:
    """
    Book it; if that moved many credits, take it back and ask a second person.

    So what the books refuse is refused at once, and nobody is asked about it. The system asks
    nobody.

    :param moved: how many credits it moves, of all types together.
    :raises CreditsiteError: the books refuse.
    """
    with transaction.atomic():
        booked = book()
        is_for_two = (
            asked.actor is not None
            and is_new(booked)
            and moved > settings_at(asked.at).approval_adjustment_above
        )
        transaction.set_rollback(is_for_two)
    if asked.actor is None or not is_for_two:
        return booked
    return request_approval(
        kind=kind,
        payload=payload,
        maker=asked.actor,
        reason=asked.reason,
        at=asked.at,
        about=wallet.user,
        caller=asked.caller,
        idempotency_key=asked.idempotency_key,
        fingerprint=asked.fingerprint,
    )


def is_new(booked: Posting | Sequence[Posting]) -> bool:
    return booked.is_new if isinstance(booked, Posting) else bool(booked)
