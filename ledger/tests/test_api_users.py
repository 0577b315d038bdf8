from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import User
from accounts.tests.factories import StaffFactory, UserFactory
from ledger.models import Wallet
from ledger.services import posting
from ledger.tests.api import as_service, as_user, poor_user, refused, wallet_id_of, wrong_fields
from ledger.tests.books import award, buy, hold

PATH = "admin/credits/users/status"


@pytest.fixture
def staff(db):
    return as_user(StaffFactory(groups=StaffGroup.SUPPORT, email="support@staff.example.com"))


@pytest.fixture
def users(db) -> list[User]:
    """Ada with 30 credits, bob with 60, of which 10 are held, and paused; carol with none."""
    ada, bob, carol = (poor_user(email=f"{name}@example.com") for name in ("ada", "bob", "carol"))
    award(wallet_id_of(ada), 30)
    award(wallet_id_of(bob), 10)
    buy(wallet_id_of(bob), 50, 500)
    hold(wallet_id_of(bob), 10, until=timezone.now() + timedelta(days=1))
    posting.set_status(wallet=wallet_id_of(bob), expected="active", status="paused")
    wallet_id_of(carol)
    return [ada, bob, carol]


def emails(response) -> list[str]:
    assert response.status_code == 200, response.json()
    return [row["email"] for row in response.json()["results"]]


@pytest.mark.django_db
class TestUserStatus:
    def test_lists_users_with_their_wallets(self, users, staff):
        row = staff.get(PATH, {"email": "bob"}).json()["results"][0]
        assert {**row, "last_updated": None} == {
            "user_id": users[1].pk,
            "email": "bob@example.com",
            "name": users[1].name,
            "role": None,
            "is_active": True,
            "credit_status": "paused",
            "current_credits": 60,
            "available": 50,
            "held": 10,
            "awards": 10,
            "purchases": 50,
            "partner": 0,
            "debt": 0,
            "last_updated": None,
        }

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, ["support", "carol", "bob", "ada"]),
            ({"status": "paused"}, ["bob"]),
            ({"status": "closed"}, []),
            ({"min_balance": 30}, ["bob", "ada"]),
            ({"max_balance": 30}, ["support", "carol", "ada"]),
            ({"min_balance": 1, "max_balance": 59}, ["ada"]),
            ({"email": "A@EXAMPLE"}, ["ada"]),
            ({"email": "@example.com", "status": "active"}, ["carol", "ada"]),
            ({"email": "%"}, []),
        ],
    )
    def test_filters(self, users, staff, query, expected):
        assert [email.split("@")[0] for email in emails(staff.get(PATH, query))] == expected

    @pytest.mark.parametrize(
        "query",
        [{"role": "member"}, {"status": "open"}, {"min_balance": "1.5"}, {"email": ""}],
    )
    def test_refuses_other_questions(self, staff, query):
        assert wrong_fields(staff.get(PATH, query)) == list(query)

    def test_counts_nothing_that_has_expired(self, users, staff):
        now = timezone.now()
        award(wallet_id_of(users[2]), 70, now - timedelta(days=2), expires_at=now - timedelta(1))
        assert Wallet.objects.get(user=users[2]).award == 70
        (row,) = staff.get(PATH, {"email": "carol"}).json()["results"]
        assert (row["awards"], row["current_credits"], row["available"]) == (0, 0, 0)
        assert "carol@example.com" not in emails(staff.get(PATH, {"min_balance": 1}))

    def test_lists_who_has_no_wallet_yet(self, staff):
        User.objects.bulk_create(
            [UserFactory.build(role=None, email="new@example.com", identity="0" * 32)]
        )
        (row,) = staff.get(PATH, {"email": "new@"}).json()["results"]
        assert (row["credit_status"], row["available"], row["last_updated"]) == ("active", 0, None)

    @pytest.mark.parametrize("number", [1, 3])
    def test_takes_three_queries(self, staff, number, django_assert_num_queries):
        UserFactory.create_batch(number)
        with django_assert_num_queries(3):  # the caller, their groups, users
            assert len(emails(staff.get(PATH))) == number + 1

    def test_walks_pages(self, users, staff):
        first = staff.get(PATH, {"page_size": 3, "min_balance": 0}).json()
        second = staff.client.get(first["next"])
        assert emails(second) == ["ada@example.com"]

    def test_is_for_staff(self, users):
        assert refused(as_user(users[0]).get(PATH)) == (403, "not_permitted")
        assert refused(as_service("credits:read").get(PATH)) == (403, "missing_scope")
        assert as_service("credits:admin").get(PATH).status_code == 200
