from datetime import UTC, datetime

import pytest

from accounts.errors import AlreadyMember, InUse, NoSeatLeft, NotATeamOwner
from accounts.models import Team
from accounts.services.teams import (
    add_member,
    create_team,
    delete_team,
    remove_member,
    rename_team,
)
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, InvalidRequest, NotFound, NotPermitted
from creditsite.testing.races import race
from ledger.queries.wallets import wallet_of

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_team(**fields):
    return create_team(**{"name": "Research", "actor": None, "at": AT, **fields})


def add(team, user=None):
    return add_member(team=team, user=user or UserFactory(), actor=None, at=AT)


def actions():
    return list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))


@pytest.mark.django_db
class TestCreateTeam:
    def test_makes_a_pool_of_a_team_admin(self):
        owner = TeamAdminFactory()
        team = make_team(owner=owner, actor=owner)
        assert (team.owner, actions()) == (owner, ["accounts.team.created"])

    def test_makes_an_organisation(self):
        assert make_team(name=" Acme ").name == "Acme"

    @pytest.mark.parametrize("role", ["member", None])
    def test_refuses_an_owner_without_seats(self, role):
        owner = UserFactory() if role else UserFactory(role=None)
        with pytest.raises(NotATeamOwner):
            make_team(owner=owner)
        assert not Team.objects.exists()

    @pytest.mark.parametrize("name", ["", "  ", "a\0", "x" * 121])
    def test_refuses_a_name_that_will_not_do(self, name):
        with pytest.raises(InvalidRequest):
            make_team(name=name)

    def test_makes_one_team_an_owner_of_two_at_once(self, ledger_db):
        owner = TeamAdminFactory()
        outcomes = race(lambda: make_team(owner=owner), lambda: make_team(owner=owner))
        assert sorted(outcomes) == ["Conflict", "Team"]


@pytest.mark.django_db
class TestRenameTeam:
    def test_changes_the_name_and_records_it(self):
        team = TeamFactory(name="Old")
        rename_team(team=team, name="New", actor=None, at=AT)
        event = AuditEvent.objects.get()
        assert (event.before, event.after) == ({"name": "Old"}, {"name": "New"})
        assert Team.objects.get().name == "New"


@pytest.mark.django_db
class TestAddMember:
    def test_fills_the_seats_of_the_role_and_no_more(self):
        team = make_team(owner=TeamAdminFactory())
        for _ in range(4):
            add(team)
        with pytest.raises(NoSeatLeft) as refusal:
            add(team)
        assert refusal.value.numbers == {"seats": 4}
        assert team.memberships.count() == 4
        assert actions().count("accounts.team.member_added") == 4

    def test_fills_an_organisation_beyond_any_role(self):
        team = make_team()
        for _ in range(5):
            add(team)
        assert team.memberships.count() == 5

    def test_refuses_member_and_owner(self):
        owner, member = TeamAdminFactory(), UserFactory()
        team = make_team(owner=owner)
        add(team, member)
        for user in [member, owner]:
            with pytest.raises(AlreadyMember):
                add(team, user)
        assert team.memberships.count() == 1

    def test_refuses_somebody_inactive(self):
        with pytest.raises(Conflict):
            add(make_team(), UserFactory(is_active=False))

    def test_gives_the_last_seat_to_one_of_two_at_once(self, ledger_db):
        team = make_team(owner=TeamAdminFactory())
        for _ in range(3):
            add(team)
        one, other = UserFactory(), UserFactory()
        outcomes = race(lambda: add(team, one), lambda: add(team, other))
        assert sorted(outcomes) == ["NoSeatLeft", "TeamMembership"]
        assert team.memberships.count() == 4


@pytest.mark.django_db
class TestRemoveMember:
    def test_frees_the_seat_and_records_whose(self):
        team, member = make_team(owner=TeamAdminFactory()), UserFactory()
        add(team, member)
        remove_member(team=team, user=member, actor=None, at=AT)
        assert team.memberships.count() == 0
        event = AuditEvent.objects.get(action="accounts.team.member_removed")
        assert event.before == {"user_id": member.pk, "email": member.email}

    def test_refuses_who_has_no_seat(self):
        with pytest.raises(NotFound):
            remove_member(team=make_team(), user=UserFactory(), actor=None, at=AT)
        assert "accounts.team.member_removed" not in actions()


@pytest.mark.django_db
class TestWhoMay:
    def test_is_the_owner_of_the_team(self):
        owner, member = TeamAdminFactory(), UserFactory()
        team = make_team(owner=owner, actor=owner)
        record = {"team": team, "actor": owner, "at": AT}
        rename_team(name="Ours", **record)
        add_member(user=member, **record)
        remove_member(user=member, **record)
        assert [action.split(".")[2] for action in actions()] == [
            "created",
            "changed",
            "member_added",
            "member_removed",
        ]

    def test_is_nobody_else_who_is_not_staff(self):
        stranger, member = TeamAdminFactory(), UserFactory()
        team = make_team(owner=TeamAdminFactory())
        add(team, member)
        record = {"team": team, "actor": stranger, "at": AT}
        for refused in (
            lambda: make_team(owner=TeamAdminFactory(), actor=stranger),
            lambda: make_team(actor=stranger),
            lambda: rename_team(name="Mine", **record),
            lambda: add_member(user=stranger, **record),
            lambda: remove_member(user=member, **record),
            lambda: remove_member(user=member, team=team, actor=member, at=AT),
        ):
            with pytest.raises(NotPermitted):
                refused()
        assert [seat.user for seat in team.memberships.all()] == [member]


@pytest.mark.django_db
class TestDeleteTeam:
    def delete(self, team):
        delete_team(team=team, actor=StaffFactory(), reason="never used", at=AT)

    def test_deletes_one_that_was_never_used_and_records_it(self):
        self.delete(make_team())
        assert not Team.objects.exists()
        assert actions()[-1] == "accounts.team.deleted"

    def test_refuses_one_with_members(self):
        team = make_team()
        add(team)
        with pytest.raises(InUse, match="Members of Research: 1"):
            self.delete(team)
        assert Team.objects.exists()

    def test_refuses_one_with_a_wallet(self):
        team = make_team()
        wallet_of(team)
        with pytest.raises(InUse, match="history is kept"):
            self.delete(team)
        assert (Team.objects.count(), actions()) == (1, ["accounts.team.created"])
