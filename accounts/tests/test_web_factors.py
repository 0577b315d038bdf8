"""Second factors: set up, removed, and taken by staff when they are lost."""

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core import mail
from django.db import connection
from django.test import Client

from accounts.api.tokens import token_pair
from accounts.errors import OwnAccount
from accounts.services.sign_in import reset_factors
from accounts.tests.factories import StaffFactory
from accounts.tests.sign_in import (
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
from accounts.tests.test_web_passwords import may_call
from audit.models import AuditEvent
from creditsite.errors import Conflict, NotPermitted
from creditsite.testing.people import as_role

ACTIVATE, DEACTIVATE = "/accounts/factors/app/activate/", "/accounts/factors/app/deactivate/"
NOW = "2026-11-20 12:00:10Z"
REASON = "lost their telephone, called us"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_one_instant(time_machine):
    time_machine.move_to(NOW, tick=False)


def confirmed_member():
    user = member()
    EmailAddress.objects.filter(user=user).update(verified=True)
    return user


def set_up(client: Client) -> str:
    """Set up an authenticator app, and return its secret."""
    assert "data:image/svg+xml" in client.get(ACTIVATE).content.decode()
    secret = client.session["mfa.totp.secret"]
    assert client.post(ACTIVATE, {"code": code_of(secret)}).status_code == 302
    return secret


class TestSetUp:
    def test_ends_the_other_sessions_and_all_tokens(self):
        user = confirmed_member()
        here, there, access = signed_in(user), signed_in(user), token_pair(user)["access"]
        set_up(here)
        assert (is_in(here), is_in(there), may_call(access)) == (True, False, False)

    def test_is_recorded_with_its_recovery_codes_in_one_transaction(self):
        user = confirmed_member()
        set_up(signed_in(user))
        events = AuditEvent.objects.order_by("pk")
        assert [(event.action, event.actor_id, event.after) for event in events] == [
            ("accounts.factor.added", user.pk, {"factor": "TOTP Authenticator"}),
            ("accounts.factor.added", user.pk, {"factor": "Recovery codes"}),
        ]

    def test_shows_recovery_codes(self):
        user = confirmed_member()
        client = signed_in(user)
        set_up(client)
        codes = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
        page = client.get("/accounts/factors/codes/").content.decode()
        assert all(code in page for code in codes)

    def test_waits_until_the_address_is_confirmed(self):
        client = signed_in(member())
        page = client.get(ACTIVATE, follow=True).content.decode()
        assert "until you have verified your email address" in page
        client.post(ACTIVATE, {"code": "000000"})
        assert not Authenticator.objects.exists()

    def test_takes_a_recent_sign_in(self, time_machine):
        client = signed_in(confirmed_member())
        time_machine.move_to("2026-11-20 12:05:11Z", tick=False)
        assert client.get(ACTIVATE).url.startswith("/accounts/reauthenticate/?next=")
        page = client.post("/accounts/reauthenticate/?next=" + ACTIVATE, {"password": PASSWORD})
        assert page.url == ACTIVATE
        assert client.get(ACTIVATE).status_code == 200

    def test_keeps_its_secret_encrypted(self):
        secret = set_up(signed_in(confirmed_member()))
        with connection.cursor() as cursor:
            cursor.execute("SELECT string_agg(data::text, '') FROM mfa_authenticator")
            assert secret not in cursor.fetchone()[0]

    def test_is_read_with_a_key_of_before(self, settings):
        secret = with_factor(member())
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 50, [settings.SECRET_KEY]
        assert Authenticator.objects.get().wrap().validate_code(code_of(secret))


class TestSecurityKey:
    """A real one is added and used in the browser's tests."""

    @pytest.mark.parametrize(
        "credential",
        [
            "",
            "no JSON",
            "null",
            "[]",
            "1",
            '"x"',
            "{}",
            '{"id": 1, "rawId": null, "response": {}, "type": "public-key"}',
            '{"id": "é", "rawId": "é", "response": {"clientDataJSON": "e30"}, "type": "x"}',
            '{"id": "AA", "rawId": "AA", "type": "public-key", "response":'
            ' {"clientDataJSON": "e30", "attestationObject": "AA", "authenticatorData": "AA",'
            ' "signature": "AA"}}',
            '{"id": "AA", "rawId": "AA", "type": "public-key", "response":'
            ' {"clientDataJSON": "AA", "attestationObject": "oA", "authenticatorData": "AA",'
            ' "signature": "AA", "userHandle": "AA"}}',
        ],
    )
    def test_refuses_what_is_no_answer_of_one(self, credential):
        user = confirmed_member()
        client = signed_in(user)
        path = "/accounts/factors/keys/add/"
        client.get(path)
        answer = client.post(path, {"name": "x", "credential": credential})
        assert (answer.status_code, Authenticator.objects.count()) == (200, 0)
        with_factor(user)
        client = Client()
        page = client.get(sign_in(client, user.email).url)
        assert page.status_code == 200
        answer = client.post("/accounts/factors/authenticate/", {"credential": credential})
        assert (answer.status_code, is_in(client)) == (200, False)


class TestRemove:
    def test_ends_the_other_sessions_and_is_recorded(self):
        user = member()
        here, there = signed_in(user), signed_in(user)
        with_factor(user)
        with_recovery_codes(user)
        assert here.post(DEACTIVATE).status_code == 302
        assert (is_in(here), is_in(there)) == (True, False)
        assert [(event.action, event.before) for event in AuditEvent.objects.order_by("pk")] == [
            ("accounts.factor.removed", {"factor": "TOTP Authenticator"}),
            ("accounts.factor.removed", {"factor": "Recovery codes"}),
        ]

    def test_takes_the_factor_where_the_sign_in_is_older(self, time_machine):
        user = member()
        client = signed_in(user)
        secret = with_factor(user)
        time_machine.move_to("2026-11-20 12:05:40Z", tick=False)
        assert client.get(DEACTIVATE).url.startswith("/accounts/factors/reauthenticate/")
        # The password alone will not do.
        assert client.get("/accounts/reauthenticate/").url == "/accounts/factors/reauthenticate/"
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        assert client.get(DEACTIVATE).status_code == 302
        before = client.session.session_key
        client.post("/accounts/factors/reauthenticate/", {"code": code_of(secret)})
        assert client.get(DEACTIVATE).status_code == 200
        assert client.session.session_key != before

    def test_of_somebody_else_is_not_there(self):
        key = Authenticator.objects.create(user=member(), type="webauthn", data={"name": "x"})
        client = signed_in(member())
        for act in ["remove", "edit"]:
            assert client.get(f"/accounts/factors/keys/{key.pk}/{act}/").status_code == 404


class TestResetFactors:
    def reset(self, user, **fields):
        record = {"actor": StaffFactory(), "reason": REASON, "at": NOW}
        return reset_factors(user=user, **(record | fields))

    def test_takes_them_all_and_ends_sessions_and_tokens(self):
        user = staff()
        client, access = signed_in(user), token_pair(user)["access"]
        with_factor(user)
        with_recovery_codes(user)
        self.reset(user)
        assert not Authenticator.objects.exists()
        assert (is_in(client), may_call(access)) == (False, False)
        sign_in(client, user.email)
        assert is_in(client)

    def test_is_recorded_and_told(self):
        user = member()
        with_factor(user)
        self.reset(user)
        event = AuditEvent.objects.get()
        assert (event.action, event.target_id, event.reason, event.before) == (
            "accounts.factors.reset",
            str(user.pk),
            REASON,
            {"factors": ["TOTP Authenticator"]},
        )
        (message,) = mail.outbox
        assert (message.to, message.subject) == ([user.email], "Your second factor was removed")

    @pytest.mark.parametrize("group", ["Finance", "Support", "Auditor"])
    def test_is_for_admins_only(self, group):
        user = member()
        with_factor(user)
        with pytest.raises(NotPermitted):
            self.reset(user, actor=StaffFactory(groups=group))
        assert Authenticator.objects.exists()

    def test_is_not_done_to_oneself(self):
        admin = StaffFactory()
        with_factor(admin)
        with pytest.raises(OwnAccount):
            self.reset(admin, actor=admin)

    def test_refuses_who_has_none(self):
        with pytest.raises(Conflict):
            self.reset(member())

    def test_asks_for_a_phrase_in_the_admin(self):
        user = member(email="ada@example.com")
        with_factor(user)
        client, path = as_role("Admin"), f"/admin/accounts/user/{user.pk}/reset_factors/"
        data = {
            "confirmed": "yes",
            "reason": REASON,
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        }
        page = client.post(path, data | {"confirmation": "RESET"}).content.decode()
        assert "That is not what is to be typed." in page
        assert Authenticator.objects.exists()
        client.post(path, data | {"confirmation": "RESET ada@example.com"})
        assert not Authenticator.objects.exists()
