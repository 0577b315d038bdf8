"""The roles that the platform sells."""

from datetime import datetime

from django.db import transaction

from accounts.models import Role, User
from audit import services as audit

FIELDS = ["code", "name", "allotment", "pool_seats"]


@transaction.atomic
def save_role(*, role: Role, actor: User, at: datetime, reason: str = "") -> Role:
    """
    Save a new or edited ``role``, validated by its form. A new allotment is for users to come.
    """
    old = Role.objects.select_for_update().filter(pk=role.pk).first()
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


def _state(role: Role) -> dict[str, object]:
    return {field: getattr(role, field) for field in FIELDS}
