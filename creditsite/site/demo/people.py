"""The demo's people: staff of each group, two of them Admin, and users with roles and teams."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import Group

from accounts.choices import StaffGroup
from accounts.models import Role, User
from accounts.services.teams import add_member, create_team

DOMAIN = "example.com"
STAFF = {
    "admin": ("Ada Admin", StaffGroup.ADMIN),
    "admin2": ("Alan Admin", StaffGroup.ADMIN),
    "finance": ("Fiona Finance", StaffGroup.FINANCE),
    "support": ("Sam Support", StaffGroup.SUPPORT),
    "auditor": ("Audrey Auditor", StaffGroup.AUDITOR),
}
USERS = {
    "alice": ("Alice Ahlgren", "member"),
    "bob": ("Bob Brandt", "team_admin"),
    "carol": ("Carol Chen", "member"),
    "dave": ("Dave Dlamini", "member"),
    "erin": ("Erin Evans", "recruitpro"),
    "frank": ("Frank Fischer", "member"),
}
SIGN_INS = [f"{name}@{DOMAIN}" for name in [*STAFF, *USERS]]


def make_people(at: datetime) -> dict[str, User]:
    """Make everybody who is missing, joining a few minutes apart from ``at`` on; return all."""
    known = {user.email: user for user in User.objects.filter(email__in=SIGN_INS)}
    people: dict[str, User] = {}
    for minutes, email in enumerate(SIGN_INS):
        name = email.partition("@")[0]
        people[name] = known.get(email) or _make(name, email, at + timedelta(minutes=minutes))
    return people


def _make(short: str, email: str, at: datetime) -> User:
    if short in STAFF:
        name, group = STAFF[short]
        user = _save(User(email=email, name=name, is_staff=True, date_joined=at))
        user.groups.add(Group.objects.get(name=group))
        return user
    name, role = USERS[short]
    return _save(User(email=email, name=name, role=Role.objects.get(code=role), date_joined=at))


def _save(user: User) -> User:
    user.set_unusable_password()
    user.save()
    return user


def make_teams(people: dict[str, User], at: datetime) -> None:
    """Let Carol and Dave spend from Bob's wallet, and Dave from an organisation's, too."""
    studio = create_team(name="Brandt Studio", owner=people["bob"], actor=people["admin"], at=at)
    northwind = create_team(name="Northwind", actor=people["admin"], at=at)
    for team, name in [(studio, "carol"), (studio, "dave"), (northwind, "dave")]:
        add_member(team=team, user=people[name], actor=people["admin"], at=at)


def set_passwords(users: Iterable[User], password: str) -> int:
    """
    Make ``password`` that of each of ``users``; return how many had another.

    One hash serves all: it takes a third of a second, and the password is the same.
    """
    users = list(users)
    same = next((u.password for u in users if check_password(password, u.password)), None)
    hashed = same or make_password(password)
    others = User.objects.filter(pk__in=[user.pk for user in users]).exclude(password=hashed)
    return others.update(password=hashed)
