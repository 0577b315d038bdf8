import pytest
from django.utils import timezone

from accounts.models import User
from ledger.services import posting
from ledger.tests.api import as_user, poor_user, refused, wallet_id_of, wrong_fields
from ledger.tests.books import DAY, START, award, buy, grant_of, hold, partner, spend, void


@pytest.mark.django_db
class TestListGrants:
    @pytest.fixture
    def holder(self) -> User:
        """Somebody with a grant in every state."""
        user, now = poor_user(), timezone.now()
        wallet = wallet_id_of(user)
        award(wallet, 1)
        spend(wallet, 1)
        partner(wallet, 3)
        void(wallet)
        award(wallet, 4, START + DAY, expires_at=START + 3 * DAY)
        hold(wallet, 1, START + 2 * DAY, until=now + DAY)
        frozen = buy(wallet, 5, 50, START + 4 * DAY)
        posting.freeze(grants=[grant_of(frozen)], frozen=True, at=now)
        award(wallet, 6, START + 5 * DAY, expires_at=now + DAY)
        return user

    def test_lists_them_with_their_states(self, holder):
        grants = as_user(holder).get("credits/grants").json()["results"]
        assert [
            (
                grant["amount"],
                grant["status"],
                grant["remaining"],
                grant["held"],
                grant["credit_type"],
            )
            for grant in grants
        ] == [
            (6, "active", 6, 0, "award"),
            (5, "frozen", 5, 0, "purchase"),
            (4, "expired", 1, 1, "award"),
            (3, "voided", 0, 0, "partner"),
            (1, "spent", 0, 0, "award"),
        ]
        assert grants[0].keys() == {
            "id",
            "credit_type",
            "source",
            "status",
            "amount",
            "remaining",
            "held",
            "effective_at",
            "expires_at",
        }

    @pytest.mark.parametrize(
        ("status", "amount"),
        [("active", 6), ("frozen", 5), ("expired", 4), ("voided", 3), ("spent", 1)],
    )
    def test_filters_by_state(self, holder, status, amount):
        (grant,) = as_user(holder).get("credits/grants", {"status": status}).json()["results"]
        assert grant["amount"] == amount

    def test_adds_up_to_the_balance(self, holder):
        grants = as_user(holder).get("credits/grants").json()["results"]
        shown = sum(grant["remaining"] for grant in grants if grant["status"] != "frozen")
        assert as_user(holder).get("credits/balance").json()["current_credits"] == shown
        posting.expire(at=timezone.now(), limit=10)
        assert as_user(holder).get("credits/grants").json()["results"] == grants

    def test_shows_nobody_elses(self, holder):
        assert as_user(poor_user()).get("credits/grants").json()["results"] == []
        response = as_user(poor_user()).get("credits/grants", {"user_id": holder.pk})
        assert refused(response) == (404, "not_found")

    def test_refuses_other_states(self, holder):
        assert wrong_fields(as_user(holder).get("credits/grants", {"status": "open"})) == ["status"]
