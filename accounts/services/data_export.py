"""Everything we hold about one person, as JSON for themselves: nothing of other people's."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from accounts.personal_data import KEEPERS, Section
from audit import services as audit

PERMISSION = "accounts.export_user"
SCHEMA = "creditsite.personal-data"
VERSION = 1


@transaction.atomic
def export_user(*, user: User, actor: User, reason: str, at: datetime) -> Iterator[str]:
    """
    Record that ``actor`` exports the data of ``user``, and return the document, in pieces.

    Who exports their own needs neither permission nor reason.

    :raises NotPermitted: ``actor`` may not.
    """
    if actor.pk != user.pk:
        require(actor, PERMISSION)
    audit.record("accounts.user.exported", actor=actor, target=user, at=at, reason=reason)
    return document_of(user, at)


def document_of(user: User, at: datetime) -> Iterator[str]:
    """Yield the pieces of the document; rows are read while it is sent, and never all at once."""
    head = {"schema": SCHEMA, "version": VERSION, "exported_at": at}
    yield "{" + encoder.encode(head)[1:-1]
    for keeper in KEEPERS:
        for name, section in keeper.export(user, at).items():
            yield f',\n"{name}": '
            yield from _pieces(section)
    yield "}\n"


def _pieces(section: Section) -> Iterator[str]:
    if isinstance(section, Mapping):
        yield encoder.encode(section)
        return
    yield "["
    for number, row in enumerate(section):
        yield (",\n" if number else "") + encoder.encode(row)
    yield "]"


def _text(value: Any) -> str:
    """Return what JSON has no word for: instants in UTC, exact decimals, ids."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


encoder = json.JSONEncoder(default=_text)
