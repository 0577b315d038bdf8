"""Writing the record: in the same database transaction as the act, or not at all."""

import json
from collections.abc import Collection, Mapping
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


def described(target: Model | str) -> dict[str, str]:
    """Return what is kept of a target."""
    if isinstance(target, str):
        return {"target_type": "", "target_id": "", "target_label": target[:LABEL_LENGTH]}
    return {
        "target_type": target._meta.label_lower,
        "target_id": str(target.pk),
        "target_label": label_of(target),
    }


def record(
    action: str,
    *,
    actor: Model | None,
    target: Model | str,
    at: datetime,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    on_behalf_of: Model | None = None,
    approval_id: int | None = None,
) -> AuditEvent:
    """
    Record that ``actor`` (``None``: the system) did ``action`` to ``target`` at ``at``.

    ``target`` may be words for what is no row. Request id and address are those of the request
    being answered, if any. ``before`` and ``after`` hold what changed, as JSON.

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
        **described(target),
        before=before,
        after=after,
        reason=reason,
        request_id=request_id,
        address=address,
        approval_id=approval_id,
    )


def erase_text(
    *,
    actor_ids: Collection[int],
    targets: Collection[tuple[str, str]],
    words: Collection[str],
    at: datetime,
) -> int:
    """
    Erase, for ever, the text of events; answer of how many.

    They are those done by or for one of ``actor_ids``, those about one of ``targets`` (type and
    number, as ("accounts.user", "17")), and those whose text contains one of ``words`` in whatever
    case. What stays is who did what to what by number, when, and the seal. The record says itself
    which events were erased.
    """
    types, ids = [type for type, _ in targets], [id for _, id in targets]
    spellings = sorted({each for word in words for each in spelled(word)})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT audit_erase_text(%s::bigint[], %s::text[], %s::text[], %s::text[], %s)",
            [list(actor_ids), types, ids, spellings, at],
        )
        return int(cursor.fetchone()[0])


def spelled(word: str) -> set[str]:
    """
    Return ``word`` as it may stand in the record: in either case, and as JSON has it.

    A database whose locale is C folds the case of ASCII only.
    """
    word = word.strip()
    cases = {word, word.lower(), word.upper(), word.title()} - {""}
    return cases | {json.dumps(each, ensure_ascii=False)[1:-1] for each in cases}
