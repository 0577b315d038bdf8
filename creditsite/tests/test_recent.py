"""What takes a sign-in of the last five minutes, on the staff pages."""

import pytest
from django.test import Client

from accounts.models import ApiKey, Role, User
from accounts.tests.factories import StaffFactory, UserFactory
from accounts.tests.sign_in import PASSWORD
from creditsite.testing.people import as_role

REASON = "asked for by the owner"
REQUEST_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NEW = "another horse battery"
AGAIN = "/accounts/reauthenticate/?next="
pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(time_machine) -> Client:
    """Somebody of the group Admin, who signed in five minutes and a second ago."""
    time_machine.move_to("2026-11-20 12:00:00Z", tick=False)
    client = as_role("Admin", password=PASSWORD)
    time_machine.move_to("2026-11-20 12:05:01Z", tick=False)
    return client


def sign_in_again(client: Client) -> None:
    response = client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert response.status_code == 302


class TestActs:
    """A page that asks before it acts."""

    def path(self) -> str:
        return f"/admin/accounts/user/{UserFactory(email='ada@example.com').pk}/set_password/"

    def data(self, **fields) -> dict[str, str]:
        answer = {"confirmed": "yes", "reason": REASON, "request_id": REQUEST_ID}
        return answer | {"password": NEW, "repeated": NEW} | fields

    def test_open_after_a_new_sign_in_and_come_back(self, admin):
        path = self.path()
        asked = admin.get(path)
        assert asked.url == f"{AGAIN}{path.replace('/', '%2F')}"
        again = admin.post(asked.url, {"password": PASSWORD})
        assert again.url == path
        assert admin.get(path).status_code == 200

    def test_keep_what_was_typed_and_do_nothing_when_sent_too_late(self, admin):
        path = self.path()
        page = admin.post(path, self.data()).content.decode()
        assert "this needs a sign-in of the last five minutes" in page
        assert f"{AGAIN}%2Faccounts%2Fconfirmed%2F" in page
        assert REASON in page
        assert REQUEST_ID in page
        assert not User.objects.get(email="ada@example.com").has_usable_password()
        sign_in_again(admin)
        assert admin.get("/accounts/confirmed/").status_code == 200
        assert admin.post(path, self.data()).status_code == 302
        assert User.objects.get(email="ada@example.com").check_password(NEW)

    def test_are_done_at_once_after_a_fresh_sign_in(self):
        path = self.path()
        assert as_role("Admin").post(path, self.data()).status_code == 302
        assert User.objects.get(email="ada@example.com").check_password(NEW)

    def test_that_the_table_does_not_name_open_at_once(self, admin):
        for path in [
            f"/admin/accounts/user/{UserFactory().pk}/change/",
            "/admin/accounts/team/add/",
        ]:
            assert admin.get(path).status_code == 200


class TestForms:
    """Django's own pages, that add and change."""

    def test_open_after_a_new_sign_in(self, admin):
        path = f"/admin/accounts/role/{Role.objects.get(code='member').pk}/change/"
        for page in [path, "/admin/accounts/apikey/add/"]:
            assert admin.get(page).url == f"{AGAIN}{page.replace('/', '%2F')}"
        sign_in_again(admin)
        assert admin.get(path).status_code == 200

    def test_open_at_once_to_who_only_looks(self, time_machine):
        time_machine.move_to("2026-11-20 12:00:00Z", tick=False)
        client = as_role("Auditor")
        time_machine.move_to("2026-11-20 12:06:00Z", tick=False)
        path = f"/admin/accounts/role/{Role.objects.get(code='member').pk}/change/"
        assert client.get(path).status_code == 200

    def test_keep_what_was_typed_and_save_nothing_when_sent_too_late(self, admin):
        data = {"name": "gateway", "owner": StaffFactory().pk, "scopes": ["credits:read"]}
        data |= {"reason": REASON}
        page = admin.post("/admin/accounts/apikey/add/", data).content.decode()
        assert "this needs a sign-in of the last five minutes" in page
        assert f'href="{AGAIN}%2Faccounts%2Fconfirmed%2F"' in page
        assert 'value="gateway"' in page
        assert not ApiKey.objects.exists()
        sign_in_again(admin)
        admin.post("/admin/accounts/apikey/add/", data)
        assert ApiKey.objects.get().name == "gateway"

    def test_change_nothing_when_sent_too_late(self, admin):
        role = Role.objects.get(code="member")
        data = {"code": "member", "name": "Renamed", "allotment": 350, "pool_seats": 0}
        data |= {"reason": REASON}
        page = admin.post(f"/admin/accounts/role/{role.pk}/change/", data).content.decode()
        assert 'value="Renamed"' in page
        assert Role.objects.get(code="member").name == role.name
