"""The roles that the platform sells."""

from datetime import datetime

from django.db import transaction

from accounts.errors import InUse
from accounts.models import Role, User
from accounts.permissions import require
from accounts.services.users import DEFAULT_ROLE
from audit import services as audit

FIELDS = ["code", "name", "allotment", "pool_seats"]


@transaction.atomic
def save_role(*, role: Role, actor: User, at: datetime, reason: str = "") -> Role:
    """
    Save a new or edited ``role``, validated by its form. A new allotment is for users to come.

    :raises NotPermitted: ``actor`` may not add, or not change, roles.
    """
    old = Role.objects.select_for_update().filter(pk=role.pk).first()
    require(actor, "accounts.change_role" if old else "accounts.add_role")
    role.save()
    audit.record(
        "accounts.role.changed" if old else "accounts.role.created",
        actor=actor,
        target=role,
        at=at,
        reason=reason,
        before=_state(old) if old else None,
        after=_state(role),
    )
    return role


@transaction.atomic
def delete_role(*, role: Role, actor: User, reason: str, at: datetime) -> None:
    """
    Delete a role that nobody has.

    :raises NotPermitted: ``actor`` may not delete roles.
    :raises InUse: somebody has it, or who signs up gets it.
    """
    require(actor, "accounts.delete_role")
    # Waits for who is being given the role, and lets nobody be given it from now on.
    Role.objects.select_for_update().get(pk=role.pk)
    if role.code == DEFAULT_ROLE:
        raise InUse(f"Who signs up gets the role {role}: it stays.")
    if holders := role.users.count():
        raise InUse(f"Users who have the role {role}: {holders:,}. Give them another one first.")
    audit.record(
        "accounts.role.deleted", actor=actor, target=role, at=at, reason=reason, before=_state(role)
    )
    role.delete()


def _state(role: Role) -> dict[str, object]:
    return {field: getattr(role, field) for field in FIELDS}
