"""
The only caller of the engine in ``ledger/sql``.

One function for each of its doors. Each takes what policy decided, makes one database call and
returns a :class:`Posting`, or raises the refusal that the engine named.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from psycopg import Cursor
from psycopg.types.datetime import TimestamptzLoader

from ledger import errors
from ledger.choices import CreditType, GrantSource, HoldStatus, TransactionKind

HEADER = "ROW(%s, %s, %s, %s, %s, %s, %s, NULL, NULL, %s, %s, %s, %s, %s, %s, %s)::ledger_header"
DRAW_ONE = f"SELECT * FROM ledger_draw_one(%s::bigint[], %s, %s::text[], %s, %s, %s, {HEADER})"
LARGEST_AMOUNT = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """
    Who asks for what, when, under which key, and the words that go with it.

    ``at`` is the booking's instant, ``occurred_at`` the world's (``at`` when left out). ``key`` and
    ``fingerprint`` come from :mod:`ledger.keys`.
    """

    kind: TransactionKind
    at: datetime
    caller: str
    key: UUID
    fingerprint: UUID
    actor_id: int | None = None
    occurred_at: datetime | None = None
    feature: str = ""
    price_ids: Sequence[int] | None = None
    quantities: Sequence[Decimal] | None = None
    reference_id: str = ""
    description: str = ""
    project: str = ""
    metadata: dict[str, Any] | None = None

    def parameters(self) -> tuple[object, ...]:
        return (
            self.kind.value,
            self.key,
            self.fingerprint,
            self.at,
            self.occurred_at,
            self.actor_id,
            self.caller,
            self.feature,
            _array(self.price_ids),
            _array(self.quantities),
            self.reference_id,
            self.description,
            self.project,
            None if self.metadata is None else json.dumps(self.metadata),
        )


@dataclass(frozen=True, slots=True)
class Posting:
    """
    What the engine did, or did when the key was first used (``is_new`` false).

    ``amount`` is signed. ``grant_ids``, ``credit_types`` and ``amounts`` are the entries of a new
    single posting, amounts unsigned. ``award`` to ``changed_at`` are the wallet as it is now; they
    are ``None`` for postings made many at a time. Field order is that of ``ledger_posting``.
    """

    ord: int | None
    outcome: str
    wallet_id: int
    transaction_id: UUID | None
    number: int | None
    amount: int | None
    debt: int | None
    balance_after: int | None
    recorded_at: datetime | None
    available: int | None
    hold_id: UUID | None
    grant_ids: list[UUID] | None
    credit_types: list[str] | None
    amounts: list[int] | None
    status: str | None
    award: int | None
    partner: int | None
    purchase: int | None
    held: int | None
    owed: int | None
    changed_at: datetime | None

    @property
    def is_new(self) -> bool:
        return self.outcome == "done"

    @property
    def current(self) -> int:
        """The wallet's credits as shown to anyone: available plus held."""
        assert self.award is not None and self.partner is not None and self.purchase is not None
        return self.award + self.partner + self.purchase


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
    :param any_status: draw from paused and closed wallets too.
    :raises InsufficientCredits: none covers the amount.
    :raises WalletPaused: the first payer is paused.
    :raises WalletClosed: the first payer is closed.
    :raises WalletNotFound: a payer does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = _call(
        DRAW_ONE,
        (_array(payers), amount, _array(types), grant, short, any_status, *header.parameters()),
    )
    return _posting(row, asked=amount)


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
        SELECT * FROM ledger_draw(%s::bigint[], %s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::boolean[], NULL,
            %s, %s, %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], {HEADER})
        ORDER BY ord
    """
    parameters = (
        [r.wallet_id for r in requests],
        [r.amount for r in requests],
        [r.key for r in requests],
        [r.fingerprint for r in requests],
        _array(types),
        [r.purchased_only for r in requests],
        short,
        any_status,
        [r.actor_id for r in requests],
        [r.feature for r in requests],
        [_array(r.price_ids) for r in requests],
        [_array(r.quantities) for r in requests],
        [r.reference_id for r in requests],
        [r.occurred_at for r in requests],
        *header.parameters(),
    )
    return [Posting(*row) for row in _call_many(sql, parameters)]


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
    row = _call(
        f"""SELECT * FROM ledger_post(ARRAY[%s::bigint], ARRAY[%s::bigint], ARRAY[%s::uuid], ARRAY[%s::uuid],
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
    return _posting(row, asked=amount, largest=largest)


def restore(*, transaction: UUID, header: Header, amount: int | None = None) -> Posting:
    """
    Give back what ``transaction`` took: all that is not given back yet, or ``amount`` of it.

    ``available`` of the answer is how much was given back in whatever form (``amount`` of it reached
    grants, the rest shrank debts); it is less than asked where a grant was voided.

    :raises TransactionNotFound: there is no such transaction.
    :raises NotReversible: it is not one that takes credits for use.
    :raises AlreadyReversed: nothing of it is left to give back.
    :raises ExceedsTaken: ``amount`` is more than that.
    :raises NothingToRestore: all of it was voided or written off.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = _call(
        f"SELECT * FROM ledger_restore(%s, %s, %s, {HEADER})",
        (transaction, amount, _grace(), *header.parameters()),
    )
    return _posting(row, asked=amount or 0, missing=errors.TransactionNotFound)


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
    row = _call(
        f"SELECT * FROM ledger_take_back(%s, %s, {HEADER})",
        (transaction, partly, *header.parameters()),
    )
    return _posting(row, missing=errors.TransactionNotFound)


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
    row = _call(
        f"SELECT * FROM ledger_place_hold(%s::bigint[], %s, %s::text[], %s, {HEADER})",
        (_array(payers), amount, _array(types), expires_at, *header.parameters()),
    )
    return _posting(row, asked=amount)


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
    row = _call(
        f"SELECT * FROM ledger_settle_hold(%s, %s, %s, %s, {HEADER})",
        (hold, capture, caller, HoldStatus.RELEASED.value, *header.parameters()),
    )
    return _posting(row, asked=capture or 0, missing=errors.HoldNotFound, exceeds="hold")


def claw_back(*, grant: UUID, target: int, returned_minor: int, header: Header) -> Posting:
    """
    Say how many credits of a grant are to be taken back in all, and what of its money was returned.

    Both are cumulative over all refunds and chargebacks of the payment: more than before claws
    back, less reinstates (``header.kind`` says which it is called), the same changes nothing.

    :raises GrantNotFound: there is no such grant.
    :raises InvalidAmount: the target is not between 0 and the grant's amount.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = _call(
        f"SELECT * FROM ledger_claw_back(%s, %s, %s, %s, {HEADER})",
        (grant, target, returned_minor, _grace(), *header.parameters()),
    )
    return _posting(
        row, asked=target, missing=errors.GrantNotFound, exceeds="grant", settled=("nothing",)
    )


def write_off(*, wallet: int, amount: int, header: Header) -> Posting:
    """
    Strike ``amount`` credits of a wallet's debt off, the oldest debt first.

    :raises ExceedsDebt: less is owed.
    :raises WalletNotFound: the wallet does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = _call(
        f"SELECT * FROM ledger_write_off(%s, %s, {HEADER})", (wallet, amount, *header.parameters())
    )
    return _posting(row, asked=amount, exceeds="debt")


def void(*, wallet: int, types: Sequence[CreditType], header: Header) -> Posting | None:
    """
    Void what is left of a wallet's grants of ``types``; what is held follows when its hold ends.

    Return ``None`` when there was nothing unheld to take.

    :raises WalletNotFound: the wallet does not exist.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    row = _call(
        f"SELECT * FROM ledger_void(%s, %s::text[], {HEADER})",
        (wallet, _array(types), *header.parameters()),
    )
    posted = _posting(row, settled=("nothing",))
    return None if posted.outcome == "nothing" else posted


def freeze(*, grants: Sequence[UUID], frozen: bool, at: datetime) -> None:
    """Make grants unspendable while a chargeback of their payment is decided, or spendable again."""
    _call("SELECT ledger_freeze(%s::uuid[], %s, %s)", (_array(grants), frozen, at))


def expire(*, at: datetime, limit: int) -> tuple[int, int]:
    """Book the expiry of up to ``limit`` grants whose time is over; return grants and credits."""
    grants, credits = _call("SELECT * FROM ledger_expire(%s, %s)", (at, limit))
    return grants, credits


def release_expired_holds(*, at: datetime, limit: int) -> int:
    """Release up to ``limit`` holds whose time is over; return how many."""
    (count,) = _call("SELECT ledger_release_expired(%s, %s)", (at, limit))
    return count


def open_wallets(*, users: Sequence[int] = (), teams: Sequence[int] = ()) -> int:
    """Open a wallet for each of these users and teams that has none; return how many were opened."""
    (count,) = _call(
        "SELECT ledger_open_wallets(%s::bigint[], %s::bigint[])", (_array(users), _array(teams))
    )
    return count


def set_status(*, wallet: int, expected: str, status: str) -> bool:
    """Move a wallet from one status to another; false when it was not in the one expected."""
    (moved,) = _call("SELECT ledger_set_status(%s, %s, %s)", (wallet, expected, status))
    return moved


def erase_text(*, wallet: int, at: datetime) -> int:
    """Erase the free text of a wallet's transactions and holds for ever; return how many had any."""
    (count,) = _call("SELECT ledger_erase_text(%s, %s)", (wallet, at))
    return count


def again(header: Header, **changes: Any) -> Header:
    """Return ``header`` with ``changes``, for the second movement of one request."""
    return replace(header, **changes)


def _array(values: Sequence[object] | None) -> str | None:
    """Return a PostgreSQL array literal of numbers, UUIDs or plain codes: cheaper than a list parameter."""
    return None if values is None else "{" + ",".join(map(str, values)) + "}"


def _grace() -> timedelta:
    return timedelta(days=settings.CREDITS_GRACE_DAYS)


_kept = threading.local()


def _cursor() -> CursorWrapper:
    # A new cursor learns the types that it meets anew, and Django's composes each statement in
    # Python. One that is kept with its connection, sends parameters beside the statement and reads
    # instants by psycopg's own loader takes a third less of Python for a spend.
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    cursor: Cursor | None = getattr(_kept, "cursor", None)
    if cursor is None or cursor.connection is not database.connection:
        cursor = _kept.cursor = Cursor(database.connection)
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    wrapper = CursorDebugWrapper if database.queries_logged else CursorWrapper
    return wrapper(cursor, database)


def _call(sql: str, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    cursor = _cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchone()


def _call_many(sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    # Two calls that race with one key: the loser's insert violates the unique key, all it wrote is
    # rolled back, and asked again it finds what the winner wrote. Inside an outer transaction there
    # is nothing to retry in, so the violation is the caller's.
    for last in (False, False, True):
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall()
        except IntegrityError:
            if last or connection.in_atomic_block:
                raise
    raise AssertionError("unreachable")


def _posting(
    row: tuple[Any, ...],
    *,
    asked: int = 0,
    largest: int | None = None,
    missing: type[errors.NotFound] = errors.WalletNotFound,
    exceeds: str = "taken",
    settled: tuple[str, ...] = (),
) -> Posting:
    posted = Posting(*row)
    if posted.outcome in ("done", "replayed", *settled):
        return posted
    _refuse(posted, asked=asked, largest=largest, missing=missing, exceeds=exceeds)


def _refuse(
    posted: Posting,
    *,
    asked: int,
    largest: int | None,
    missing: type[errors.NotFound],
    exceeds: str,
) -> NoReturn:
    available = posted.available or 0
    match posted.outcome:
        case "insufficient":
            raise errors.InsufficientCredits(needed=asked, available=available)
        case "paused":
            raise errors.WalletPaused
        case "closed":
            raise errors.WalletClosed
        case "conflict":
            raise errors.IdempotencyKeyReused
        case "unknown":
            raise missing()
        case "not_your_hold":
            raise errors.NotYourHold
        case "not_open":
            raise errors.HoldNotOpen
        case "not_reversible":
            raise errors.NotReversible
        case "already_reversed":
            raise errors.AlreadyReversed
        case "partly_spent":
            raise errors.PartlySpent(available=available)
        case "nothing":
            raise errors.NothingToRestore
        case "too_large":
            assert largest is not None
            raise errors.BalanceTooLarge(largest=largest)
        case "exceeds" if exceeds == "hold":
            raise errors.ExceedsHold(asked=asked, held=available)
        case "exceeds" if exceeds == "debt":
            raise errors.ExceedsDebt(asked=asked, owed=available)
        case "exceeds" if exceeds == "grant":
            raise errors.InvalidAmount(
                f"Between 0 and {available:,} credits of the grant can be clawed back."
            )
        case "exceeds":
            raise errors.ExceedsTaken(asked=asked, open=available)
        case outcome:
            raise AssertionError(f"the engine answered {outcome!r}")
