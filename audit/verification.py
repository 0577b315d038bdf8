"""
The verifier: reads the record and says which of it is not as it was sealed.

A reader of its own, with psycopg, hashlib and cryptography: it needs no Django, no right but to
read, and no private key. What it holds the database against is what the database cannot change:
the checkpoints that are kept elsewhere, public keys, and what it saw itself the last time.
"""

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from audit import canonical, checkpoints
from audit.checkpoints import SignedHead
from audit.sources import Source

LINKS_AT_A_TIME = 10_000
BEFORE_ALL = -(2**63)  # Numbers count from 1, but whoever can edit them can make them any.
HASH_LENGTH = 32
HEADS = """
    SELECT number, timestamptz_send(at), hash, signatures::text FROM audit_checkpoint ORDER BY 1
"""

LINKS = f"""
    SELECT s.number, s.version, s.source::text, timestamptz_send(s.at), s.digest, s.previous_hash,
           s.hash, s.event_id, e.id, e.erased_at IS NOT NULL, {canonical.FIXED}, {canonical.TEXT}
    FROM audit_auditseal s LEFT JOIN audit_auditevent e ON e.id = s.event_id
    WHERE s.number > %s ORDER BY s.number LIMIT %s
"""  # noqa: S608

NOT_SEALED = """
    SELECT e.id, u.event_id IS NOT NULL FROM audit_auditevent e
    LEFT JOIN audit_auditseal s ON s.event_id = e.id
    LEFT JOIN audit_unsealedevent u ON u.event_id = e.id WHERE s.number IS NULL ORDER BY e.id
"""

WAITING_IN_VAIN = """
    SELECT u.event_id, e.id IS NULL FROM audit_unsealedevent u
    LEFT JOIN audit_auditevent e ON e.id = u.event_id
    WHERE e.id IS NULL OR EXISTS (SELECT FROM audit_auditseal s WHERE s.event_id = u.event_id)
    ORDER BY 1
"""

ERASURES = "SELECT after::text FROM audit_auditevent WHERE action = %s"

RANGES = """
    SELECT stream_id, first, last, digests FROM audit_sealedrange
    WHERE seal_id = %s AND source = %s ORDER BY stream_id, first
"""

OPEN_ROWS = """
    SELECT coalesce(sum(h.number - coalesce(s.last, 0)), 0)::int8 FROM ({heads}) AS h
    LEFT JOIN LATERAL (SELECT last FROM audit_sealedrange s WHERE s.source = %(source)s
                       AND s.stream_id = h.stream_id ORDER BY s.first DESC LIMIT 1) AS s ON true
    WHERE h.number > coalesce(s.last, 0)
"""


SEALED_RANGES = """
    (SELECT stream_id, first, last FROM audit_sealedrange WHERE seal_id = %s AND source = %s) AS r
"""

Fault = tuple[str, str]  # The kind of a Break, and the rest of its sentence.


@dataclass(frozen=True)
class Break:
    """
    One thing that is not as it was sealed, and where.

    ``kind`` is edited, deleted, inserted, missing (a seal), rewritten, behind, unsigned, signature
    or checkpoint.
    """

    kind: str
    says: str
    seal: int | None = None
    event: int | None = None


@dataclass(frozen=True)
class State:
    """What a verifier saw the last time: the head of the chain, and the keys it trusts since."""

    number: int
    hash: str
    keys: list[str]

    @classmethod
    def read(cls, path: Path) -> "State | None":
        return cls(**json.loads(path.read_text())) if path.exists() else None

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with draft.open("w") as file:
            file.write(json.dumps(asdict(self)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


@dataclass
class Report:
    """What was read, and everything in it that is broken."""

    seals: int = 0
    events: int = 0
    rows: int = 0
    unsealed: list[int] = field(default_factory=list)
    unsealed_rows: dict[str, int] = field(default_factory=dict)
    breaks: list[Break] = field(default_factory=list)
    state: State | None = None

    @property
    def is_sound(self) -> bool:
        return not self.breaks

    def add(
        self, kind: str, says: str, *, seal: int | None = None, event: int | None = None
    ) -> None:
        self.breaks.append(Break(kind, says, seal, event))


def verify(
    database: psycopg.Connection[Any],
    *,
    file: Path | None = None,
    state: State | None = None,
    public_keys: Collection[str] = (),
    sources: Collection[Source] = (),
) -> Report:
    """
    Read the whole record and hold it against ``file``, ``state`` and ``public_keys``.

    Where no key is named and no state is there, those of the first checkpoint are trusted. With
    ``sources``, the rows that the chain seals of them are read too. Open ``database`` with
    REPEATABLE READ, so that all is read in one snapshot.
    """
    report = Report()
    anchors = Anchors(report)
    if state:
        anchors.expect(state.number, bytes.fromhex(state.hash), "the last verification")
    # The file before the database: what is appended in between would look cut off.
    written = [*written_heads(report, file)] if file and file.exists() else []
    stored = [*stored_heads(database, report)]
    compare_heads(report, file, written, stored)
    heads = written + stored
    for head in heads:
        anchors.expect(head.number, head.hash, f"the checkpoint of {head.at:%Y-%m-%d %H:%M:%S} UTC")
    keys = trusted_keys(report, heads, state=state, public_keys=public_keys)
    chain = Chain(database, report, anchors)
    periods = chain.read()
    anchors.finish(last=chain.last, last_signed=max((head.number for head in heads), default=0))
    read_unsealed(database, report)
    for source in sources:
        read_source(database, report, source, [each for each in periods if each[1] == source.name])
    if report.is_sound and chain.last and chain.last_hash:
        report.state = State(chain.last, chain.last_hash.hex(), sorted(keys))
    return report


def select(
    database: psycopg.Connection[Any], statement: str, parameters: Any = None
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement; bytes come as they are, not spelled out."""
    cursor = psycopg.Cursor[tuple[Any, ...]](database, row_factory=tuple_row)
    cursor.execute(statement.encode(), parameters, binary=True)
    yield from cursor


# --- Checkpoints ----------------------------------------------------------------------------------
class Anchors:
    """Hashes that links must have, from outside of the chain."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.expected: dict[int, dict[bytes, str]] = {}
        self.kept = 0
        self.wrong: list[tuple[int, str]] = []

    def expect(self, number: int, hash: bytes, said_by: str) -> None:
        self.expected.setdefault(number, {}).setdefault(hash, said_by)

    def compare(self, number: int, hash: bytes) -> None:
        wrong = [by for expected, by in self.expected[number].items() if expected != hash]
        if wrong:
            self.wrong.append((number, wrong[0]))
        elif not self.wrong:
            self.kept = number

    def finish(self, *, last: int, last_signed: int) -> None:
        """Say where the chain is another than was signed, or ends too early or too late."""
        if self.wrong:
            number, by = self.wrong[0]
            self.report.add(
                "rewritten",
                f"records {self.kept + 1:,} to {number:,} are not those that {by} knows:"
                f" the chain was rewritten ({len(self.wrong):,} signed heads do not fit)",
                seal=number,
            )
        if ahead := [number for number in self.expected if number > last]:
            by = next(iter(self.expected[max(ahead)].values()))
            self.report.add(
                "behind",
                f"records {last + 1:,} to {max(ahead):,} are missing, which {by} knows: the end was"
                " cut off, or an older backup restored",
                seal=last + 1,
            )
        if last > last_signed:
            self.report.add(
                "unsigned",
                f"records {last_signed + 1:,} to {last:,} are sealed, and nobody signed that",
                seal=last_signed + 1,
            )


def compare_heads(
    report: Report, file: Path | None, written: list[SignedHead], stored: list[SignedHead]
) -> None:
    """Say which heads of the file the database lost; the last ones the file may not have yet."""
    if file and not file.exists() and len(stored) > 1:
        report.add("checkpoint", f"{file} is not there")
    numbers = {head.number for head in stored}
    last = max(numbers, default=0)
    for head in written:
        if head.number < last and head.number not in numbers:
            report.add(
                "checkpoint",
                f"checkpoint {head.number:,} of the file is not in the database",
                seal=head.number,
            )


def written_heads(report: Report, file: Path) -> Iterator[SignedHead]:
    """Yield the heads of the file of checkpoints."""
    for head in checkpoints.read(file):
        if isinstance(head, SignedHead):
            yield head
        else:
            report.add("checkpoint", f"a line of {file.name} is no checkpoint: {head[:60]!r}")


def stored_heads(database: psycopg.Connection[Any], report: Report) -> Iterator[SignedHead]:
    """Yield the heads that the database has of itself."""
    for number, at, hash, signatures in select(database, HEADS):
        try:
            yield SignedHead(number, canonical.of_instant(at), hash, dict(json.loads(signatures)))
        except (ValueError, TypeError, OverflowError):
            report.add("checkpoint", f"checkpoint {number:,} of the database cannot be read")


def trusted_keys(
    report: Report,
    heads: list[SignedHead],
    *,
    state: State | None,
    public_keys: Collection[str],
) -> frozenset[str]:
    """
    Check every signature, and return the keys trusted in the end.

    What a trusted key signs together with a new one makes the new one trusted, and what no longer
    signs ends being so. Heads of before ``state`` were trusted then.
    """
    trusted = frozenset(public_keys) | frozenset(state.keys if state else ())
    seen = state.number if state else 0
    checked: set[bytes] = set()
    for head in sorted(heads, key=lambda head: head.number):
        if (line := head.line()) in checked:
            continue
        checked.add(line)
        signers = head.signers()
        if not signers:
            report.add(
                "signature",
                f"the signature of checkpoint {head.number:,} is false",
                seal=head.number,
            )
        elif head.number > seen:
            trusted = trusted or signers
            if signers & trusted:
                trusted = signers
            else:
                report.add(
                    "signature",
                    f"checkpoint {head.number:,} is signed by a key that is not trusted",
                    seal=head.number,
                )
    return trusted


# --- The chain ------------------------------------------------------------------------------------
class Chain:
    """Reads the links in order, each with what it seals."""

    def __init__(self, database: psycopg.Connection[Any], report: Report, anchors: Anchors) -> None:
        self.database, self.report, self.anchors = database, report, anchors
        self.erased = erased_events(database)
        self.periods: list[tuple[int, str, bytes]] = []
        self.last = 0
        self.last_hash: bytes | None = canonical.GENESIS  # None: it cannot be told.

    def read(self) -> list[tuple[int, str, bytes]]:
        """Check every link, and return those of sources: number, name and digest."""
        after = BEFORE_ALL
        while rows := [*select(self.database, LINKS, [after, LINKS_AT_A_TIME])]:
            for row in rows:
                self.check(Link._make(row))
            self.report.seals += len(rows)
            after = rows[-1][0]
        return self.periods

    def check(self, link: "Link") -> None:
        fault = self.fault(link)
        if link.number <= self.last:
            fault = "edited", "does not count"
        elif link.number > self.last + 1:
            says = missing(self.last + 1, link.number - 1)
            self.report.add("missing", says, seal=self.last + 1)
        elif not fault and self.last_hash and link.previous_hash != self.last_hash:
            fault = "edited", "does not follow the one before: one of them was sealed anew"
        if fault:
            kind, says = fault
            event = link.event_id
            about = f" (event {event})" if event is not None else ""
            says = f"record {link.number:,}{about} {says}"
            self.report.add(kind, says, seal=link.number, event=event)
        elif link.number in self.anchors.expected:
            self.anchors.compare(link.number, link.hash)
        self.last, self.last_hash = max(link.number, self.last), None if fault else link.hash

    def fault(self, link: "Link") -> Fault | None:
        """Return what is wrong with a link by itself."""
        if link.version != canonical.VERSION:
            return "edited", "is sealed in a way that is not known"
        is_event = link.source == canonical.EVENTS
        if not is_event:
            self.periods.append((link.number, link.source, link.digest))
        elif link.found_id is None:
            return "deleted", "is deleted"
        expected = canonical.link_hash(
            previous=link.previous_hash,
            number=link.number,
            at=link.at,
            source=link.source,
            digest=link.digest,
            fixed=link.fixed if is_event else b"",
        )
        if expected != link.hash:
            return "edited", "or its seal was edited"
        return self.fault_of_text(link) if is_event else None

    def fault_of_text(self, link: "Link") -> Fault | None:
        self.report.events += 1
        if not link.is_erased:
            same = canonical.text_digest(link.text) == link.digest
            return None if same else ("edited", "was edited in its text")
        if link.text != canonical.ERASED_TEXT:
            return "edited", "was edited after its text was erased"
        if link.found_id not in self.erased:
            return "edited", "lost its text, and no erasure says so"
        return None


class Link(NamedTuple):
    """A row of ``LINKS``."""

    number: int
    version: int
    source: str
    at: bytes
    digest: bytes
    previous_hash: bytes
    hash: bytes
    event_id: int | None
    found_id: int | None
    is_erased: bool
    fixed: bytes
    text: bytes


def missing(first: int, last: int) -> str:
    return (
        f"record {first:,} is missing"
        if first == last
        else f"records {first:,} to {last:,} are missing"
    )


def erased_events(database: psycopg.Connection[Any]) -> set[int]:
    """Return the events whose erasure the record itself tells of."""
    found: set[int] = set()
    for (after,) in select(database, ERASURES, [canonical.ERASURE]):
        events = json.loads(after or "null")
        if isinstance(events, dict) and isinstance(events.get("events"), list):
            found.update(event for event in events["events"] if isinstance(event, int))
    return found


def read_unsealed(database: psycopg.Connection[Any], report: Report) -> None:
    """Tell events that wait for their seal from those that got in past it."""
    for event, is_waiting in select(database, NOT_SEALED):
        if is_waiting:
            report.unsealed.append(event)
        else:
            report.add("inserted", f"event {event} got in without waiting for a seal", event=event)
    for event, is_gone in select(database, WAITING_IN_VAIN):
        if is_gone:
            report.add("deleted", f"event {event} was deleted before it was sealed", event=event)
        else:
            report.add("inserted", f"event {event} waits for a second seal", event=event)


# --- Sources --------------------------------------------------------------------------------------
def read_source(
    database: psycopg.Connection[Any],
    report: Report,
    source: Source,
    periods: list[tuple[int, str, bytes]],
) -> None:
    """Check every row of ``source`` that the chain seals."""
    for seal, _, digest in periods:
        ranges = [*select(database, RANGES, [seal, source.name])]
        if canonical.ranges_digest(ranges) != digest:
            report.add(
                "edited", f"record {seal:,}: its {source.name} digests were edited", seal=seal
            )
        else:
            compare_rows(database, report, source, seal, ranges)
    ((report.unsealed_rows[source.name],),) = select(
        database, OPEN_ROWS.format(heads=source.heads), {"source": source.name}
    )


def compare_rows(
    database: psycopg.Connection[Any],
    report: Report,
    source: Source,
    seal: int,
    ranges: list[tuple[int, int, int, bytes]],
) -> None:
    expected = {
        (stream, first + i): digests[i * HASH_LENGTH : (i + 1) * HASH_LENGTH]
        for stream, first, last, digests in ranges
        for i in range(last - first + 1)
    }
    report.rows += len(expected)
    rows = select(database, source.rows_in(SEALED_RANGES), [seal, source.name])
    for stream, number, covered, digest, salt, text, is_erased in rows:
        same = canonical.row_digest(covered) == expected.pop((stream, number), None)
        if not same or not is_text_right(source, digest, salt, text, is_erased):
            says = f"{source.name} {stream}: number {number:,} was edited"
            report.add("edited", says, seal=seal)
    for stream, number in expected:
        report.add("deleted", f"{source.name} {stream}: number {number:,} is deleted", seal=seal)


def is_text_right(
    source: Source, digest: bytes | None, salt: bytes | None, text: str, is_erased: bool
) -> bool:
    """Say whether the free text of a row is that of its digest, or is erased or was never there."""
    if salt is None:
        return text == source.no_text and (digest is None or is_erased)
    return canonical.row_text_digest(salt, text) == digest
