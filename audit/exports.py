"""Events as files, for those who read them elsewhere."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Model, QuerySet

from audit.models import AuditEvent
from audit.services import record
from creditsite.csvfiles import csv_lines

ROWS_AT_A_TIME = 2_000


def columns_of(event: AuditEvent) -> dict[str, Any]:
    """Return an event as both kinds of file have it."""
    seal = getattr(event, "seal", None)
    return {
        "id": event.pk,
        "at": event.at,
        "event": str(event),
        "action": event.action,
        "actor_id": event.actor_id,
        "actor": event.actor_label,
        "on_behalf_of_id": event.on_behalf_of_id,
        "on_behalf_of": event.on_behalf_of_label,
        "target_type": event.target_type,
        "target_id": event.target_id,
        "target": event.target_label,
        "before": event.before,
        "after": event.after,
        "reason": event.reason,
        "request_id": event.request_id,
        "address": event.address,
        "approval_id": event.approval_id,
        "erased_at": event.erased_at,
        "seal": seal.number if seal else None,
        "hash": bytes(seal.hash).hex() if seal else None,
    }


def as_csv(events: Iterator[AuditEvent]) -> Iterator[str]:
    """Yield the lines of a CSV file; what is not text or a number is JSON in its cell."""
    header = list(columns_of(AuditEvent()))
    yield from csv_lines(header, (map(cell, columns_of(event).values()) for event in events))


def cell(value: Any) -> Any:
    return to_json(value) if isinstance(value, dict | list) else value


def as_json(events: Iterator[AuditEvent]) -> Iterator[str]:
    """Yield the lines of a JSON list."""
    yield "["
    separator = "\n"
    for event in events:
        yield separator + to_json(columns_of(event))
        separator = ",\n"
    yield "\n]\n"


def to_json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)


@dataclass(frozen=True)
class Format:
    content_type: str
    lines: Callable[[Iterator[AuditEvent]], Iterator[str]]


FORMATS = {
    "csv": Format("text/csv; charset=utf-8", as_csv),
    "json": Format("application/json", as_json),
}


@transaction.atomic
def export_events(
    *,
    events: QuerySet[AuditEvent],
    format: str,
    filters: Mapping[str, str],
    actor: Model,
    reason: str,
    at: datetime,
) -> Iterator[str]:
    """
    Return the lines of a file of ``events``, and record who took it and what they chose.

    They are read while the file is sent, oldest first, up to the last that was there before.
    """
    last = events.order_by("-pk").first()
    events = events.filter(pk__lte=last.pk if last else 0).order_by("pk")
    record(
        "audit.exported",
        actor=actor,
        target=f"{events.count():,} audit events",
        at=at,
        reason=reason,
        after={"format": format, "filters": dict(filters)},
    )
    return FORMATS[format].lines(events.select_related("seal").iterator(ROWS_AT_A_TIME))
