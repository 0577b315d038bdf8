import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import Team, TeamMembership, User
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.tests.api import (
    BALANCE,
    as_service,
    as_user,
    poor_user,
    refused,
    wallet_id_of,
    wrong_fields,
)
from ledger.tests.books import award, buy, grant_of, hold, partner

PATH = "credits/balance"
DOCUMENT = BALANCE | {"tier", "subscription", "next_billing_date"}


@pytest.fixture
def user(db) -> User:
    """Somebody with 10 awarded, 5 partner and 20 purchased credits, 3 of them held."""
    user = poor_user()
    wallet = wallet_id_of(user)
    award(wallet, 10)
    partner(wallet, 5)
    buy(wallet, 20, 200)
    hold(wallet, 3, until=timezone.now() + timedelta(hours=1))
    return user


@pytest.mark.django_db
class TestBalance:
    def test_shows_the_wallet_and_no_plan(self, user):
        answer = as_user(user).get(PATH).json()
        assert {**answer, "last_updated": None} == {
            "user_id": user.pk,
            "team_id": None,
            "current_credits": 35,
            "available": 32,
            "held": 3,
            "awards": 10,
            "purchases": 20,
            "partner": 5,
            "debt": 0,
            "credit_status": "active",
            "tier": None,
            "subscription": None,
            "next_billing_date": None,
            "last_updated": None,
        }

    def test_counts_nothing_that_is_expired_or_frozen(self, user):
        now = timezone.now()
        award(wallet_id_of(user), 50, now - timedelta(days=2), expires_at=now - timedelta(days=1))
        frozen = buy(wallet_id_of(user), 50, 500)
        posting.freeze(grants=[grant_of(frozen)], frozen=True, at=now)
        answer = as_user(user).get(PATH).json()
        assert (answer["current_credits"], answer["awards"], answer["purchases"]) == (35, 10, 20)

    def test_takes_five_queries(self, user, django_assert_num_queries):
        caller = as_user(user)
        # The caller, the wallet, its figures, its subscription, its tier.
        with django_assert_num_queries(5):
            caller.get(PATH)

    def test_opens_a_wallet_for_who_has_none(self, db):
        user = poor_user()
        answer = as_user(user).get(PATH).json()
        assert (answer["current_credits"], answer["last_updated"]) == (0, None)

    def test_shows_the_pool_of_a_team(self, user):
        team, owned = TeamFactory(), Team.objects.create(name="Owned", owner=TeamAdminFactory())
        for each in (team, owned):
            TeamMembership.objects.create(team=each, user=user)
        award(wallet_of(team).pk, 40)
        for each, figures in ((team, (None, 40)), (owned, (owned.owner_id, 5_000))):
            answer = as_user(user).get(PATH, {"team_id": str(each.public_id)}).json()
            assert answer["team_id"] == str(each.public_id)
            assert (answer["user_id"], answer["available"]) == figures

    def test_shows_no_pool_of_others(self, user):
        for team_id in (TeamFactory().public_id, uuid.uuid4()):
            response = as_user(user).get(PATH, {"team_id": str(team_id)})
            assert refused(response) == (404, "not_found")

    def test_shows_no_user_another(self, user):
        assert refused(as_user(poor_user()).get(PATH, {"user_id": user.pk})) == (404, "not_found")

    def test_answers_a_service_for_whom_it_names(self, user):
        service = as_service("credits:read")
        assert service.get(PATH, {"user_id": user.pk}).json() == as_user(user).get(PATH).json()
        assert refused(service.get(PATH)) == (400, "invalid_request")
        assert refused(as_service("credits:spend").get(PATH, {"user_id": user.pk})) == (
            403,
            "missing_scope",
        )

    @pytest.mark.parametrize(
        "query", [{"team": "x"}, {"user_id": "0"}, {"user_id": "x"}, {"team_id": "x"}]
    )
    def test_refuses_other_questions(self, user, query):
        assert wrong_fields(as_user(user).get(PATH, query)) == list(query)

    def test_is_for_who_is_signed_in(self, client):
        assert refused(client.get("/api/credits/balance")) == (401, "not_authenticated")


@pytest.mark.django_db
class TestBalanceOfUser:
    @pytest.mark.parametrize("group", StaffGroup)
    def test_shows_staff_what_the_user_sees(self, user, group):
        answer = as_user(StaffFactory(groups=group)).get(f"admin/credits/user/{user.pk}/balance")
        assert answer.json().keys() == DOCUMENT
        assert answer.json() == as_user(user).get(PATH).json()

    def test_is_shut_to_users(self, user):
        response = as_user(user).get(f"admin/credits/user/{user.pk}/balance")
        assert refused(response) == (403, "not_permitted")

    def test_does_not_find_who_is_not_there(self, db):
        response = as_user(StaffFactory()).get(f"admin/credits/user/{2**62}/balance")
        assert refused(response) == (404, "not_found")
