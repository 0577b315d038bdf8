import re

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group

from accounts import events
from accounts.models import Role, User
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.testing.people import as_role

LIST = "/admin/accounts/user/"
REASON = "asked for by the user"
PASSWORD = "correct horse battery"


def change_url(user):
    return f"{LIST}{user.pk}/change/"


def inputs(page):
    """Return the names of the fields that a page lets one edit."""
    form = page.content.decode().split('id="user_form"')[1].split("</form>")[0]
    return set(re.findall(r'<(?:input|select|textarea)[^>]* name="([a-z_]+)"', form)) - {
        "csrfmiddlewaretoken"
    }


def submit(client, user, **changes):
    """Open the page of ``user`` as a browser would, change some fields and send it."""
    initial = client.get(change_url(user)).context["adminform"].form
    data = {name: initial[name].value() for name in initial.fields}
    data = {name: value for name, value in (data | changes).items() if value not in (None, False)}
    return client.post(change_url(user), data)


def group(name):
    return Group.objects.get(name=name).pk


def recorded():
    return [(e.action, e.reason) for e in AuditEvent.objects.order_by("pk")]


@pytest.mark.django_db
class TestUserList:
    @pytest.mark.parametrize("staff", ["Admin", "Finance", "Support", "Auditor"])
    def test_finds_by_email(self, staff):
        UserFactory(email="grace@example.com")
        UserFactory(email="ada@example.com")
        page = as_role(staff).get(LIST, {"q": "grace@"}).content.decode()
        assert "grace@example.com" in page
        assert "ada@example.com" not in page

    def test_is_closed_to_staff_without_a_group(self):
        assert as_role("").get(LIST).status_code == 403

    def test_costs_the_same_for_one_and_three(self, django_assert_num_queries):
        client = as_role("Finance")
        for _ in range(2):
            UserFactory()
            with django_assert_num_queries(8):
                client.get(LIST)
            UserFactory()


@pytest.mark.django_db
class TestUserPage:
    def test_lets_an_admin_change_what_it_should(self):
        fields = inputs(as_role("Admin").get(change_url(UserFactory())))
        rights = {"role", "is_agent", "is_active", "is_staff", "groups"}
        assert fields == {"name", "reason", "shown"} | rights

    def test_offers_nobody_their_own_rights(self):
        client = as_role("Admin")
        assert inputs(client.get(change_url(client.user))) == {"name", "reason", "shown"}

    @pytest.mark.parametrize("staff", ["Finance", "Support", "Auditor"])
    def test_lets_others_look_only(self, staff):
        user, client = UserFactory(), as_role(staff)
        page = client.get(change_url(user))
        assert user.email in page.content.decode()
        assert 'name="_save"' not in page.content.decode()
        assert 'name="role"' not in page.content.decode()
        data = {"name": "x", "is_staff": "on", "groups": [group("Admin")], "reason": REASON}
        assert client.post(change_url(user), data).status_code == 403
        user.refresh_from_db()
        assert (user.is_staff, user.groups.count(), recorded()) == (False, 0, [])

    def test_lets_a_superuser_without_a_group_change_no_rights(self):
        user, client = UserFactory(), as_role("", is_superuser=True)
        assert inputs(client.get(change_url(user))) == {"name", "reason", "shown"}
        submit(client, user, is_staff="on", groups=[group("Admin")], reason=REASON)
        user.refresh_from_db()
        assert (user.is_staff, user.groups.count()) == (False, 0)

    def test_never_offers_superuser_or_single_permissions(self):
        user, client = UserFactory(), as_role("Admin")
        submit(
            client,
            user,
            name="New",
            reason=REASON,
            is_superuser="on",
            user_permissions=[1],
            is_partner="on",
        )
        user.refresh_from_db()
        assert (user.name, user.is_superuser, user.is_partner) == ("New", False, False)
        assert not user.user_permissions.exists()

    @pytest.mark.parametrize(
        ("changes", "action"),
        [
            ({"name": "Grace"}, "accounts.user.renamed"),
            ({"is_agent": "on"}, "accounts.user.agent_changed"),
            ({"is_active": False}, "accounts.user.deactivated"),
        ],
    )
    def test_changes_through_the_service_and_records_why(self, changes, action):
        user = UserFactory()
        assert submit(as_role("Admin"), user, **changes, reason=REASON).status_code == 302
        assert recorded() == [(action, REASON)]

    def test_changes_the_role_and_announces_it(self, monkeypatch):
        told = []
        monkeypatch.setattr(
            events.role_changed,
            "handlers",
            [lambda **facts: told.append(facts["previous_role"].code)],
        )
        user, role = UserFactory(), Role.objects.get(code="recruitpro")
        submit(as_role("Admin"), user, role=role.pk, reason=REASON)
        user.refresh_from_db()
        assert (user.role, told) == (role, ["member"])
        assert recorded() == [("accounts.user.role_changed", REASON)]

    def test_makes_staff_of_a_group(self):
        user = UserFactory()
        submit(as_role("Admin"), user, is_staff="on", groups=[group("Finance")], reason=REASON)
        user.refresh_from_db()
        assert (user.is_staff, [g.name for g in user.groups.all()]) == (True, ["Finance"])
        assert recorded() == [("accounts.user.staff_changed", REASON)]

    def test_changes_nothing_without_a_reason(self):
        user = UserFactory()
        page = submit(as_role("Admin"), user, is_agent="on", reason="")
        assert "A change needs a reason." in page.content.decode()
        user.refresh_from_db()
        assert (user.is_agent, recorded()) == (False, [])

    def test_refuses_a_page_that_somebody_has_overtaken(self):
        user, client = UserFactory(name="Ada"), as_role("Admin")
        shown = client.get(change_url(user)).context["adminform"].form["shown"].value()
        User.objects.filter(pk=user.pk).update(is_agent=True)
        page = client.post(change_url(user), {"name": "Eve", "reason": REASON, "shown": shown})
        assert "Somebody has changed this user meanwhile" in page.content.decode()
        user.refresh_from_db()
        assert (user.name, user.is_agent) == ("Ada", True)

    def test_records_nothing_when_nothing_changes(self):
        user = UserFactory()
        assert submit(as_role("Admin"), user).status_code == 302
        assert recorded() == []

    def test_shows_a_refusal_of_a_subscriber(self, monkeypatch):
        from creditsite.errors import Conflict

        def refuse(**facts):
            raise Conflict("Not while a hold is open.")

        monkeypatch.setattr(events.role_changed, "handlers", [refuse])
        user, client = UserFactory(), as_role("Admin")
        role = Role.objects.get(code="admin")
        response = submit(client, user, name="Grace", role=role.pk, reason=REASON)
        assert "Not while a hold is open." in client.get(response.url).content.decode()
        before = user.name
        user.refresh_from_db()
        assert (user.name, user.role.code, recorded()) == (before, "member", [])


@pytest.mark.django_db
class TestAddUser:
    def test_makes_a_user_announces_and_records(self, monkeypatch):
        told = []
        monkeypatch.setattr(
            events.user_registered, "handlers", [lambda **facts: told.append(facts)]
        )
        client = as_role("Admin")
        told.clear()
        member = Role.objects.get(code="member")
        data = {"email": "New@Example.com", "name": "Ada", "role": member.pk, "reason": REASON}
        response = client.post(f"{LIST}add/", data)
        user = User.objects.get(email="new@example.com")
        assert response.status_code == 302
        assert (user.role, user.has_usable_password()) == (member, False)
        assert [(facts["user"], facts["actor"]) for facts in told] == [(user, client.user)]
        assert recorded() == [("accounts.user.created", REASON)]

    @pytest.mark.parametrize("email", ["TAKEN@example.com", "nobody"])
    def test_says_what_is_wrong_with_the_address(self, email):
        UserFactory(email="taken@example.com")
        client = as_role("Admin")
        page = client.post(f"{LIST}add/", {"email": email, "reason": REASON})
        assert page.status_code == 200
        assert page.context["adminform"].form.errors.keys() == {"email"}

    def test_is_not_offered_to_finance(self):
        assert as_role("Finance").get(f"{LIST}add/").status_code == 403


@pytest.mark.django_db
class TestSetPassword:
    def post(self, client, user, **changes):
        data = {
            "confirmed": "yes",
            "password": PASSWORD,
            "repeated": PASSWORD,
            "reason": REASON,
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        }
        return client.post(f"{LIST}{user.pk}/set_password/", data | changes)

    def test_asks_first(self):
        user, client = UserFactory(), as_role("Admin")
        assert "Set a new password" in client.get(change_url(user)).content.decode()
        page = client.get(f"{LIST}{user.pk}/set_password/").content.decode()
        assert f"The password of {user.email}; their sessions and tokens end" in page

    def test_sets_it_and_records_why(self):
        user = UserFactory()
        assert self.post(as_role("Admin"), user).url == change_url(user)
        assert authenticate(username=user.email, password=PASSWORD) == user
        assert recorded() == [("accounts.user.password_set", REASON)]

    @pytest.mark.parametrize(
        ("wrong", "shown"),
        [
            ({"repeated": "another"}, "The two passwords differ."),
            ({"password": "12345", "repeated": "12345"}, "too short"),
        ],
    )
    def test_changes_nothing_on_a_wrong_answer(self, wrong, shown):
        user = UserFactory()
        page = self.post(as_role("Admin"), user, **wrong).content.decode()
        assert shown in page
        assert wrong.get("password", PASSWORD) not in page
        user.refresh_from_db()
        assert (user.password, recorded()) == ("!", [])

    @pytest.mark.parametrize("staff", ["Finance", "Support", "Auditor"])
    def test_is_for_admins_only(self, staff):
        user = UserFactory()
        assert self.post(as_role(staff), user).status_code == 403
        user.refresh_from_db()
        assert user.password == "!"


@pytest.mark.django_db
class TestHistory:
    def test_leads_to_the_audit_record_of_the_user(self):
        user, client = StaffFactory(), as_role("Admin")
        submit(client, user, name="Grace", reason=REASON)
        page = client.get(f"{LIST}{user.pk}/history/", follow=True).content.decode()
        assert f"admin@staff.example.com changed the name of {user.email}" in page

    @pytest.mark.parametrize(
        ("staff", "offered"), [("Admin", True), ("Auditor", True), ("Finance", False)]
    )
    def test_is_offered_to_who_may_read_the_record(self, staff, offered):
        user = UserFactory()
        assert (
            f"{LIST}{user.pk}/history/" in as_role(staff).get(change_url(user)).content.decode()
        ) is offered
