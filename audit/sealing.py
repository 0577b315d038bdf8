"""
The sealer: numbers, chains and signs what was recorded, in rows of its own.

One at a time, by an advisory lock. A run commits its seals and their signed head before it appends
the head to the file elsewhere; what a crash leaves out there, the next run appends first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from audit import canonical, checkpoints
from audit.models import AuditSeal, Checkpoint
from audit.sources import SOURCES, Source

EVENTS_AT_A_TIME = 10_000
STREAMS_AT_A_TIME = 5_000
ROWS_AT_A_TIME = 50_000
LOCK = int.from_bytes(b"sealaudt", "big", signed=True)

# How often a source is sealed, and how far back a run looks for streams that moved. What took
# longer to commit is found by the first run of each hour, which asks every stream.
PERIOD = timedelta(minutes=1)
OVERLAP = timedelta(minutes=5)

TAKE_EVENTS = f"""
    WITH waiting AS (
        SELECT event_id FROM audit_unsealedevent WHERE event_id > %s ORDER BY event_id LIMIT %s),
    taken AS (
        DELETE FROM audit_unsealedevent u USING waiting w, audit_auditevent e
        WHERE u.event_id = w.event_id AND e.id = u.event_id
        AND NOT EXISTS (SELECT FROM audit_auditseal s WHERE s.event_id = u.event_id)
        RETURNING u.event_id)
    SELECT e.id, {canonical.FIXED}, {canonical.TEXT}
    FROM taken JOIN audit_auditevent e ON e.id = taken.event_id ORDER BY e.id
"""  # noqa: S608

GIVEN_RANGES = """
    unnest(%(streams)s::int8[], %(firsts)s::int8[], %(lasts)s::int8[]) AS r(stream_id, first, last)
"""

OPEN_RANGES = """
    SELECT h.stream_id, coalesce(s.last, 0), h.number FROM ({heads}) AS h
    LEFT JOIN LATERAL (SELECT last FROM audit_sealedrange s WHERE s.source = %(source)s
                       AND s.stream_id = h.stream_id ORDER BY s.first DESC LIMIT 1) AS s ON true
    WHERE h.stream_id > %(after)s AND h.number > coalesce(s.last, 0)
    ORDER BY h.stream_id LIMIT %(limit)s
"""


class SealingRefused(Exception):
    """Nothing was sealed, because what is there does not fit what was signed before."""


Link = tuple[int, int, str, datetime, int | None, bytes, bytes, bytes]
Range = tuple[int, int, int, bytes]  # stream, first, last, digests


@dataclass
class Head:
    """The end of the chain while links are added to it."""

    number: int
    hash: bytes


@dataclass(frozen=True)
class Sealed:
    """What a run sealed, and the head that it left signed; none where there was nothing."""

    events: int
    rows: int
    head: checkpoints.SignedHead | None


def signer() -> checkpoints.Signer:
    """
    Return the signer of ``AUDIT_SIGNING_KEY_FILE``; a demo makes its key.

    :raises BadKeyFile: it is not set, or cannot be read.
    """
    if not settings.AUDIT_SIGNING_KEY_FILE:
        raise checkpoints.BadKeyFile("AUDIT_SIGNING_KEY_FILE is not set")
    path = Path(settings.AUDIT_SIGNING_KEY_FILE)
    if settings.DEMO and not path.exists():
        checkpoints.make_key(path)
    return checkpoints.Signer(path)


def seal(*, at: datetime, due_only: bool = False) -> Sealed | None:
    """
    Seal every event that is committed, and of every source what came since it was last sealed.

    ``due_only`` leaves sources alone that were sealed less than a minute ago. Returns ``None`` when
    another sealer is at work. Call it outside of a transaction.

    :raises SealingRefused: the database is behind the file of checkpoints, or a stream has a gap.
    :raises BadKeyFile: the signing key cannot be read.
    """
    key, file = signer(), Path(settings.AUDIT_CHECKPOINT_FILE)
    # Read before the database is: what is in the file was committed, so it must be found.
    written = checkpoints.last_of(file)
    refuse_if_behind(written)
    sealed = seal_and_sign(at=at, key=key, due_only=due_only)
    if sealed is not None:
        append_missing(file, after=written.number if written else 0)
    return sealed


def refuse_if_behind(written: checkpoints.SignedHead | None) -> None:
    """:raises SealingRefused: the file knows a head that the database does not."""
    if written is None:
        return
    known = Checkpoint.objects.filter(pk=written.number).first()
    if known is None or bytes(known.hash) != written.hash:
        raise SealingRefused(
            f"Record {written.number:,} was signed at {written.at:%Y-%m-%d %H:%M:%S}, and the"
            " database does not have it: it was rolled back or rewritten. Run verify_audit."
        )


def append_missing(file: Path, *, after: int) -> None:
    """Append to the file every head that it does not have."""
    heads = Checkpoint.objects.filter(number__gt=after).order_by("number")
    if missing := [signed_head(checkpoint) for checkpoint in heads]:
        file.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.append(file, missing)


def signed_head(checkpoint: Checkpoint) -> checkpoints.SignedHead:
    return checkpoints.SignedHead(
        number=checkpoint.number,
        at=checkpoint.at,
        hash=bytes(checkpoint.hash),
        signatures=checkpoint.signatures,
    )


@transaction.atomic(durable=True)
def seal_and_sign(*, at: datetime, key: checkpoints.Signer, due_only: bool) -> Sealed | None:
    if not locked():
        return None
    last = AuditSeal.objects.order_by("-number").first()
    head = Head(last.number, bytes(last.hash)) if last else Head(0, canonical.GENESIS)
    begin = head.number
    events = seal_events(head, at=at)
    rows = sum(seal_source(head, source, at=at, due_only=due_only) for source in SOURCES.values())
    if head.number == begin:
        return Sealed(events=0, rows=0, head=None)
    signed = key.sign(number=head.number, at=at, hash=head.hash)
    Checkpoint.objects.create(
        number=signed.number, at=at, hash=signed.hash, signatures=signed.signatures
    )
    return Sealed(events=events, rows=rows, head=signed)


def locked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def seal_events(head: Head, *, at: datetime) -> int:
    """Seal every waiting event that is visible; one that commits later waits for the next run."""
    after, begin = 0, head.number
    while True:
        with connection.cursor() as cursor:
            cursor.execute(TAKE_EVENTS, [after, EVENTS_AT_A_TIME])
            taken = cursor.fetchall()
        write_links(
            [
                link(
                    head,
                    source=canonical.EVENTS,
                    at=at,
                    event_id=event_id,
                    digest=canonical.text_digest(text),
                    fixed=fixed,
                )
                for event_id, fixed, text in taken
            ]
        )
        if not taken:
            return head.number - begin
        after = taken[-1][0]


def link(
    head: Head,
    *,
    source: str,
    at: datetime,
    event_id: int | None,
    digest: bytes,
    fixed: bytes = b"",
) -> Link:
    """Move ``head`` on by one link, and return the link's row."""
    previous = head.hash
    head.number += 1
    head.hash = canonical.link_hash(
        previous=previous,
        number=head.number,
        at=canonical.instant(at),
        source=source,
        digest=digest,
        fixed=fixed,
    )
    return (head.number, canonical.VERSION, source, at, event_id, digest, previous, head.hash)


def write_links(links: list[Link]) -> None:
    copy_in(
        "audit_auditseal (number, version, source, at, event_id, digest, previous_hash, hash)",
        "int8 int2 varchar timestamptz int8 bytea bytea bytea",
        links,
    )


def seal_source(head: Head, source: Source, *, at: datetime, due_only: bool) -> int:
    """Seal what came to ``source``; answer the number of its rows."""
    last = AuditSeal.objects.filter(source=source.name).order_by("-number").first()
    if last and due_only and at < last.at + PERIOD:
        return 0
    is_recent = due_only and last and same_hour(last.at, at)
    heads = source.recent if is_recent else source.heads
    since = first_uuid7(last.at - OVERLAP) if last else first_uuid7(at)
    rows = 0
    for ranges in open_ranges(source, heads=heads, since=since):
        sealed = [*digested(source, ranges)]
        digest = canonical.ranges_digest(sealed)
        write_links([link(head, source=source.name, at=at, event_id=None, digest=digest)])
        copy_in(
            "audit_sealedrange (seal_id, source, stream_id, first, last, digests)",
            "int8 varchar int8 int8 int8 bytea",
            [(head.number, source.name, *each) for each in sealed],
        )
        rows += sum(last - first + 1 for _, first, last, _ in sealed)
    return rows


def same_hour(first: datetime, second: datetime) -> bool:
    return first.replace(minute=0, second=0, microsecond=0) == second.replace(
        minute=0, second=0, microsecond=0
    )


def first_uuid7(at: datetime) -> UUID:
    """Return the smallest UUIDv7 of the millisecond of ``at``."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def open_ranges(source: Source, *, heads: str, since: UUID) -> Iterator[list[tuple[int, int, int]]]:
    """Yield what is not sealed: stream, first and last number, a bounded number of rows at once."""
    after, part, rows = -1, [], 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                OPEN_RANGES.format(heads=heads),
                {"source": source.name, "since": since, "after": after, "limit": STREAMS_AT_A_TIME},
            )
            streams = cursor.fetchall()
        for stream, sealed, number in streams:
            while sealed < number:
                last = min(number, sealed + ROWS_AT_A_TIME - rows)
                part.append((stream, sealed + 1, last))
                rows += last - sealed
                sealed = last
                if rows == ROWS_AT_A_TIME:
                    yield part
                    part, rows = [], 0
        if len(streams) < STREAMS_AT_A_TIME:
            break
        after = streams[-1][0]
    if part:
        yield part


def digested(source: Source, ranges: list[tuple[int, int, int]]) -> Iterator[Range]:
    """
    Yield each range with the digests of its rows.

    :raises SealingRefused: a row of it is missing.
    """
    streams, firsts, lasts = (list(column) for column in zip(*ranges, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            source.rows_in(GIVEN_RANGES), {"streams": streams, "firsts": firsts, "lasts": lasts}
        )
        for stream, first, last in ranges:
            digests = []
            for number in range(first, last + 1):
                found_stream, found_number, covered, *_ = cursor.fetchone() or (0, 0, b"")
                if (found_stream, found_number) != (stream, number):
                    raise SealingRefused(f"{source.name} {stream}: number {number:,} is missing")
                digests.append(canonical.row_digest(covered))
            yield stream, first, last, b"".join(digests)


def copy_in(table: str, types: str, rows: list[tuple]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(types.split())
        for row in rows:
            copy.write_row(row)
