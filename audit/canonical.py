"""
What is hashed and signed. Sealer and verifier share it; it needs no Django.

Rows are hashed as PostgreSQL sends them (``record_send``): the number of columns, and of each its
type, its length (-1 for NULL) and its bytes. Every digest is SHA-256 and begins with what it is of
and ``VERSION``, so that none can be taken for another.
"""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

VERSION = 1
GENESIS = bytes(32)  # What the first link is linked to.
EVENTS = "audit"
ERASURE = "audit.text.erased"

# What never changes of an event, and what may be erased, with the salt. Types are pinned, so that a
# later migration of a column changes no byte.
FIXED = """record_send(ROW(
    e.id::int8, e.at::timestamptz, e.action::text, e.actor_id::int8, e.on_behalf_of_id::int8,
    e.target_type::text, e.target_id::text, e.request_id::text, e.approval_id::int8))"""
TEXT = """record_send(ROW(
    e.text_salt::uuid, e.actor_label::text, e.on_behalf_of_label::text, e.target_label::text,
    e.before::jsonb, e.after::jsonb, e.reason::text, e.address::inet))"""
# The text of an event whose text was erased: the type of each column, and NULL or nothing.
UUID_OID, TEXT_OID, JSONB_OID, INET_OID = 2950, 25, 3802, 869
ERASED_TEXT = struct.pack(
    ">i 2i 2i 2i 2i 2i 2i 2i 2i",
    8,
    *(UUID_OID, -1, TEXT_OID, 0, TEXT_OID, 0, TEXT_OID, 0),
    *(JSONB_OID, -1, JSONB_OID, -1, TEXT_OID, 0, INET_OID, -1),
)

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def tag(what: str) -> bytes:
    """Return what a digest of ``what`` begins with."""
    return f"creditsite audit {what}\0".encode() + bytes([VERSION])


TEXT_TAG, SEAL_TAG, ROW_TAG = tag("text"), tag("seal"), tag("row")
PERIOD_TAG, CHECKPOINT_TAG = tag("period"), tag("checkpoint")

_pack_number = struct.Struct(">qi").pack


def instant(at: datetime) -> bytes:
    """Return an instant as PostgreSQL sends it: microseconds since the year 2000."""
    return struct.pack(">q", (at - EPOCH) // MICROSECOND)


def of_instant(sent: bytes) -> datetime:
    """Return the instant that PostgreSQL sent."""
    return EPOCH + int.from_bytes(sent, "big", signed=True) * MICROSECOND


def text_digest(text: bytes) -> bytes:
    """Digest an event's text, salt first, as it was sent."""
    return sha256(TEXT_TAG + text).digest()


def link_hash(
    *, previous: bytes, number: int, at: bytes, source: str, digest: bytes, fixed: bytes
) -> bytes:
    """Hash a link of the chain; ``at`` as PostgreSQL sends it, ``fixed`` empty but for an event."""
    name = source.encode()
    return sha256(
        SEAL_TAG + previous + at + _pack_number(number, len(name)) + name + digest + fixed
    ).digest()


def row_digest(covered: bytes) -> bytes:
    """Digest what is sealed of one row of a source."""
    return sha256(ROW_TAG + covered).digest()


def row_text_digest(salt: bytes, text: str) -> bytes:
    """Digest the free text of a row as its source does."""
    return sha256(salt + text.encode()).digest()


def ranges_digest(ranges: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    """Digest a period: stream, first and last number and the digests of each of its ranges."""
    digest = sha256(PERIOD_TAG)
    for stream, first, last, digests in ranges:
        digest.update(struct.pack(">qqqi", stream, first, last, len(digests)) + digests)
    return digest.digest()


def checkpoint_bytes(*, number: int, at: datetime, hash: bytes) -> bytes:
    """Return what is signed of a checkpoint."""
    return CHECKPOINT_TAG + struct.pack(">q", number) + instant(at) + hash
