"""Who hears by e-mail that what somebody may do as staff has changed."""

from accounts.models import User
from accounts.services.notices import admins, tell

SHUT_OUT, NO_STAFF = "shut out", "no staff"


def tell_staff_changed(user: User, *, was: str, actor: User | None, reason: str) -> None:
    """
    Write to ``user``, and to every Admin but ``actor``, what they were and what they are now.

    :param was: what :func:`rights_of` said before.
    """
    others = [admin for admin in admins() if admin != actor]
    tell(
        [*others, user],
        # Who it is about stands in the text alone, which is erased first.
        subject="What a member of staff may do has changed",
        lines=[f"{actor or 'The system'} has changed what {user} may do as staff."],
        facts=[("Before", was), ("Now", rights_of(user)), ("Reason", reason)],
    )


def rights_of(user: User) -> str:
    """Say what ``user`` is as staff."""
    if not user.is_active:
        return SHUT_OUT
    if not user.is_staff:
        return NO_STAFF
    groups = sorted(user.groups.values_list("name", flat=True))
    return f"staff, in {', '.join(groups)}" if groups else "staff, in no group"
