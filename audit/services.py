"""Writing the record: in the same database transaction as the act, or not at all."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model

from audit.actions import ACTIONS
from audit.context import current_request
from audit.models import AuditEvent

SYSTEM = "The system"
LABEL_LENGTH = 254


def label_of(instance: Model | None, default: str = "") -> str:
    return str(instance)[:LABEL_LENGTH] if instance else default


def record(
    action: str,
    *,
    actor: Model | None,
    target: Model,
    at: datetime,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    on_behalf_of: Model | None = None,
    approval_id: int | None = None,
) -> AuditEvent:
    """
    Record that ``actor`` (``None``: the system) did ``action`` to ``target`` at ``at``.

    Request id and address are those of the request being answered, if any. ``before`` and ``after``
    hold what changed, as JSON.

    :raises ValueError: ``action`` is not listed in ``audit.actions``.
    :raises RuntimeError: no transaction is open, so the act and its record could part.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not an audit action.")
    if not connection.in_atomic_block:
        raise RuntimeError(f"{action} must be recorded in the transaction of the act.")
    request_id, address = current_request()
    return AuditEvent.objects.create(
        at=at,
        action=action,
        actor_id=actor.pk if actor else None,
        actor_label=label_of(actor, SYSTEM),
        on_behalf_of_id=on_behalf_of.pk if on_behalf_of else None,
        on_behalf_of_label=label_of(on_behalf_of),
        target_type=target._meta.label_lower,
        target_id=str(target.pk),
        target_label=label_of(target),
        before=before,
        after=after,
        reason=reason,
        request_id=request_id,
        address=address,
        approval_id=approval_id,
    )
