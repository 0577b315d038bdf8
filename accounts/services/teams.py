"""Teams and their seats."""

from datetime import datetime

from django.db import transaction
from django.db.models import ProtectedError

from accounts.errors import AlreadyMember, InUse, NoSeatLeft, NotATeamOwner
from accounts.models import Team, TeamMembership, User
from accounts.permissions import require
from audit import services as audit
from creditsite.errors import Conflict, InvalidRequest, NotFound
from creditsite.text import clean_text


@transaction.atomic
def create_team(
    *, name: str, owner: User | None = None, actor: User | None, at: datetime, reason: str = ""
) -> Team:
    """
    Make a team: the pool of ``owner``, or an organisation with a wallet of its own.

    :raises NotPermitted: ``actor`` is neither the owner nor staff who may add teams.
    :raises InvalidRequest: the name is empty, too long or holds characters that hide text.
    :raises NotATeamOwner: the owner's role brings no seats.
    :raises Conflict: the owner has a team already.
    """
    if actor != owner:
        require(actor, "accounts.add_team")
    name = clean_text(name, max=120)
    if not name:
        raise InvalidRequest("A team needs a name.")
    if owner:
        # Locked, so that two requests cannot both find that there is no team yet.
        owner = User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        if not seats_of(owner):
            raise NotATeamOwner(f"The role of {owner} brings no seats to share.")
        if Team.objects.filter(owner=owner).exists():
            raise Conflict(f"{owner} has a team already.")
    team = Team.objects.create(name=name, owner=owner)
    audit.record(
        "accounts.team.created",
        actor=actor,
        target=team,
        at=at,
        reason=reason,
        after={"name": name, "owner": owner and owner.email},
    )
    return team


@transaction.atomic
def rename_team(
    *, team: Team, name: str, actor: User | None, at: datetime, reason: str = ""
) -> Team:
    """
    Change the name of ``team``.

    :raises NotPermitted: ``actor`` is neither its owner nor staff who may change teams.
    :raises InvalidRequest: the name is empty, too long or holds characters that hide text.
    """
    _require_owner_or_staff(actor, team)
    name = clean_text(name, max=120)
    if not name:
        raise InvalidRequest("A team needs a name.")
    locked = _locked(team)
    before, locked.name = locked.name, name
    locked.save(update_fields=["name"])
    audit.record(
        "accounts.team.changed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"name": before},
        after={"name": name},
    )
    return locked


@transaction.atomic
def add_member(
    *, team: Team, user: User, actor: User | None, at: datetime, reason: str = ""
) -> TeamMembership:
    """
    Give ``user`` a seat in ``team``. An organisation has as many seats as it likes.

    :raises NotPermitted: ``actor`` is neither its owner nor staff who may change teams.
    :raises AlreadyMember: the user owns the team or has a seat.
    :raises Conflict: the user is not active.
    :raises NoSeatLeft: the seats that the owner's role brings are taken.
    """
    _require_owner_or_staff(actor, team)
    team = _locked(team)
    if not user.is_active:
        raise Conflict(f"{user} is not active.")
    if user.pk == team.owner_id or team.memberships.filter(user=user).exists():
        raise AlreadyMember(f"{user} is in {team} already.")
    if team.owner and team.memberships.count() >= seats_of(team.owner):
        raise NoSeatLeft(seats=seats_of(team.owner))
    membership = TeamMembership.objects.create(team=team, user=user)
    audit.record(
        "accounts.team.member_added",
        actor=actor,
        target=team,
        at=at,
        reason=reason,
        after=_member(user),
    )
    return membership


@transaction.atomic
def remove_member(
    *, team: Team, user: User, actor: User | None, at: datetime, reason: str = ""
) -> None:
    """
    Take the seat of ``user`` in ``team`` away.

    :raises NotPermitted: ``actor`` is neither its owner nor staff who may change teams.
    :raises NotFound: the user has none.
    """
    _require_owner_or_staff(actor, team)
    team = _locked(team)
    removed, _ = team.memberships.filter(user=user).delete()
    if not removed:
        raise NotFound(f"{user} has no seat in {team}.")
    audit.record(
        "accounts.team.member_removed",
        actor=actor,
        target=team,
        at=at,
        reason=reason,
        before=_member(user),
    )


@transaction.atomic
def delete_team(*, team: Team, actor: User, reason: str, at: datetime) -> None:
    """
    Delete a team that nobody has a seat in and that never had a wallet.

    :raises NotPermitted: ``actor`` may not delete teams.
    :raises InUse: it has members, or a wallet.
    """
    require(actor, "accounts.delete_team")
    _locked(team)
    if members := team.memberships.count():
        raise InUse(f"Members of {team}: {members:,}. Remove them first.")
    audit.record(
        "accounts.team.deleted",
        actor=actor,
        target=team,
        at=at,
        reason=reason,
        before={"name": team.name, "owner": team.owner and team.owner.email},
    )
    try:
        team.delete()
    except ProtectedError:
        raise InUse(f"{team} has a wallet, whose history is kept.") from None


def seats_of(owner: User) -> int:
    """Return how many members may share the wallet of ``owner``."""
    return owner.role.pool_seats if owner.role else 0


def _require_owner_or_staff(actor: User | None, team: Team) -> None:
    if actor is None or actor.pk != team.owner_id:
        require(actor, "accounts.change_team")


def _locked(team: Team) -> Team:
    """Return ``team``, locked: seats are counted and given one request at a time."""
    return Team.objects.select_for_update(no_key=True).get(pk=team.pk)


def _member(user: User) -> dict[str, object]:
    return {"user_id": user.pk, "email": user.email}
