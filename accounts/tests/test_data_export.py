"""What a person is given of what we hold about them, and of nobody else."""

import json
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, User
from accounts.services.data_export import document_of, export_user
from accounts.services.teams import add_member
from accounts.services.users import register_user, rename_user
from accounts.tests.erasing import AT, REASON
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import NotPermitted
from creditsite.testing.people import as_role
from ledger.services.adjustments import pause_wallet
from ledger.tests.api import as_service, as_user
from ledger.tests.factories import open_hold, set_credit_settings, spend, wallet_with_credits

PASSWORD = "correct horse battery"
DAY = timedelta(days=1)


def exported(user: User) -> dict:
    return json.loads("".join(document_of(user, AT)))


def zoe() -> User:
    return register_user(email="zoe@example.com", password=PASSWORD, name="Zoe", at=AT)


@pytest.mark.django_db
class TestDocument:
    def test_has_every_section(self):
        document = exported(zoe())
        assert list(document) == [
            "schema", "version", "exported_at",
            "profile", "teams", "api_keys", "emails", "sign_in_methods", "sessions", "events",
            "wallet", "grants", "transactions", "spent_from_pools", "holds", "debts",
            "referrals", "promotions", "payments", "tiers", "project_costs", "auto_top_up",
            "top_ups", "subscriptions", "months_of_subscriptions", "changes_of_subscriptions",
            "earnings", "earns", "disputes",
        ]  # fmt: skip
        assert (document["schema"], document["version"]) == ("creditsite.personal-data", 1)
        assert document["exported_at"] == "2026-11-20T12:00:00Z"

    def test_tells_who_they_are(self):
        user = zoe()
        profile = exported(user)["profile"]
        assert (profile["id"], profile["email"], profile["name"]) == (user.pk, user.email, "Zoe")
        assert (profile["role"], profile["referral_code"]) == ("member", user.referral_code)

    def test_tells_what_moved_and_for_what(self):
        user = zoe()
        spend(user.wallet, 7, actor_id=user.pk, description="Report", metadata={"a": 1}, at=AT)
        open_hold(user.wallet, 3, description="Video", at=AT)
        document = exported(user)
        award, usage = document["transactions"]
        assert (award["kind"], award["amount"], award["by"]) == ("award", 350, "The system")
        assert (usage["amount"], usage["description"], usage["metadata"], usage["by"]) == (
            -7, "Report", {"a": 1}, "You",
        )  # fmt: skip
        assert [(hold["amount"], hold["description"]) for hold in document["holds"]] == [
            (3, "Video")
        ]
        assert (document["wallet"]["award"], document["wallet"]["held"]) == (343, 3)
        assert [grant["amount"] for grant in document["grants"]] == [350]

    def test_tells_what_they_spent_from_pools_and_not_what_others_did(self):
        owner, other, user = TeamAdminFactory(), UserFactory(), zoe()
        pool = wallet_with_credits(owner, award=50, at=AT)
        team = TeamFactory(owner=owner, name="The team")
        for member in (user, other):
            add_member(team=team, user=member, actor=None, at=AT)
            spend(pool, 2, actor_id=member.pk, description=f"for {member.email}", at=AT)
        document = exported(user)
        assert [row["description"] for row in document["spent_from_pools"]] == [
            "for zoe@example.com"
        ]
        assert [(row["name"], row["is_owner"]) for row in document["teams"]] == [
            ("The team", False)
        ]

    def test_tells_what_referrals_brought_and_not_whom(self):
        set_credit_settings(referral_credits=30)
        user = zoe()
        other = UserFactory(referrer=user, date_joined=AT)
        document = exported(user)
        assert [(row["outcome"], row["credits"]) for row in document["referrals"]] == [
            ("awarded", 30)
        ]
        assert other.email not in json.dumps(document)

    def test_names_neither_staff_nor_other_members(self):
        staff, other, owner, user = StaffFactory(), UserFactory(), TeamAdminFactory(), zoe()
        team = TeamFactory(owner=owner)
        for member in (user, other):
            add_member(team=team, user=member, actor=staff, at=AT, reason=f"{other.email} asks")
        rename_user(user=user, name="Zoe C", actor=staff, reason=f"as {staff.email} says", at=AT)
        pause_wallet(wallet=user.wallet, reason=f"as {staff.email} says", actor=staff, at=AT)
        text = json.dumps(exported(user))
        assert "A member of staff changed the name of your account" in text
        assert "A member of staff paused your wallet" in text
        for person in (staff, other, owner):
            assert person.email not in text
            assert person.name not in text

    def test_tells_of_sessions_keys_and_no_secrets(self):
        user = StaffFactory(email="zoe@example.com")
        UserSession.objects.create(
            user=user, ip="192.0.2.7", user_agent="Browser 1", session_key="s3cr3t", created_at=AT
        )
        ApiKey.objects.create(
            name="Gateway", prefix="ck_live_1", digest=b"s3cr3t", scopes=["credits:read"],
            owner=user, expires_at=AT + DAY,
        )  # fmt: skip
        document = exported(user)
        assert [(row["ip"], row["user_agent"]) for row in document["sessions"]] == [
            ("192.0.2.7", "Browser 1")
        ]
        assert [row["name"] for row in document["api_keys"]] == ["Gateway"]
        assert "s3cr3t" not in json.dumps(document)
        assert user.password not in json.dumps(document["profile"])

    def test_takes_as_many_queries_for_many_rows_as_for_few(self, django_assert_num_queries):
        user = zoe()
        spend(user.wallet, 1, at=AT)
        with CaptureQueriesContext(connection) as few:
            exported(user)
        for _ in range(3):
            spend(user.wallet, 1, at=AT)
            open_hold(user.wallet, 1, at=AT)
        with django_assert_num_queries(len(few)):
            exported(user)


@pytest.mark.django_db
class TestWho:
    def test_staff_need_the_permission(self):
        user = UserFactory()
        for group in ["Finance", "Support", "Auditor"]:
            with pytest.raises(NotPermitted):
                export_user(user=user, actor=StaffFactory(groups=group), reason=REASON, at=AT)
        assert not AuditEvent.objects.filter(action="accounts.user.exported").exists()

    def test_is_on_record(self):
        user, admin = UserFactory(), StaffFactory()
        export_user(user=user, actor=admin, reason=REASON, at=AT)
        export_user(user=user, actor=user, reason="", at=AT)
        events = AuditEvent.objects.filter(action="accounts.user.exported").order_by("pk")
        assert [(event.actor_id, event.reason) for event in events] == [
            (admin.pk, REASON),
            (user.pk, ""),
        ]


@pytest.mark.django_db
class TestPage:
    def test_gives_a_file_after_a_reason(self):
        user, admin = zoe(), as_role("Admin")
        page = f"/admin/accounts/user/{user.pk}/export/"
        asked = {
            "confirmed": "yes",
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        }
        assert "This field is required" in admin.post(page, asked).content.decode()
        response = admin.post(page, asked | {"reason": REASON})
        assert response["Content-Disposition"] == f'attachment; filename="user-{user.pk}.json"'
        assert "no-store" in response["Cache-Control"]
        document = json.loads(b"".join(response.streaming_content))
        assert document["profile"]["email"] == "zoe@example.com"


@pytest.mark.django_db
class TestApi:
    def test_gives_callers_their_own(self):
        user = zoe()
        response = as_user(user).get("auth/me/export")
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")
        assert json.loads(b"".join(response.streaming_content))["profile"]["id"] == user.pk

    def test_gives_services_nothing(self):
        assert as_service().get("auth/me/export").status_code == 403

    def test_is_throttled(self, settings):
        settings.API_THROTTLES = settings.API_THROTTLES | {"export": (1, 3600)}
        caller = as_user(zoe())
        assert [caller.get("auth/me/export").status_code for _ in range(2)] == [200, 429]
