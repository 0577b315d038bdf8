"""Events, seals, and hands that tamper with them, in as few words as possible."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction

from audit.models import AuditEvent, AuditSeal, Checkpoint, SealedRange
from audit.services import record
from audit.sources import SOURCES
from audit.verification import Break, Report, verify
from creditsite.testing import check_deferred

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TABLES = [
    "audit_auditevent",
    "audit_auditseal",
    "audit_sealedrange",
    "audit_checkpoint",
    "audit_unsealedevent",
]


def events(number: int, **fields: Any) -> list[AuditEvent]:
    return [an_event(**fields) for _ in range(number)]


def an_event(**fields: Any) -> AuditEvent:
    target = fields.pop("target", None) or Group(pk=7, name="bob@example.com")
    fields = {"actor": None, "at": AT, "reason": "asked by the user", **fields}
    with transaction.atomic():
        return record("accounts.user.activated", target=target, **fields)


def checked(directory: Path, *, ledger: bool = False, **options: Any) -> Report:
    """Verify the record as the test's own connection sees it."""
    connection.ensure_connection()
    options.setdefault("file", directory / "checkpoints.jsonl")
    return verify(connection.connection, sources=SOURCES.values() if ledger else (), **options)


def breaks(directory: Path, **options: Any) -> list[Break]:
    return checked(directory, **options).breaks


def kinds(directory: Path, **options: Any) -> list[str]:
    return [each.kind for each in breaks(directory, **options)]


def located(directory: Path, **options: Any) -> list[tuple[str, int | None]]:
    return [(each.kind, each.seal) for each in breaks(directory, **options)]


def execute(statement: str, *parameters: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


@contextmanager
def superuser(*tables: str) -> Iterator[None]:
    """Switch the triggers of the record off, as only who owns the tables can."""
    check_deferred()
    for table in tables or TABLES:
        execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    check_deferred()
    for table in tables or TABLES:
        execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def tamper(statement: str, *parameters: Any) -> None:
    with superuser():
        assert execute(statement, *parameters) > 0


def tear_off_seals(after: int = 0) -> None:
    """Delete every trace that the database has of seals beyond a number."""
    with superuser():
        SealedRange.objects.filter(seal_id__gt=after).delete()
        Checkpoint.objects.filter(number__gt=after).delete()
        execute(
            "INSERT INTO audit_unsealedevent SELECT event_id FROM audit_auditseal"
            " WHERE number > %s AND event_id IS NOT NULL",
            after,
        )
        execute("DELETE FROM audit_auditseal WHERE number > %s", after)


def seal_numbers() -> list[int]:
    return list(AuditSeal.objects.order_by("number").values_list("number", flat=True))
