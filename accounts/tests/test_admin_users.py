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
RIGHTS = {"role", "staff", "start-agent", "deactivate"}


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


def acts_on(page):
    return {action["name"] for action in page.context["page_actions"]}


def act_url(user, act):
    return f"{LIST}{user.pk}/{act}/"


def answers(page):
    """Return what a browser would send of a page that asks, with a reason."""
    form = page.context["form"]
    values = {name: form[name].value() for name in form.fields}
    given = {name: value for name, value in values.items() if value not in (None, False, [])}
    return given | {"reason": REASON, "confirmed": "yes"}


def send(client, user, act, **typed):
    """Open the page of an act, answer it as ``typed`` and send it."""
    page = client.get(act_url(user, act))
    return client.post(act_url(user, act), answers(page) | typed) if page.context else page


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
            with django_assert_num_queries(7):
                client.get(LIST)
            UserFactory()


@pytest.mark.django_db
class TestUserPage:
    def test_lets_an_admin_change_the_name_here_and_offers_the_rest_as_acts(self):
        page = as_role("Admin").get(change_url(UserFactory()))
        assert inputs(page) == {"name", "reason"}
        assert acts_on(page) >= RIGHTS

    def test_offers_nobody_their_own_rights(self):
        client = as_role("Admin")
        assert not RIGHTS & acts_on(client.get(change_url(client.user)))

    @pytest.mark.parametrize("staff", ["Finance", "Support", "Auditor"])
    def test_lets_others_look_only(self, staff):
        user, client = UserFactory(), as_role(staff)
        page = client.get(change_url(user))
        assert user.email in page.content.decode()
        assert 'name="_save"' not in page.content.decode()
        assert acts_on(page) == set()
        data = {"name": "x", "is_staff": "on", "groups": ["Admin"], "reason": REASON}
        assert client.post(change_url(user), data).status_code == 403
        assert client.post(act_url(user, "staff"), data).status_code == 403
        user.refresh_from_db()
        assert (user.is_staff, user.groups.count(), recorded()) == (False, 0, [])

    def test_shows_a_superuser_without_a_group_nothing(self):
        user, client = UserFactory(), as_role("", is_superuser=True)
        assert client.get(change_url(user)).status_code == 403
        assert client.post(act_url(user, "staff"), {"is_staff": "on"}).status_code == 403
        user.refresh_from_db()
        assert user.is_staff is False

    def test_never_offers_superuser_or_single_permissions(self):
        user, client = UserFactory(), as_role("Admin")
        submit(
            client,
            user,
            name="New",
            reason=REASON,
            is_superuser="on",
            is_staff="on",
            user_permissions=[1],
            groups=[1],
            is_partner="on",
        )
        user.refresh_from_db()
        flags = (user.is_superuser, user.is_staff, user.is_partner)
        assert (user.name, flags) == ("New", (False, False, False))
        assert not user.user_permissions.exists()
        assert not user.groups.exists()

    def test_changes_the_name_through_the_service_and_records_why(self):
        user = UserFactory()
        assert submit(as_role("Admin"), user, name="Grace", reason=REASON).status_code == 302
        assert recorded() == [("accounts.user.renamed", REASON)]

    def test_changes_nothing_without_a_reason(self):
        user = UserFactory(name="Ada")
        page = submit(as_role("Admin"), user, name="Grace", reason="")
        assert "A change needs a reason." in page.content.decode()
        user.refresh_from_db()
        assert (user.name, recorded()) == ("Ada", [])

    def test_records_nothing_when_nothing_changes(self):
        user = UserFactory()
        assert submit(as_role("Admin"), user).status_code == 302
        assert recorded() == []


@pytest.mark.django_db
class TestActs:
    @pytest.mark.parametrize(
        ("act", "action"),
        [
            ("start-agent", "accounts.user.agent_changed"),
            ("deactivate", "accounts.user.deactivated"),
        ],
    )
    def test_go_through_the_service_and_record_why(self, act, action):
        user = UserFactory()
        assert send(as_role("Admin"), user, act).url == change_url(user)
        user.refresh_from_db()
        assert recorded() == [(action, REASON)]
        assert (user.is_agent, user.is_active) == (act == "start-agent", act != "deactivate")

    @pytest.mark.parametrize(
        ("act", "flag"), [("end-agent", "is_agent"), ("activate", "is_active")]
    )
    def test_undo_each_other(self, act, flag):
        user = UserFactory(is_agent=True, is_active=False)
        send(as_role("Admin"), user, act)
        user.refresh_from_db()
        assert getattr(user, flag) is (act == "activate")

    def test_change_the_role_and_announce_it(self, monkeypatch):
        told = []
        monkeypatch.setattr(
            events.role_changed,
            "handlers",
            [lambda **facts: told.append(facts["previous_role"].code)],
        )
        user, role = UserFactory(), Role.objects.get(code="recruitpro")
        send(as_role("Admin"), user, "role", role=role.pk)
        user.refresh_from_db()
        assert (user.role, told) == (role, ["member"])
        assert recorded() == [("accounts.user.role_changed", REASON)]

    def test_make_staff_of_a_group(self):
        user = UserFactory()
        send(as_role("Admin"), user, "staff", is_staff="on", groups_of_staff=["Finance"])
        user.refresh_from_db()
        assert (user.is_staff, [g.name for g in user.groups.all()]) == (True, ["Finance"])
        assert recorded() == [("accounts.user.staff_changed", REASON)]

    def test_show_who_is_in_which_group_already(self):
        client, user = as_role("Admin"), StaffFactory(groups="Finance")
        form = client.get(act_url(user, "staff")).context["form"]
        assert form["is_staff"].value() is True
        assert form["groups_of_staff"].value() == ["Finance"]

    def test_refuse_a_page_that_somebody_has_overtaken(self):
        user, client = UserFactory(), as_role("Admin")
        page = client.get(act_url(user, "staff"))
        user.groups.add(Group.objects.get(name="Support"))
        data = answers(page) | {"is_staff": "on", "groups_of_staff": ["Finance"]}
        page = client.post(act_url(user, "staff"), data)
        assert "Somebody has changed this user meanwhile" in page.content.decode()
        assert [group.name for group in user.groups.all()] == ["Support"]

    def test_refuse_ones_own_account_whatever_is_posted(self):
        client = as_role("Admin")
        page = send(client, client.user, "staff")
        assert "Nobody changes the rights of their own account." in page.content.decode()
        client.user.refresh_from_db()
        assert client.user.is_staff

    def test_show_a_refusal_of_a_subscriber(self, monkeypatch):
        from creditsite.errors import Conflict

        def refuse(**facts):
            raise Conflict("Not while a hold is open.")

        monkeypatch.setattr(events.role_changed, "handlers", [refuse])
        user, client = UserFactory(), as_role("Admin")
        role = Role.objects.get(code="admin")
        page = send(client, user, "role", role=role.pk)
        assert "Not while a hold is open." in page.content.decode()
        user.refresh_from_db()
        assert (user.role.code, recorded()) == ("member", [])

    def test_delete_nobody(self):
        user = UserFactory()
        assert as_role("Admin").post(f"{LIST}{user.pk}/delete/", {"post": "yes"}).status_code == 403
        assert User.objects.filter(pk=user.pk).exists()


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
