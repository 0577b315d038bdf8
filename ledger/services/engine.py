"""How the engine in ``ledger/sql`` is called, and what it answers; ``posting`` alone does."""

import json
import threading
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn, Self
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from psycopg import Cursor
from psycopg.abc import Params
from psycopg.errors import UniqueViolation
from psycopg.types.datetime import TimestamptzLoader

from ledger import errors
from ledger.choices import TransactionKind

HEADER = "ROW(%s, %s, %s, %s, %s, %s, %s, NULL, NULL, %s, %s, %s, %s, %s, %s, %s)::ledger_header"
LARGEST_AMOUNT = 1_000_000_000


class Header(NamedTuple):
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
            array(self.price_ids),
            array(self.quantities),
            self.reference_id,
            self.description,
            self.project,
            None if self.metadata is None else json.dumps(self.metadata),
        )


class Posting(NamedTuple):
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
        return (self.award or 0) + (self.partner or 0) + (self.purchase or 0)


def array(values: Sequence[object] | None) -> str | None:
    """Return a PostgreSQL array literal of plain values: cheaper than a list parameter."""
    return None if values is None else "{" + ",".join(map(str, values)) + "}"


_kept = threading.local()


class _PreparingCursor(Cursor):
    """The server parses each statement once a connection, and describes its answer once."""

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        return super().execute(query, params, **options | {"prepare": True})


def _cursor() -> CursorWrapper:
    # A new cursor learns the types that it meets anew, and Django's composes each statement in
    # Python. One that is kept with its connection, sends parameters beside the statement and reads
    # instants by psycopg's own loader takes a third less of Python for a spend.
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    cursor: Cursor | None = getattr(_kept, "cursor", None)
    if cursor is None or cursor.connection is not database.connection:
        cursor = _kept.cursor = _PreparingCursor(database.connection)
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    wrapper = CursorDebugWrapper if database.queries_logged else CursorWrapper
    return wrapper(cursor, database)


def call(sql: str, parameters: Sequence[Any]) -> tuple[Any, ...]:
    """Return the one row that the engine answers a request with."""
    return call_many(sql, parameters)[0]


def call_many(sql: str, parameters: Sequence[Any], retries: int = 2) -> list[tuple[Any, ...]]:
    """
    Return the rows that the engine answers requests with.

    A call that raced another with the same key may violate the unique key; all it wrote is rolled
    back, and asked again it finds what the winner wrote. Inside an outer transaction there is
    nothing to retry in.

    :raises IntegrityError: the books refuse what the engine did not foresee.
    """
    try:
        cursor = _cursor()
        cursor.execute(sql, parameters)
        return cursor.fetchall()
    except IntegrityError as error:
        is_race = isinstance(error.__cause__, UniqueViolation) and not connection.in_atomic_block
        if not (is_race and retries):
            raise
    return call_many(sql, parameters, retries - 1)


def posting_of(
    row: tuple[Any, ...],
    *,
    asked: int = 0,
    largest: int | None = None,
    missing: type[errors.NotFound] = errors.WalletNotFound,
    nothing: type[errors.Conflict] = errors.NothingToRestore,
    exceeds: str = "taken",
    settled: tuple[str, ...] = (),
) -> Posting:
    """
    Return what the engine did, or raise the refusal that it named.

    :param missing: what an unknown subject of the request is called.
    :param nothing: what it is called when there was nothing to do.
    :param exceeds: of what the amount was too much: ``taken``, ``hold``, ``debt`` or ``grant``.
    :param settled: further outcomes that are no refusal.
    """
    posted = Posting._make(row)
    if posted.outcome not in ("done", "replayed", *settled):
        _refuse(
            posted,
            asked=asked,
            largest=largest,
            missing=missing,
            nothing=nothing,
            exceeds=exceeds,
        )
    return posted


def _refuse(
    posted: Posting,
    *,
    asked: int,
    largest: int | None,
    missing: type[errors.NotFound],
    nothing: type[errors.Conflict],
    exceeds: str,
) -> NoReturn:
    available = posted.available or 0
    match posted.outcome:
        case "insufficient":
            raise errors.InsufficientCredits(needed=asked, available=available)
        case "paused":
            raise errors.WalletPaused
        case "switched_off":
            raise errors.CreditsDisabled
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
            raise nothing()
        case "too_large":
            raise errors.BalanceTooLarge(largest=largest or 0)
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
