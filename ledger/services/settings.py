"""How the settings of the credit economy change: by whole versions, none of which is edited."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction

from accounts.errors import InvalidFields
from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from creditsite.errors import Conflict, InvalidRequest
from ledger import errors
from ledger.models import CreditSettings
from ledger.queries.settings import settings_at

KIND = "ledger.change_settings"
OF_THE_VERSION = ("id", "changed_at", "changed_by")
CHANGEABLE = [
    field.name
    for field in CreditSettings._meta.concrete_fields
    if field.name not in (*OF_THE_VERSION, "credits_enabled")
]
# To raise one of these takes a second person.
SAFETY = (
    "typed_confirmation_from",
    "approval_adjustment_above",
    "approval_batch_credits_above",
    "approval_batch_wallets_above",
    "largest_balance",
    "approval_dispute_above",
)
LOCK = int.from_bytes(b"settings", "big")


def register() -> None:
    """Let :mod:`accounts.services.approvals` know what loosens safety."""
    approval_kind(
        KIND,
        permission="ledger.change_creditsettings",
        execute=execute,
        describe=lambda payload: f"Change the settings: {'; '.join(lines_of(payload))}",
        concerns=lambda payload, user: False,
        state=state_now,
    )


@transaction.atomic
def change_settings(
    *,
    changes: Mapping[str, Any],
    version: int,
    reason: str,
    actor: User | None,
    at: datetime,
    idempotency_key: str | None = None,
) -> CreditSettings | Approval:
    """
    Add a version that differs from the newest by ``changes``, for what happens from ``at`` on.

    One that loosens safety waits for a second person: return the approval.

    :param version: the newest when the form was opened; 0: there was none.
    :raises NotPermitted: ``actor`` may not change settings.
    :raises InvalidRequest: a name is none of ``CHANGEABLE``.
    :raises InvalidFields: a value will not do, or not together with the others.
    :raises StaleSettings: they have changed since ``version``.
    :raises Conflict: nothing would change.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    require(actor, "ledger.change_creditsettings")
    if unknown := sorted(changes.keys() - {*CHANGEABLE}):
        raise InvalidRequest(f"There are no such settings: {', '.join(unknown)}.")
    current = _newest()
    if (current.pk or 0) != version:
        raise errors.StaleSettings
    after = version_with(current, changes)
    names = [name for name in CHANGEABLE if getattr(current, name) != getattr(after, name)]
    if not names:
        raise Conflict("Nothing would change.")
    if actor is None or not any(getattr(after, n) > getattr(current, n) for n in SAFETY):
        return _add(after, current, names, "ledger.settings.changed", reason, actor, at)
    return request_approval(
        kind=KIND,
        payload={"before": told(current, names), "after": told(after, names)},
        maker=actor,
        reason=reason,
        at=at,
        idempotency_key=idempotency_key,
    )


@transaction.atomic
def switch_credits(
    *, enabled: bool, reason: str, actor: User | None, at: datetime
) -> CreditSettings:
    """
    Switch all spends, holds and sales off, or on again; all else goes on either way.

    :raises NotPermitted: ``actor`` may not switch credits.
    :raises Conflict: they are so already.
    """
    require(actor, "ledger.switch_credits")
    current = _newest()
    if current.credits_enabled == enabled:
        raise Conflict(f"Credits are switched {'on' if enabled else 'off'} already.")
    after = _copy(current, {"credits_enabled": enabled})
    action = f"ledger.credits.switched_{'on' if enabled else 'off'}"
    return _add(after, current, ["credits_enabled"], action, reason, actor, at)


def version_with(current: CreditSettings, changes: Mapping[str, Any]) -> CreditSettings:
    """
    Return the version, not saved yet, that differs from ``current`` by ``changes``.

    :raises InvalidFields: it could not be one.
    """
    after = _copy(current, changes)
    try:
        after.full_clean(exclude=OF_THE_VERSION)
    except ValidationError as refusal:
        raise InvalidFields(refusal.message_dict) from refusal
    return after


def _copy(current: CreditSettings, changes: Mapping[str, Any]) -> CreditSettings:
    kept = {name: getattr(current, name) for name in [*CHANGEABLE, "credits_enabled"]}
    return CreditSettings(**kept | {**changes})


def _newest() -> CreditSettings:
    """Return the newest version; nobody else adds one until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    return CreditSettings.objects.order_by("pk").last() or CreditSettings()


def _add(
    after: CreditSettings,
    current: CreditSettings,
    names: Iterable[str],
    action: str,
    reason: str,
    actor: User | None,
    at: datetime,
    approval_id: int | None = None,
) -> CreditSettings:
    # A clock that goes behind another's makes no version that was never in force.
    after.changed_at = max(at, current.changed_at or at)
    after.changed_by = actor
    after.save(force_insert=True)
    audit.record(
        action,
        actor=actor,
        target=after,
        at=at,
        reason=reason,
        before=told(current, names),
        after=told(after, names),
        approval_id=approval_id,
    )
    return after


# --- With a second person -------------------------------------------------------------------------
def execute(*, payload: Mapping[str, Any], approval: Approval, at: datetime) -> dict[str, Any]:
    """
    Add the version that was approved, whatever else has changed since it was asked for.

    :raises StaleSettings: one of these same settings has.
    :raises InvalidFields: together with what has changed, it could not be.
    """
    current, before = _newest(), payload["before"]
    if told(current, before) != before:
        raise errors.StaleSettings
    changes = {name: field_of(name).to_python(value) for name, value in payload["after"].items()}
    after = version_with(current, changes)
    action, reason, maker = "ledger.settings.changed", approval.reason, approval.maker
    added = _add(after, current, before, action, reason, maker, at, approval.pk)
    return {"settings": added.pk}


# --- In words -------------------------------------------------------------------------------------
def told(settings: CreditSettings, names: Iterable[str]) -> dict[str, Any]:
    """Return those settings as JSON keeps them: decimals as text, to the digit."""
    values = {name: getattr(settings, name) for name in names}
    return {
        name: f"{value.normalize():f}" if isinstance(value, Decimal) else value
        for name, value in values.items()
    }


def lines_of(payload: Mapping[str, Any]) -> list[str]:
    """Say what changes: "Largest balance: 1,000,000 → 2,000,000"."""
    return [
        f"{label_of(name)}: {shown(before)} → {shown(payload['after'][name])}"
        for name, before in payload["before"].items()
    ]


def state_now(payload: Mapping[str, Any], at: datetime) -> list[str]:
    """Say what the settings that would change are at ``at``."""
    current = settings_at(at)
    return [f"{label_of(name)}: {shown(getattr(current, name))}" for name in payload["before"]]


def shown(value: Any) -> str:
    """Return a setting's value as people read it."""
    if value is None:
        return "for ever"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Decimal):
        return f"{value.normalize():,f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def label_of(name: str) -> str:
    label = str(field_of(name).verbose_name)
    return label[0].upper() + label[1:]


def field_of(name: str) -> Any:
    return CreditSettings._meta.get_field(name)
