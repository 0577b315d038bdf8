"""Roles, groups, teams, API keys and jobs in the admin."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Job, Role, Team
from accounts.services.api_keys import create_api_key, find_api_key
from accounts.services.jobs import create_job
from accounts.services.teams import add_member
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from creditsite.testing.people import as_role

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASON = "asked for by the owner"
REQUEST_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
PASSWORD = "correct horse battery"


def recorded():
    return [(e.action, e.reason) for e in AuditEvent.objects.order_by("pk")]


def confirmed(**fields):
    return {"confirmed": "yes", "reason": REASON, "request_id": REQUEST_ID, **fields}


@pytest.mark.django_db
class TestDoors:
    """Which group gets a list at all."""

    @pytest.mark.parametrize(
        ("model", "groups"),
        [
            ("accounts/user", "Admin Auditor Finance Support"),
            ("accounts/role", "Admin Auditor Finance Support"),
            ("accounts/team", "Admin Auditor Finance"),
            ("accounts/job", "Admin Auditor Finance"),
            ("accounts/apikey", "Admin Auditor"),
            ("auth/group", "Admin Auditor"),
        ],
    )
    def test_open_to(self, model, groups):
        opened = [
            group
            for group in ["Admin", "Auditor", "Finance", "Support"]
            if as_role(group).get(f"/admin/{model}/").status_code == 200
        ]
        assert opened == groups.split()

    @pytest.mark.parametrize("model", ["user", "role", "team", "apikey"])
    @pytest.mark.parametrize("group", ["Auditor", "Finance", "Support"])
    def test_let_only_admins_add(self, model, group):
        assert as_role(group).get(f"/admin/accounts/{model}/add/").status_code == 403

    @pytest.mark.parametrize("model", ["user", "role", "team", "apikey", "job"])
    def test_let_nobody_delete(self, model):
        client = as_role("", is_superuser=True)
        objects = {
            "user": UserFactory,
            "team": TeamFactory,
            "role": Role.objects.first,
            "job": job,
            "apikey": key,
        }
        url = f"/admin/accounts/{model}/{objects[model]().pk}/delete/"
        assert client.post(url, {"post": "yes"}).status_code == 403

    def test_turn_an_end_user_away(self):
        client = Client()
        client.force_login(UserFactory())
        assert client.get("/admin/accounts/user/").status_code == 403


def job():
    return create_job(kind="backfill", params={}, chunks=[(0, 5), (5, 10)], created_by=None)


def key():
    return create_api_key(
        name="gateway", owner=StaffFactory(), scopes=["credits:read"], actor=None, at=AT
    )[0]


@pytest.mark.django_db
class TestRoleAdmin:
    def test_changes_the_allotment_and_records_it(self):
        role = Role.objects.get(code="member")
        url = f"/admin/accounts/role/{role.pk}/change/"
        data = {"code": "hacked", "name": "Member", "allotment": 400, "pool_seats": 0}
        data |= {"reason": REASON}
        assert as_role("Admin").post(url, data).status_code == 302
        role.refresh_from_db()
        assert (role.code, role.allotment) == ("member", 400)
        event = AuditEvent.objects.get()
        assert (event.before["allotment"], event.after["allotment"]) == (350, 400)
        assert not LogEntry.objects.exists()

    def test_adds_a_role(self):
        data = {"code": "student", "name": "Student", "allotment": 50, "pool_seats": 0}
        data |= {"reason": REASON}
        as_role("Admin").post("/admin/accounts/role/add/", data)
        assert Role.objects.get(code="student").allotment == 50
        assert recorded() == [("accounts.role.created", REASON)]

    def test_is_not_changed_by_finance(self):
        role = Role.objects.get(code="member")
        url = f"/admin/accounts/role/{role.pk}/change/"
        assert (
            as_role("Finance").post(url, {"name": "x", "allotment": 1, "pool_seats": 1}).status_code
            == 403
        )


@pytest.mark.django_db
class TestDeletingARole:
    def test_asks_for_the_phrase_and_records_why(self):
        role = Role.objects.create(code="student", name="Student")
        client, url = as_role("Admin"), f"/admin/accounts/role/{role.pk}/delete/"
        assert "Type exactly: DELETE student" in client.get(url).content.decode()
        client.post(url, confirmed(confirmation="DELETE Student"))
        assert Role.objects.filter(pk=role.pk).exists()
        done = client.post(url, confirmed(confirmation="DELETE student"))
        assert done.url == "/admin/accounts/role/"
        assert not Role.objects.filter(pk=role.pk).exists()
        assert recorded() == [("accounts.role.deleted", REASON)]
        assert AuditEvent.objects.get().target_id == str(role.pk)

    def test_is_refused_with_a_sentence_while_somebody_has_it(self):
        role = Role.objects.get(code="recruitpro")
        UserFactory(role=role)
        url = f"/admin/accounts/role/{role.pk}/delete/"
        page = as_role("Admin").post(url, confirmed(confirmation="DELETE recruitpro"))
        assert "Give them another one first." in page.content.decode()
        assert Role.objects.filter(pk=role.pk).exists()

    @pytest.mark.parametrize("group", ["Finance", "Auditor", "Support"])
    def test_is_for_admins(self, group):
        role = Role.objects.create(code="student", name="Student")
        url = f"/admin/accounts/role/{role.pk}/delete/"
        answer = as_role(group).post(url, confirmed(confirmation="DELETE student"))
        assert answer.status_code == 403
        assert Role.objects.filter(pk=role.pk).exists()


@pytest.mark.django_db
class TestGroupAdmin:
    def test_shows_what_a_group_may_and_changes_nothing(self):
        group = Group.objects.get(name="Finance")
        client = as_role("Admin")
        url = f"/admin/auth/group/{group.pk}/change/"
        assert "ledger.adjust_wallet" in client.get(url).content.decode()
        assert client.post(url, {"name": "x", "permissions": []}).status_code == 403
        assert client.get("/admin/auth/group/add/").status_code == 403


@pytest.mark.django_db
class TestTeamAdmin:
    def test_adds_a_team_through_the_service(self):
        owner = TeamAdminFactory()
        response = as_role("Admin").post(
            "/admin/accounts/team/add/", team_data(name="Lab", owner=owner.pk)
        )
        assert response.status_code == 302
        assert Team.objects.get().owner == owner
        assert recorded() == [("accounts.team.created", REASON)]

    def test_shows_a_refusal(self):
        client = as_role("Admin")
        response = client.post(
            "/admin/accounts/team/add/", team_data(name="Lab", owner=UserFactory().pk)
        )
        assert "brings no seats to share" in client.get(response.url).content.decode()
        assert not Team.objects.exists()

    def test_renames_a_team_and_keeps_its_owner(self):
        team, owner = TeamFactory(owner=TeamAdminFactory()), TeamAdminFactory()
        url = f"/admin/accounts/team/{team.pk}/change/"
        as_role("Admin").post(url, team_data(name="New", owner=owner.pk))
        old_owner = team.owner
        team.refresh_from_db()
        assert (team.name, team.owner) == ("New", old_owner)

    def test_adds_and_removes_a_member(self):
        team, member, client = TeamFactory(), UserFactory(), as_role("Admin")
        url = f"/admin/accounts/team/{team.pk}/"
        client.post(f"{url}add_member/", confirmed(email=member.email.upper()))
        assert member.email in client.get(f"{url}change/").content.decode()
        assert [seat.user for seat in team.memberships.all()] == [member]
        client.post(f"{url}remove_member/", confirmed(email=member.email))
        assert team.memberships.count() == 0
        assert recorded() == [
            ("accounts.team.member_added", REASON),
            ("accounts.team.member_removed", REASON),
        ]

    def test_shows_why_a_member_is_not_added(self):
        owner = TeamAdminFactory()
        team = TeamFactory(owner=owner)
        for _ in range(4):
            add_member(team=team, user=UserFactory(), actor=None, at=AT)
        url = f"/admin/accounts/team/{team.pk}/add_member/"
        client = as_role("Admin")
        for email, shown in [
            (UserFactory().email, "All 4 seats"),
            ("no@example.com", "Nobody has this"),
        ]:
            assert shown in client.post(url, confirmed(email=email)).content.decode()
        assert team.memberships.count() == 4

    @pytest.mark.parametrize("group", ["Finance", "Auditor"])
    def test_lets_others_change_nobody(self, group):
        team, member = TeamFactory(), UserFactory()
        url = f"/admin/accounts/team/{team.pk}/add_member/"
        assert as_role(group).post(url, confirmed(email=member.email)).status_code == 403
        assert team.memberships.count() == 0


def team_data(**fields):
    management = {"TOTAL_FORMS": 0, "INITIAL_FORMS": 0, "MIN_NUM_FORMS": 0, "MAX_NUM_FORMS": 0}
    return {f"memberships-{name}": value for name, value in management.items()} | {
        "reason": REASON,
        **fields,
    }


def secret_on(page):
    (secret,) = re.findall(r"ck_live_[0-9A-Za-z]{51}", page.content.decode())
    return secret


@pytest.mark.django_db
class TestApiKeyAdmin:
    def test_shows_the_secret_once(self):
        owner, client = StaffFactory(), as_role("Admin")
        data = {
            "name": "gateway",
            "owner": owner.pk,
            "scopes": ["credits:read", "credits:spend"],
            "daily_cap": 5_000,
            "reason": REASON,
        }
        page = client.post("/admin/accounts/apikey/add/", data)
        secret = secret_on(page)
        key = ApiKey.objects.get()
        assert find_api_key(secret=secret, at=key.created_at) == key
        assert key.daily_cap == 5_000
        assert key.expires_at - key.created_at == timedelta(days=365)
        assert "no-store" in page["Cache-Control"]
        for url in ["/admin/accounts/apikey/", f"/admin/accounts/apikey/{key.pk}/change/"]:
            later = client.get(url).content.decode()
            assert key.prefix in later
            assert secret not in later
        assert recorded() == [("accounts.api_key.created", REASON)]

    def test_asks_for_a_reason(self):
        data = {"name": "gateway", "owner": StaffFactory().pk, "scopes": ["credits:read"]}
        page = as_role("Admin").post("/admin/accounts/apikey/add/", data)
        assert page.context["adminform"].form.errors.keys() == {"reason"}
        assert not ApiKey.objects.exists()

    def test_rotates_and_shows_the_new_secret_once(self):
        old, client = key(), as_role("Admin")
        url = f"/admin/accounts/apikey/{old.pk}/rotate/"
        assert "works until it is revoked. Last used: never." in client.get(url).content.decode()
        page = client.post(url, confirmed())
        secret = secret_on(page)
        new = ApiKey.objects.get(replaces=old)
        assert find_api_key(secret=secret, at=new.created_at) == new
        assert "no-store" in page["Cache-Control"]
        ApiKey.objects.filter(pk=old.pk).update(last_used_at=AT, last_used_address="192.0.2.7")
        listed = client.get("/admin/accounts/apikey/").content.decode()
        assert "rotated, still live" in listed
        assert "2026-11-20 12:00 UTC from 192.0.2.7" in listed
        assert recorded()[1:] == [
            ("accounts.api_key.rotated", REASON),
            ("accounts.api_key.created", REASON),
        ]

    def test_rotates_once_however_often_it_is_sent(self):
        old, client = key(), as_role("Admin")
        url = f"/admin/accounts/apikey/{old.pk}/rotate/"
        answers = [client.post(url, confirmed()) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 302]
        assert ApiKey.objects.count() == 2

    @pytest.mark.parametrize("group", ["Auditor", "Finance"])
    def test_is_rotated_by_admins_only(self, group):
        old = key()
        url = f"/admin/accounts/apikey/{old.pk}/rotate/"
        assert as_role(group).post(url, confirmed()).status_code == 403
        assert ApiKey.objects.count() == 1

    @pytest.mark.parametrize("url", ["add/", "{pk}/rotate/"])
    def test_takes_a_recent_sign_in_to_make_one(self, url):
        old, client = key(), as_role("Admin")
        with time_machine.travel(timezone.now() + timedelta(minutes=6)):
            page = client.get(f"/admin/accounts/apikey/{url.format(pk=old.pk)}")
        assert (page.status_code, "reauthenticate" in page.url) == (302, True)

    def test_shows_that_a_key_ended_with_its_owner(self):
        made = key()
        made.owner.groups.clear()
        assert (
            "ended with its owner"
            in as_role("Admin").get("/admin/accounts/apikey/").content.decode()
        )

    def test_shows_a_refusal(self):
        client = as_role("Admin")
        data = {
            "name": "gateway",
            "owner": UserFactory().pk,
            "scopes": ["credits:read"],
            "reason": REASON,
        }
        response = client.post("/admin/accounts/apikey/add/", data)
        assert "must be active staff" in client.get(response.url).content.decode()
        assert not ApiKey.objects.exists()

    def test_is_never_edited(self):
        made, client = key(), as_role("Admin")
        data = {"name": "x", "owner": made.owner.pk, "scopes": ["credits:admin"]}
        assert client.post(f"/admin/accounts/apikey/{made.pk}/change/", data).status_code == 403

    def revoke(self, client, made, **fields):
        data = {"action": "revoke_selected", "_selected_action": [made.pk], **fields}
        return client.post("/admin/accounts/apikey/", data)

    def test_asks_before_it_revokes(self):
        made = key()
        page = self.revoke(as_role("Admin"), made, index=0).content.decode()
        assert f"{made} of {made.owner} ends at once and for ever" in page
        made.refresh_from_db()
        assert made.revoked_at is None

    def test_revokes_once_however_often_it_is_sent(self):
        made, client = key(), as_role("Admin")
        answer = confirmed(confirmation="REVOKE 1")
        assert self.revoke(client, made, **answer).status_code == 302
        assert "is revoked already" in self.revoke(client, made, **answer).content.decode()
        made.refresh_from_db()
        assert made.revoked_at is not None
        assert recorded()[1:] == [("accounts.api_key.revoked", REASON)]

    def test_changes_nothing_on_a_wrong_phrase(self):
        made = key()
        page = self.revoke(
            as_role("Admin"), made, **confirmed(confirmation="revoke 1")
        ).content.decode()
        assert "That is not what is to be typed." in page
        made.refresh_from_db()
        assert made.revoked_at is None

    def test_is_not_revoked_by_an_auditor(self):
        made, client = key(), as_role("Auditor")
        assert "revoke_selected" not in client.get("/admin/accounts/apikey/").content.decode()
        self.revoke(client, made, **confirmed(confirmation="REVOKE 1"))
        made.refresh_from_db()
        assert made.revoked_at is None

    def test_costs_the_same_for_one_and_three(self, django_assert_num_queries):
        client = as_role("Auditor")
        for _ in range(2):
            key()
            with django_assert_num_queries(5):
                client.get("/admin/accounts/apikey/")
            key()


@pytest.mark.django_db
class TestJobAdmin:
    def move(self, client, name, made, **fields):
        data = {"action": f"{name}_selected", "_selected_action": [made.pk], **fields}
        return client.post("/admin/accounts/job/", data)

    def test_shows_how_far_it_is(self):
        made = job()
        made.chunks.filter(lower=0).update(done_at=AT, result={})
        page = as_role("Finance").get("/admin/accounts/job/").content.decode()
        assert '<progress value="1" max="2"></progress> 1 of 2' in page

    @pytest.mark.parametrize(
        ("name", "answer", "status", "action"),
        [
            ("pause", {}, "paused", "accounts.job.paused"),
            ("cancel", {"confirmation": "CANCEL 1"}, "cancelled", "accounts.job.cancelled"),
        ],
    )
    def test_moves_after_asking(self, name, answer, status, action):
        made, client = job(), as_role("Admin")
        assert "now pending" in self.move(client, name, made, index=0).content.decode()
        assert self.move(client, name, made, **confirmed(**answer)).status_code == 302
        made.refresh_from_db()
        assert (made.status, recorded()) == (status, [(action, REASON)])

    def test_resumes(self):
        made = job()
        Job.objects.update(status="failed", error="no ink")
        self.move(as_role("Admin"), "resume", made, **confirmed())
        made.refresh_from_db()
        assert (made.status, made.error) == ("pending", "")

    def test_shows_a_refusal(self):
        made = job()
        Job.objects.update(status="done")
        page = self.move(as_role("Admin"), "pause", made, **confirmed()).content.decode()
        assert "A job that is done cannot be paused." in page

    @pytest.mark.parametrize("group", ["Finance", "Auditor"])
    def test_is_moved_by_admins_only(self, group):
        made, client = job(), as_role(group)
        assert "pause_selected" not in client.get("/admin/accounts/job/").content.decode()
        self.move(client, "pause", made, **confirmed())
        made.refresh_from_db()
        assert made.status == "pending"

    def test_costs_the_same_for_one_and_three(self, django_assert_num_queries):
        client = as_role("Auditor")
        for _ in range(2):
            job()
            with django_assert_num_queries(6):
                client.get("/admin/accounts/job/")
            job()

    def test_deletes_a_team_that_is_not_used(self):
        team, client = TeamFactory(name="Lab"), as_role("Admin")
        url = f"/admin/accounts/team/{team.pk}/delete/"
        assert client.post(url, confirmed(confirmation="DELETE Lab")).url == "/admin/accounts/team/"
        assert not Team.objects.exists()
        assert recorded() == [("accounts.team.deleted", REASON)]
