"""How requests are known: the digest of the idempotency key, the fingerprint of what was asked."""

import hashlib
import json
import uuid
from datetime import UTC, datetime


def digest(caller: str, key: str) -> uuid.UUID:
    """
    Return the digest by which the books know ``key`` of ``caller``, for ever.

    ``caller`` is ``user:<id>``, ``key:<id>`` or ``system``. ``ledger_key`` in
    ``ledger/sql/ids.sql`` computes the same.
    """
    return uuid.UUID(bytes=hashlib.sha256(f"{caller}\x1f{key}".encode()).digest()[:16])


def fresh(caller: str) -> uuid.UUID:
    """Return the digest of a key nobody else has, for a request that brought none."""
    return digest(caller, str(uuid.uuid4()))


def fingerprint(act: str, *parts: object) -> uuid.UUID:
    """Return a digest that tells requests apart: the same key may only repeat the same."""
    text = _encoder.encode([act, *parts])
    return uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


def _text(value: object) -> str:
    """Return ``value`` as text: an instant is the same in whatever time zone it is told."""
    return str(value.astimezone(UTC) if isinstance(value, datetime) else value)


# Made once: json.dumps would make one for every spend.
_encoder = json.JSONEncoder(sort_keys=True, default=_text, separators=(",", ":"))
