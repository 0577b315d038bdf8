"""
The only caller of the engine in ``ledger/sql``.

One function for each of its doors. Each takes what policy decided, makes one database call and
returns a :class:`Posting`, or raises the refusal that the engine named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from ledger import errors
from ledger.choices import CreditType, GrantSource, HoldStatus
from ledger.queries.settings import settings_at
from ledger.services.engine import (
    HEADER,
    LARGEST_AMOUNT,
    Header,
    Posting,
    array,
    call,
    call_many,
    posting_of,
)

__all__ = ["LARGEST_AMOUNT", "DrawRequest", "Header", "Posting"]

DRAW_ONE = f"SELECT * FROM ledger_draw_one(%s::bigint[], %s, %s::text[], %s, %s, %s, {HEADER})"


def draw(
    *,
    payers: Sequence[int],
    amount: int,
    header: Header,
    types: Sequence[CreditType] | None = None,
    grant: UUID | None = None,
    short: str = "refuse",
    any_status: bool = False,
) -> Posting:
    """
    Take ``amount`` credits from the first of ``payers`` (wallet ids) that covers all of it.

    :param types: only credits of these types; all when left out.
    :param grant: only this grant, expired and frozen or not.
    :param short: when there is too little: ``refuse``, ``take`` what is there, the rest becomes
        ``debt``, or ``wait``: what is held leaves when its hold ends.
    :param any_status: draw from paused and closed wallets too, and with credits switched off.
    :raises InsufficientCredits: none covers the amount.
    :raises NothingToTake: it should ``take`` what is there, and nothing is.
    :raises WalletPaused: the first payer is paused.
    :raises CreditsDisabled: credits are switched off, and not ``any_status``.
    :raises WalletClosed: the first payer is closed.
    :raises WalletNotFound: a payer does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        DRAW_ONE,
        (array(payers), amount, array(types), grant, short, any_status, *header.parameters()),
    )
    return posting_of(row, asked=amount, nothing=errors.NothingToTake)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """One of many draws: what it has of its own; the rest is said by the shared header."""

    wallet_id: int
    amount: int
    key: UUID
    fingerprint: UUID
    purchased_only: bool = False
    actor_id: int | None = None
    feature: str | None = None
    price_ids: Sequence[int] | None = None
    quantities: Sequence[Decimal] | None = None
    reference_id: str | None = None
    occurred_at: datetime | None = None


def draw_many(
    *,
    requests: Sequence[DrawRequest],
    header: Header,
    types: Sequence[CreditType] | None = None,
    short: str = "refuse",
    any_status: bool = False,
) -> list[Posting]:
    """
    Take credits for many requests in one call; answer each, in their order, by its ``outcome``.

    Refusals are outcomes here and raise nothing: one bad request harms no other.
    """
    sql = f"""
        SELECT * FROM ledger_draw(
            %s::bigint[], %s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::boolean[], NULL,
            %s, %s, %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
            %s::timestamptz[], {HEADER})
        ORDER BY ord
    """
    parameters = (
        [r.wallet_id for r in requests],
        [r.amount for r in requests],
        [r.key for r in requests],
        [r.fingerprint for r in requests],
        array(types),
        [r.purchased_only for r in requests],
        short,
        any_status,
        [r.actor_id for r in requests],
        [r.feature for r in requests],
        [array(r.price_ids) for r in requests],
        [array(r.quantities) for r in requests],
        [r.reference_id for r in requests],
        [r.occurred_at for r in requests],
        *header.parameters(),
    )
    return [Posting._make(row) for row in call_many(sql, parameters)]


def post_grant(
    *,
    wallet: int,
    amount: int,
    credit_type: CreditType,
    source: GrantSource,
    header: Header,
    expires_at: datetime | None = None,
    paid_minor: int = 0,
    currency: str = "",
    priority: int = 100,
    largest: int | None = None,
) -> Posting:
    """
    Put a grant of ``amount`` credits in the wallet of that id; one paid for repays debts first.

    :param paid_minor: what was paid for it, in minor units of ``currency``, without tax.
    :param largest: refuse if the balance of this type would become larger.
    :raises BalanceTooLarge: it would.
    :raises WalletClosed: closed wallets take no awards and no sales.
    :raises WalletNotFound: the wallet does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"""SELECT * FROM ledger_post(
                ARRAY[%s::bigint], ARRAY[%s::bigint], ARRAY[%s::uuid], ARRAY[%s::uuid],
                ARRAY[%s::bigint], %s, %s, %s::smallint, %s, %s, %s, {HEADER})""",
        (
            wallet,
            amount,
            header.key,
            header.fingerprint,
            paid_minor,
            credit_type.value,
            source.value,
            priority,
            currency,
            expires_at,
            largest,
            *header.parameters(),
        ),
    )
    return posting_of(row, asked=amount, largest=largest)


def restore(*, transaction: UUID, header: Header, amount: int | None = None) -> Posting:
    """
    Give back what ``transaction`` took: all that is not given back yet, or ``amount`` of it.

    ``available`` of the answer is how much was given back in whatever form (``amount`` of it
    reached grants, the rest shrank debts); it is less than asked where a grant was voided.

    :raises TransactionNotFound: there is no such transaction.
    :raises NotReversible: it is not one that takes credits for use.
    :raises AlreadyReversed: nothing of it is left to give back.
    :raises ExceedsTaken: ``amount`` is more than that.
    :raises NothingToRestore: all of it was voided or written off.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"SELECT * FROM ledger_restore(%s, %s, %s, {HEADER})",
        (transaction, amount, _grace(header.at), *header.parameters()),
    )
    return posting_of(row, asked=amount or 0, missing=errors.TransactionNotFound)


def take_back(*, transaction: UUID, header: Header, partly: bool = False) -> Posting:
    """
    Take back the grant that ``transaction`` posted; with ``partly``, what is left of it.

    :raises TransactionNotFound: there is no such transaction.
    :raises NotReversible: it posted no grant, or one that was paid for.
    :raises AlreadyReversed: it has been taken back.
    :raises PartlySpent: some of it is spent or held, and not ``partly``.
    :raises NothingToRestore: nothing of it is left.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"SELECT * FROM ledger_take_back(%s, %s, {HEADER})",
        (transaction, partly, *header.parameters()),
    )
    return posting_of(row, missing=errors.TransactionNotFound)


def place_hold(
    *,
    payers: Sequence[int],
    amount: int,
    expires_at: datetime,
    header: Header,
    types: Sequence[CreditType] | None = None,
) -> Posting:
    """
    Reserve ``amount`` credits of the first of ``payers`` that covers it, until ``expires_at``.

    Raises as :func:`draw` does.
    """
    row = call(
        f"SELECT * FROM ledger_place_hold(%s::bigint[], %s, %s::text[], %s, {HEADER})",
        (array(payers), amount, array(types), expires_at, *header.parameters()),
    )
    return posting_of(row, asked=amount)


def settle_hold(*, hold: UUID, capture: int | None, caller: str | None, header: Header) -> Posting:
    """
    End a hold: capture ``capture`` credits of it (``None``: all, 0: none) and release the rest.

    :param caller: who must have placed it; ``None`` for staff and the system.
    :raises HoldNotFound: there is no such hold.
    :raises NotYourHold: somebody else placed it.
    :raises HoldNotOpen: it has ended, or its time is over.
    :raises ExceedsHold: ``capture`` is more than it holds.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"SELECT * FROM ledger_settle_hold(%s, %s, %s, %s, {HEADER})",
        (hold, capture, caller, HoldStatus.RELEASED.value, *header.parameters()),
    )
    return posting_of(row, asked=capture or 0, missing=errors.HoldNotFound, exceeds="hold")


def claw_back(*, grant: UUID, target: int, returned_minor: int, header: Header) -> Posting:
    """
    Say how many credits of a grant are to be taken back in all, and what of its money was returned.

    Both are cumulative over all refunds and chargebacks of the payment: more than before claws
    back, less reinstates (``header.kind`` says which it is called), the same changes nothing.

    :raises GrantNotFound: there is no such grant.
    :raises InvalidAmount: the target is not between 0 and the grant's amount.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"SELECT * FROM ledger_claw_back(%s, %s, %s, %s, {HEADER})",
        (grant, target, returned_minor, _grace(header.at), *header.parameters()),
    )
    return posting_of(
        row, asked=target, missing=errors.GrantNotFound, exceeds="grant", settled=("nothing",)
    )


def write_off(*, wallet: int, amount: int, header: Header) -> Posting:
    """
    Strike ``amount`` credits of a wallet's debt off, the oldest debt first.

    :raises ExceedsDebt: less is owed.
    :raises WalletNotFound: the wallet does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"SELECT * FROM ledger_write_off(%s, %s, {HEADER})", (wallet, amount, *header.parameters())
    )
    return posting_of(row, asked=amount, exceeds="debt")


def void(*, wallet: int, types: Sequence[CreditType], header: Header) -> Posting | None:
    """
    Void what is left of a wallet's grants of ``types``; what is held follows when its hold ends.

    Return ``None`` when there was nothing to void, held or not.

    :raises WalletNotFound: the wallet does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = call(
        f"SELECT * FROM ledger_void(%s, %s::text[], {HEADER})",
        (wallet, array(types), *header.parameters()),
    )
    posted = posting_of(row, settled=("nothing",))
    return None if posted.outcome == "nothing" else posted


def freeze(*, grants: Sequence[UUID], frozen: bool, at: datetime) -> None:
    """Make grants unspendable while a chargeback of them is decided, or spendable again."""
    call("SELECT ledger_freeze(%s::uuid[], %s, %s)", (array(grants), frozen, at))


def expire(*, at: datetime, limit: int) -> tuple[int, int]:
    """Book the expiry of up to ``limit`` grants whose time is over; return grants and credits."""
    grants, credits = call("SELECT * FROM ledger_expire(%s, %s)", (at, limit))
    return grants, credits


def release_expired_holds(*, at: datetime, limit: int) -> int:
    """Release up to ``limit`` holds whose time is over; return how many."""
    (count,) = call("SELECT ledger_release_expired(%s, %s)", (at, limit))
    return count


def open_wallets(*, users: Sequence[int] = (), teams: Sequence[int] = ()) -> int:
    """Open a wallet for each of these users and teams that has none; return how many."""
    (count,) = call(
        "SELECT ledger_open_wallets(%s::bigint[], %s::bigint[])", (array(users), array(teams))
    )
    return count


def lock_wallet(wallet: int) -> None:
    """
    Lock a wallet until the transaction ends, for who decides by what they read of it.

    :raises WalletNotFound: the wallet does not exist.
    """
    (found,) = call("SELECT ledger_lock_wallet(%s)", (wallet,))
    if not found:
        raise errors.WalletNotFound


def set_status(*, wallet: int, expected: str, status: str) -> bool:
    """Move a wallet from one status to another; false when it was not in the one expected."""
    (moved,) = call("SELECT ledger_set_status(%s, %s, %s)", (wallet, expected, status))
    return moved


def erase_text(*, wallet: int, at: datetime) -> int:
    """Erase the free text of a wallet's transactions and holds; return how many had any."""
    (count,) = call("SELECT ledger_erase_text(%s, %s)", (wallet, at))
    return count


def erase_text_of(*, wallet: int, actor: int, at: datetime) -> int:
    """Erase the free text that one person's acts left in a wallet; return how many had any."""
    (count,) = call("SELECT ledger_erase_text_of(%s, %s, %s)", (wallet, actor, at))
    return count


def _grace(at: datetime) -> timedelta:
    return timedelta(days=settings_at(at).grace_days)
