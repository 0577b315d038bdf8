import io
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import ApiKey, User
from accounts.services.api_keys import find_api_key
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent

PASSWORD = "correct horse battery"


def call(name, *arguments):
    out = io.StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
class TestCreateAdmin:
    def test_makes_an_administrator_who_is_no_superuser(self, monkeypatch):
        monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
        assert (
            call("create_admin", "--email", "Ada@example.com")
            == "ada@example.com may sign in at /admin/ as Admin.\n"
        )
        user = authenticate(username="ada@example.com", password=PASSWORD)
        assert (user.is_staff, user.is_superuser, user.role) == (True, False, None)
        assert [group.name for group in user.groups.all()] == ["Admin"]
        event = AuditEvent.objects.get()
        assert (event.action, event.actor_label) == ("accounts.staff.created", "The system")

    def test_asks_for_what_it_is_not_given(self, monkeypatch):
        monkeypatch.delenv("ADMIN_PASSWORD", raising=False)
        monkeypatch.setattr("builtins.input", lambda prompt: "ada@example.com")
        monkeypatch.setattr("getpass.getpass", lambda prompt: PASSWORD)
        call("create_admin")
        assert authenticate(username="ada@example.com", password=PASSWORD)

    def test_refuses_two_different_passwords(self, monkeypatch):
        monkeypatch.delenv("ADMIN_PASSWORD", raising=False)
        typed = iter(["one password", "another one"])
        monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
        with pytest.raises(CommandError, match="differ"):
            call("create_admin", "--email", "ada@example.com")
        assert not User.objects.exists()

    @pytest.mark.parametrize(
        ("email", "password", "refusal"),
        [
            ("TAKEN@example.com", PASSWORD, "exists already"),
            ("nobody", PASSWORD, "valid email"),
            ("ada@example.com", "12345", "too short"),
        ],
    )
    def test_refuses_and_makes_nobody(self, monkeypatch, email, password, refusal):
        UserFactory(email="taken@example.com")
        monkeypatch.setenv("ADMIN_PASSWORD", password)
        with pytest.raises(CommandError, match=refusal):
            call("create_admin", "--email", email)
        assert list(User.objects.values_list("is_staff", flat=True)) == [False]


@pytest.mark.django_db
class TestCreateApiKey:
    def test_prints_a_key_that_works_until_its_last_day_ends(self):
        owner = StaffFactory(email="ada@example.com")
        arguments = [
            "--owner",
            "ADA@example.com",
            "--scope",
            "credits:read",
            "--scope",
            "credits:spend",
        ]
        last_day = timezone.now().date() + timedelta(days=364)
        arguments += ["--expires", last_day.isoformat(), "--daily-cap", "900"]
        secret = call("create_api_key", "gateway", *arguments).strip()
        key = ApiKey.objects.get()
        assert find_api_key(secret=secret, at=key.created_at) == key
        assert (key.owner, key.scopes) == (owner, ["credits:read", "credits:spend"])
        assert key.expires_at.date() == last_day + timedelta(days=1)
        assert key.daily_cap == 900
        assert AuditEvent.objects.get().action == "accounts.api_key.created"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--owner", "stranger@example.com", "--scope", "credits:read"],
            ["--owner", "user@example.com", "--scope", "credits:read"],
            ["--owner", "ada@example.com", "--scope", "credits:mint"],
            ["--owner", "ada@example.com", "--scope", "credits:read", "--expires", "2001-01-01"],
            ["--owner", "ada@example.com", "--scope", "credits:read", "--expires", "2999-12-31"],
            ["--owner", "ada@example.com", "--scope", "credits:read", "--expires", "tomorrow"],
            ["--owner", "ada@example.com", "--scope", "credits:read", "--daily-cap", "0"],
            ["--owner", "ada@example.com"],
        ],
    )
    def test_refuses(self, arguments):
        StaffFactory(email="ada@example.com")
        UserFactory(email="user@example.com")
        with pytest.raises(CommandError):
            call("create_api_key", "gateway", *arguments)
        assert not ApiKey.objects.exists()


@pytest.mark.django_db
class TestRotateApiKey:
    def test_prints_a_key_that_works_beside_the_old_one(self):
        StaffFactory(email="ada@example.com")
        old = call(
            "create_api_key", "gateway", "--owner", "ada@example.com", "--scope", "credits:read"
        ).strip()
        new = call("rotate_api_key", old[:16]).strip()
        keys = [find_api_key(secret=secret, at=timezone.now()) for secret in (old, new)]
        assert keys[1].replaces == keys[0]

    def test_refuses_a_key_that_is_not_there_and_one_that_is_rotated(self):
        StaffFactory(email="ada@example.com")
        old = call(
            "create_api_key", "gateway", "--owner", "ada@example.com", "--scope", "credits:read"
        ).strip()
        call("rotate_api_key", old[:16])
        for prefix in (old[:16], "ck_live_nothing"):
            with pytest.raises(CommandError):
                call("rotate_api_key", prefix)
        assert ApiKey.objects.count() == 2
