"""Signing in by the pages: who gets in, where it leads, and what wrong guesses meet."""

from unittest import mock
from urllib.parse import unquote

import pytest
from django.contrib.auth import hashers
from django.test import Client

from accounts.models import SignInFailures, User
from accounts.tests.sign_in import (
    LOGIN,
    PASSWORD,
    code_of,
    is_in,
    member,
    sign_in,
    signed_in,
    staff,
    with_factor,
    with_recovery_codes,
)
from audit.models import AuditEvent

WRONG = "The email address and/or password you specified are not correct."
NOW = "2026-11-20 12:00:10Z"
pytestmark = pytest.mark.django_db


def page_of(response) -> str:
    return response.content.decode()


class TestSigningIn:
    def test_leads_staff_to_the_staff_pages_and_users_to_their_credits(self):
        assert sign_in(Client(), staff().email).url == "/admin/"
        assert sign_in(Client(), member().email).url == "/billing/"

    def test_takes_the_email_in_any_spelling(self):
        member(email="ada@example.com")
        client = Client()
        sign_in(client, "ADA@Ｅxample.com")
        assert is_in(client)

    def test_gives_the_session_a_new_id(self):
        client = Client()
        session = client.session
        session["before"] = True
        session.save()
        before = session.session_key
        sign_in(client, member().email)
        assert client.session.session_key != before

    def test_records_that_of_staff_and_not_of_users(self):
        sign_in(Client(), member().email)
        user = staff()
        sign_in(Client(), user.email)
        event = AuditEvent.objects.get()
        assert (event.action, event.actor_id) == ("accounts.staff.signed_in", user.pk)
        assert event.after == {"methods": ["password"]}

    @pytest.mark.parametrize("back", ["/admin/ledger/wallet/", "/accounts/sessions/"])
    def test_leads_back_to_a_page_of_ours(self, back):
        data = {"login": staff().email, "password": PASSWORD, "next": back}
        assert Client().post(LOGIN, data).url == back

    @pytest.mark.parametrize(
        "elsewhere",
        [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "http://localhost/admin/",
            "\thttps://evil.example",
        ],
    )
    def test_leads_nowhere_else(self, elsewhere):
        data = {"login": staff().email, "password": PASSWORD, "next": elsewhere}
        assert Client().post(LOGIN, data).url == "/admin/"
        url = Client().get("/admin/login/", {"next": elsewhere}).url
        assert url == "/accounts/login/?next=%2Fadmin%2F"


class TestAdminLogin:
    def test_is_the_one_sign_in_page(self):
        client, user = Client(), staff()
        asked = client.get("/admin/ledger/wallet/", follow=True)
        assert unquote(asked.redirect_chain[-1][0]) == f"{LOGIN}?next=/admin/ledger/wallet/"
        data = {"login": user.email, "password": PASSWORD, "next": "/admin/ledger/wallet/"}
        assert client.post(LOGIN, data).url == "/admin/ledger/wallet/"
        assert client.get("/admin/login/", {"next": "/admin/"}).url == "/admin/"

    def test_takes_no_password_itself(self):
        client, user = Client(), staff()
        client.post("/admin/login/", {"username": user.email, "password": PASSWORD})
        assert not is_in(client)

    def test_leads_a_user_to_their_account(self):
        client = signed_in(member())
        page = client.get("/admin/login/?next=/admin/", follow=True)
        assert page.redirect_chain == [("/accounts/", 302)]
        assert "does not open the staff pages" in page_of(page)

    def test_leads_a_change_of_password_to_the_recorded_one(self):
        assert signed_in(staff()).get("/admin/password_change/").url == "/accounts/password/change/"


class TestWrongGuesses:
    """The lockout itself is tested with its service."""

    def try_and_see(self, email: str, password: str = "wrong") -> tuple[int, str]:
        client = Client()
        response = sign_in(client, email, password)
        page = page_of(response).replace(email, "E-MAIL")
        token = response.context["csrf_token"]
        return response.status_code, page.replace(str(token), "TOKEN")

    def test_are_answered_alike_for_known_unknown_and_closed_accounts(self):
        known, closed = member(), member(is_active=False)
        answers = {
            self.try_and_see(known.email),
            self.try_and_see("nobody@example.com"),
            self.try_and_see(closed.email),
            self.try_and_see(closed.email, PASSWORD),
        }
        assert len(answers) == 1
        ((status, page),) = answers
        assert status == 200
        assert WRONG in page

    @pytest.mark.parametrize("email", ["known@example.com", "nobody@example.com"])
    def test_cost_one_hash(self, email):
        member(email="known@example.com")
        with mock.patch.object(
            hashers.MD5PasswordHasher, "encode", autospec=True, side_effect=fake_encode
        ) as encode:
            sign_in(Client(), email, "wrong")
        assert encode.call_count == 1

    def test_lock_the_account_from_that_address_for_right_ones_too(self):
        user = member()
        for _ in range(5):
            sign_in(Client(), user.email, "wrong")
        client = Client()
        assert "Too many sign-ins went wrong" in page_of(sign_in(client, user.email))
        assert not is_in(client)
        elsewhere = Client(REMOTE_ADDR="198.51.100.7")
        sign_in(elsewhere, user.email)
        assert is_in(elsewhere)

    def test_are_forgiven_by_a_right_one(self):
        user = member()
        for _ in range(4):
            sign_in(Client(), user.email, "wrong")
        signed_in(user)
        for _ in range(4):
            sign_in(Client(), user.email, "wrong")
        signed_in(user)

    def test_count_by_the_client_behind_the_proxy(self, settings):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
        user = member()
        for number in range(5):
            forged = f"203.0.113.{number}, 198.51.100.7"
            sign_in(Client(HTTP_X_FORWARDED_FOR=forged), user.email, "wrong")
        locked, free = Client(), Client()
        sign_in(locked, user.email, HTTP_X_FORWARDED_FOR="198.51.100.7")
        sign_in(free, user.email, HTTP_X_FORWARDED_FOR="198.51.100.8")
        assert (is_in(locked), is_in(free)) == (False, True)

    def test_do_not_count_while_the_form_is_wrong(self):
        sign_in(Client(), "no address", "wrong")
        sign_in(Client(), member().email, "")
        assert not SignInFailures.objects.exists()


def fake_encode(self, password, salt, iterations=None):
    return f"md5${salt}$0"


class TestSecondFactor:
    @pytest.fixture(autouse=True)
    def _at_one_instant(self, time_machine):
        time_machine.move_to(NOW, tick=False)

    def test_is_asked_for_after_the_password(self):
        user = staff()
        secret, client = with_factor(user), Client()
        assert sign_in(client, user.email).url == "/accounts/factors/authenticate/"
        assert not is_in(client)
        assert client.get("/admin/").status_code == 302
        response = client.post("/accounts/factors/authenticate/", {"code": code_of(secret)})
        assert response.url == "/admin/"
        assert client.get("/admin/").status_code == 200
        assert AuditEvent.objects.get().after == {"methods": ["password", "totp"]}

    def test_leads_back_to_where_one_wanted_to_go(self):
        user = staff()
        secret, client = with_factor(user), Client()
        data = {"login": user.email, "password": PASSWORD, "next": "/admin/ledger/wallet/"}
        client.post(LOGIN, data)
        response = client.post("/accounts/factors/authenticate/", {"code": code_of(secret)})
        assert response.url == "/admin/ledger/wallet/"

    def test_takes_a_code_once(self):
        user = member()
        code = code_of(with_factor(user))
        answers = []
        for _ in range(2):
            client = Client()
            sign_in(client, user.email)
            client.post("/accounts/factors/authenticate/", {"code": code})
            answers.append(is_in(client))
        assert answers == [True, False]

    def test_takes_a_recovery_code_once(self):
        user = member()
        with_factor(user)
        code = with_recovery_codes(user)[0]
        answers = []
        for _ in range(2):
            client = Client()
            sign_in(client, user.email)
            client.post("/accounts/factors/authenticate/", {"code": code})
            answers.append(is_in(client))
        assert answers == [True, False]

    def test_locks_out_who_guesses_codes_though_they_know_the_password(self):
        user = member()
        secret = with_factor(user)
        for _ in range(5):
            client = Client()
            sign_in(client, user.email)
            client.post("/accounts/factors/authenticate/", {"code": "000000"})
        assert "Too many sign-ins" in page_of(
            client.post("/accounts/factors/authenticate/", {"code": code_of(secret)})
        )
        assert not is_in(client)
        assert not is_in(Client())

    def test_is_not_reached_without_the_password(self):
        response = Client().post("/accounts/factors/authenticate/", {"code": "000000"})
        assert response.url == "/accounts/login/"


class TestStaffWithoutASecondFactor:
    """Outside of a demo."""

    @pytest.fixture(autouse=True)
    def _in_production(self, settings):
        settings.STAFF_NEED_SECOND_FACTOR = True

    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("path", ["/admin/", "/admin/ledger/wallet/", "/admin/search/"])
    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_are_led_to_set_one_up_from_every_staff_page(self, path, method, is_superuser):
        client = signed_in(staff(is_superuser=is_superuser))
        response = getattr(client, method)(path)
        assert (response.status_code, response.url) == (302, "/accounts/factors/")

    def test_may_sign_out(self):
        client = signed_in(staff())
        client.post("/admin/logout/")
        assert not is_in(client)

    def test_get_on_once_they_have_one(self, time_machine):
        time_machine.move_to(NOW, tick=False)
        client = signed_in(staff())
        client.get("/accounts/factors/app/activate/")
        secret = client.session["mfa.totp.secret"]
        client.post("/accounts/factors/app/activate/", {"code": code_of(secret)})
        assert client.get("/admin/").status_code == 200

    def test_are_let_in_by_a_demo(self, settings):
        settings.STAFF_NEED_SECOND_FACTOR = False
        assert signed_in(staff()).get("/admin/").status_code == 200


class TestSignedOutPages:
    @pytest.mark.parametrize(
        "path",
        [
            "/accounts/",
            "/accounts/password/change/",
            "/accounts/factors/",
            "/accounts/sessions/",
            "/accounts/reauthenticate/",
        ],
    )
    def test_lead_to_the_sign_in(self, path):
        page = Client().get(path, follow=True)
        assert page.request["PATH_INFO"] == LOGIN

    def test_signing_out_ends_the_session(self):
        client = signed_in(member())
        assert client.get("/accounts/logout/").status_code == 200
        assert is_in(client)
        assert client.post("/accounts/logout/").url == LOGIN
        assert not is_in(client)

    def test_nobody_who_is_deactivated_stays_in(self):
        user = member()
        client = signed_in(user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert not is_in(client)
