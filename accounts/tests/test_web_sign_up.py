"""Signing up by the page, and confirming the address."""

import re
from unittest import mock

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import hashers
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services.users import create_staff
from accounts.tests.factories import UserFactory
from accounts.tests.sign_in import PASSWORD, is_in, member, sign_in, signed_in
from accounts.tests.test_web_sign_in import fake_encode
from ledger.models import Wallet

SIGN_UP = "/accounts/signup/"
ADA = {"email": "Ada@Example.com", "name": "Ada", "password": PASSWORD}
pytestmark = pytest.mark.django_db


def sign_up(**fields):
    """Send the form from a new browser."""
    return Client().post(SIGN_UP, ADA | fields)


class TestSignUp:
    def test_makes_a_member_with_credits(self):
        referrer = UserFactory()
        sign_up(referral_code=referrer.referral_code.lower())
        user = User.objects.get(email="ada@example.com")
        assert (user.name, user.role.code, user.referrer) == ("Ada", "member", referrer)
        assert Wallet.objects.get(user=user).award == 350
        client = Client()
        sign_in(client, "ada@example.com")
        assert is_in(client)

    def test_sends_the_link_that_confirms_the_address(self):
        sign_up()
        (message,) = mail.outbox
        assert (message.to, message.subject) == (
            ["ada@example.com"],
            "Confirm your e-mail address",
        )
        client = Client()
        link = re.search(r"http://testserver(/accounts/confirm-email/\S+)", message.body)[1]
        assert "ada@example.com" in client.get(link).content.decode()
        assert not EmailAddress.objects.get().verified
        client.post(link)
        assert EmailAddress.objects.get().verified

    def test_answers_alike_for_a_known_address_and_changes_nothing(self):
        member(email="ada@example.com", name="The first")
        before = User.objects.values().get()
        known, new = sign_up(password="another horse battery"), sign_up(email="new@example.com")
        assert (known.status_code, known.url) == (new.status_code, new.url)
        assert known.content == new.content
        assert known.cookies.keys() == new.cookies.keys()
        assert User.objects.values().get(email="ada@example.com") == before
        first, second = mail.outbox
        assert (first.to, first.subject) == (["ada@example.com"], "You have an account already")
        assert second.to == ["new@example.com"]

    @pytest.mark.parametrize("is_known", [True, False])
    def test_costs_one_hash(self, is_known):
        if is_known:
            member(email="ada@example.com")
        with mock.patch.object(
            hashers.MD5PasswordHasher, "encode", autospec=True, side_effect=fake_encode
        ) as encode:
            sign_up()
        assert encode.call_count == 1

    @pytest.mark.parametrize("is_known", [True, False])
    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("password", "12345", "too short"),
            ("password", "x" * 129, "at most 128 characters"),
            ("referral_code", "NOBODYS", "Nobody has this referral code."),
            ("name", "\u202eAda", "U+202E is not allowed"),
            ("email", "no address", "Enter a valid email address."),
        ],
    )
    def test_says_what_is_wrong_for_a_known_address_too(self, is_known, field, value, says):
        if is_known:
            member(email="ada@example.com")
        page = sign_up(**{field: value})
        assert says in page.content.decode()
        assert "exists already" not in page.content.decode()
        assert User.objects.count() == is_known
        assert mail.outbox == []

    def test_is_not_for_who_is_signed_in(self):
        assert signed_in(member()).get(SIGN_UP).url == "/billing/"


class TestAddresses:
    def test_of_who_registers_by_the_api_are_confirmed_alike(self):
        APIClient().post("/api/auth/register", ADA)
        assert [message.to for message in mail.outbox] == [["ada@example.com"]]
        assert EmailAddress.objects.values_list("email", "primary", "verified").get() == (
            "ada@example.com",
            True,
            False,
        )

    def test_of_staff_are_vouched_for(self):
        record = {"actor": None, "at": "2026-11-20T12:00Z", "reason": "at installation"}
        user = create_staff(email="s@example.com", password=PASSWORD, groups=[], **record)
        assert EmailAddress.objects.get(user=user).verified

    def test_link_is_sent_again_when_asked_for_and_not_at_once_again(self):
        client = signed_in(member())
        client.post("/accounts/email/")
        client.post("/accounts/email/")
        assert len(mail.outbox) == 1
        assert "Wait three minutes" in client.get("/accounts/").content.decode()
        client.get("/accounts/email/")
        assert len(mail.outbox) == 1

    def test_follow_that_of_the_user(self):
        user = member()
        User.objects.filter(pk=user.pk).update(email="moved@example.com")
        assert EmailAddress.objects.get().email == "moved@example.com"

    @pytest.mark.parametrize("email", ["other@example.com", "ADA@example.com"])
    def test_are_no_others_in_the_database(self, email):
        user = member(email="ada@example.com")
        with pytest.raises(IntegrityError), transaction.atomic():
            EmailAddress.objects.filter(user=user).update(email=email)
        with pytest.raises(IntegrityError), transaction.atomic():
            EmailAddress.objects.create(user=user, email=email)

    def test_are_made_for_users_from_before_once(self):
        from importlib import import_module

        migration = import_module("accounts.migrations.0008_addresses_of_users")
        members, someone = UserFactory.create_batch(2), UserFactory(is_staff=True)
        EmailAddress.objects.exclude(user=members[0]).delete()
        for _ in range(2):
            with connection.schema_editor() as editor:
                migration.add_addresses(None, editor)
        assert list(EmailAddress.objects.order_by("user").values_list("email", "verified")) == [
            (members[0].email, False),
            (members[1].email, False),
            (someone.email, True),
        ]
