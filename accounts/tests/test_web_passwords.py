"""Changing a password, and setting a new one by a link."""

import re

import pytest
from django.core import mail
from django.test import Client
from rest_framework.test import APIClient

from accounts.api.tokens import token_pair
from accounts.models import User
from accounts.tests.sign_in import PASSWORD, is_in, member, sign_in, signed_in
from audit.models import AuditEvent

NEW = "another horse battery"
CHANGE, RESET = "/accounts/password/change/", "/accounts/password/reset/"
pytestmark = pytest.mark.django_db


def change(client: Client, **fields):
    return client.post(
        CHANGE, {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW} | fields
    )


def may_call(access: str) -> bool:
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client.get("/api/auth/me").status_code == 200


class TestChangePassword:
    def test_leads_who_has_none_to_the_link_by_e_mail(self):
        user = member()
        client = signed_in(user)
        user.set_unusable_password()
        user.save()
        client.force_login(user)
        answer = client.get(CHANGE, follow=True)
        assert (answer.status_code, answer.request["PATH_INFO"]) == (200, RESET)

    def test_ends_the_other_sessions_and_all_tokens(self):
        user = member()
        here, there, access = signed_in(user), signed_in(user), token_pair(user)["access"]
        before = here.session.session_key
        assert may_call(access)
        change(here)
        assert (is_in(here), is_in(there), may_call(access)) == (True, False, False)
        assert here.session.session_key != before
        client = Client()
        sign_in(client, user.email, NEW)
        assert is_in(client)

    def test_is_recorded_and_told(self):
        user = member()
        change(signed_in(user))
        event = AuditEvent.objects.get()
        assert (event.action, event.actor_id, event.target_id) == (
            "accounts.password.changed",
            user.pk,
            str(user.pk),
        )
        (message,) = mail.outbox
        assert (message.to, message.subject) == ([user.email], "Password Changed")

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"oldpassword": "wrong"}, "Please type your current password."),
            ({"password2": "differs"}, "You must type the same password each time."),
            ({"password1": "12345", "password2": "12345"}, "too short"),
            ({"password1": "x" * 129, "password2": "x" * 129}, "at most 128 characters"),
        ],
    )
    def test_changes_nothing_when_it_refuses(self, fields, says):
        user = member()
        client = signed_in(user)
        assert says in change(client, **fields).content.decode()
        assert User.objects.get(pk=user.pk).password == user.password
        assert not AuditEvent.objects.exists()

    def test_counts_wrong_old_passwords_as_wrong_sign_ins(self):
        client = signed_in(member())
        for _ in range(5):
            change(client, oldpassword="wrong")
        assert "Too many sign-ins" in change(client).content.decode()


class TestResetPassword:
    def link_for(self, email: str) -> str:
        Client().post(RESET, {"email": email})
        return re.search(r"http://testserver(/\S+)", mail.outbox[-1].body)[1]

    def test_answers_alike_for_known_unknown_and_closed_accounts(self):
        emails = [member().email, "nobody@example.com", member(is_active=False).email]
        answers = [Client().post(RESET, {"email": email}) for email in emails]
        assert {(answer.status_code, answer.url) for answer in answers} == {
            (302, "/accounts/password/reset/done/")
        }
        assert [message.to for message in mail.outbox] == [[email] for email in emails]
        assert [message.subject for message in mail.outbox] == [
            "Set a new password",
            "No account with this address",
            "No account with this address",
        ]

    def test_sets_a_new_password_and_ends_all_sessions_and_tokens(self):
        user = member()
        there, access = signed_in(user), token_pair(user)["access"]
        client, link = Client(), self.link_for(user.email)
        form = client.get(link).url
        assert form.endswith("set-password/")
        client.post(form, {"password1": NEW, "password2": NEW})
        assert (is_in(client), is_in(there), may_call(access)) == (False, False, False)
        sign_in(client, user.email, NEW)
        assert is_in(client)
        assert AuditEvent.objects.get().action == "accounts.password.reset"
        assert mail.outbox[-1].subject == "Password Reset"

    def test_link_works_once(self):
        link, client = self.link_for(member().email), Client()
        form = client.get(link).url
        client.post(form, {"password1": NEW, "password2": NEW})
        assert "link was invalid" in Client().get(link).content.decode()
        stale = client.post(form, {"password1": PASSWORD, "password2": PASSWORD})
        assert "link was invalid" in stale.content.decode()

    def test_takes_the_host_of_no_forged_header(self):
        response = Client().post(RESET, {"email": member().email}, HTTP_HOST="evil.example")
        assert response.status_code == 400
        assert mail.outbox == []
