from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import TeamMembership, User
from accounts.tests.factories import TeamFactory
from creditsite.site.demo.catalogue import make_catalogue
from ledger.models import Feature
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.charges import price_list
from ledger.tests.api import (
    as_service,
    as_user,
    figures_of,
    poor_user,
    refused,
    wallet_id_of,
    wrong_fields,
)
from ledger.tests.books import award, buy, hold, partner

PATH = "credits/check"


@pytest.fixture
def user(db) -> User:
    """Somebody with 10 awarded, 5 partner and 20 purchased credits, 3 awards of them held."""
    user = poor_user()
    wallet = wallet_id_of(user)
    award(wallet, 10)
    partner(wallet, 5)
    buy(wallet, 20, 200)
    hold(wallet, 3, until=timezone.now() + timedelta(hours=1))
    return user


@pytest.mark.django_db
class TestCheck:
    def test_says_what_a_spend_would_use_and_uses_nothing(self, user):
        before = figures_of(user)
        response = as_user(user).post(PATH, {"amount": 14})
        assert response.status_code == 200
        assert response.json() == {
            "allowed": True,
            "needed": 14,
            "available": 32,
            "would_use": {"award": 7, "purchase": 2, "partner": 5},
            "code": None,
        }
        assert figures_of(user) == before

    @pytest.mark.parametrize("amount", [1, 7, 8, 12, 13, 32])
    def test_agrees_with_the_spend_that_follows(self, user, amount):
        said = as_user(user).post(PATH, {"amount": amount}).json()["would_use"]
        body = {"amount": amount, "description": "x"}
        used = dict.fromkeys(["award", "purchase", "partner"], 0)
        for entry in as_user(user).post("credits/deduct", body).json()["transaction"]["entries"]:
            used[entry["credit_type"]] -= entry["amount"]
        assert used == said

    def test_says_what_is_missing(self, user):
        assert as_user(user).post(PATH, {"amount": 33}).json() == {
            "allowed": False,
            "needed": 33,
            "available": 32,
            "would_use": {"award": 0, "purchase": 0, "partner": 0},
            "code": "insufficient_credits",
        }

    def test_counts_only_what_the_feature_may_take(self, user):
        make_catalogue(timezone.now())
        answer = as_user(user).post(PATH, {"feature": "export.premium", "quantity": 2}).json()
        assert (answer["allowed"], answer["needed"], answer["available"]) == (False, 30, 20)

    def test_counts_nothing_that_is_expired_or_frozen(self, user):
        now = timezone.now()
        award(wallet_id_of(user), 50, now - timedelta(days=2), expires_at=now - timedelta(days=1))
        frozen = buy(wallet_id_of(user), 50, 500)
        posting.freeze(grants=frozen.grant_ids, frozen=True, at=now)
        assert as_user(user).post(PATH, {"amount": 1}).json()["available"] == 32

    def test_names_the_pool_that_would_pay(self, user):
        team = TeamFactory()
        TeamMembership.objects.create(team=team, user=user)
        award(wallet_of(team).pk, 100)
        answer = as_user(user).post(PATH, {"amount": 40}).json()
        assert (answer["allowed"], answer["available"]) == (True, 100)
        answer = as_user(user).post(PATH, {"amount": 5, "team_id": str(team.public_id)}).json()
        assert answer["available"] == 100

    def test_says_that_a_wallet_is_paused(self, user):
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        answer = as_user(user).post(PATH, {"amount": 1}).json()
        assert (answer["allowed"], answer["available"], answer["code"]) == (
            False,
            0,
            "wallet_paused",
        )

    def test_passes_a_pool_over_that_is_paused(self, user):
        team = TeamFactory()
        TeamMembership.objects.create(team=team, user=user)
        award(wallet_of(team).pk, 100)
        posting.set_status(wallet=wallet_of(team).pk, expected="active", status="paused")
        answer = as_user(user).post(PATH, {"amount": 40}).json()
        assert (answer["allowed"], answer["available"]) == (False, 32)

    def test_refuses_features_that_are_not_sold(self, user):
        make_catalogue(timezone.now())
        Feature.objects.filter(code="report").update(is_active=False)
        price_list.forget()
        for code in ("report", "no.such"):
            response = as_user(user).post(PATH, {"feature": code, "quantity": 1})
            assert refused(response) == (400, "invalid_request")

    def test_refuses_a_body_that_says_no_charge(self, user):
        assert wrong_fields(as_user(user).post(PATH, {})) == ["amount"]
        assert wrong_fields(as_user(user).post(PATH, {"amount": 5, "description": "x"})) == [
            "description"
        ]

    def test_needs_no_key_from_a_service(self, user):
        response = as_service("credits:read").post(PATH, {"amount": 1, "user_id": user.pk})
        assert response.json()["allowed"] is True

    def test_is_for_services_with_the_scope(self, user):
        response = as_service("credits:spend").post(PATH, {"amount": 1, "user_id": user.pk})
        assert refused(response) == (403, "missing_scope")

    def test_finds_no_other_user(self, user):
        response = as_user(poor_user()).post(PATH, {"amount": 1, "user_id": user.pk})
        assert refused(response) == (404, "not_found")


@pytest.mark.django_db
class TestFeatures:
    def test_lists_prices_in_force(self, user):
        make_catalogue(timezone.now())
        Feature.objects.filter(code="report").update(is_active=False)
        answer = as_user(user).get("credits/features").json()
        assert (answer["next"], answer["previous"]) == (None, None)
        features = {feature["code"]: feature for feature in answer["results"]}
        assert features.keys() == {
            "insight.simple",
            "analysis.advanced",
            "dashboard.refresh",
            "llm.input",
            "llm.output",
            "export.premium",
        }
        assert features["llm.output"] == {
            "code": "llm.output",
            "name": "Language model, output",
            "unit": "token",
            "unit_price": "3",
            "per": 1_000,
            "is_flat": False,
            "requires_purchased": False,
        }
        assert features["export.premium"]["requires_purchased"] is True

    def test_lists_the_version_that_is_in_force_now(self, user):
        now = timezone.now()
        feature = Feature.objects.create(code="x", name="X", unit="x")
        for days, price in ((-2, "1"), (-1, "0.25"), (1, "3")):
            feature.prices.create(unit_price=price, valid_from=now + timedelta(days=days))
        (listed,) = as_user(user).get("credits/features").json()["results"]
        assert listed["unit_price"] == "0.25"

    @pytest.mark.parametrize("features", [1, 3])
    def test_takes_two_queries(self, user, features, django_assert_num_queries):
        for number in range(features):
            feature = Feature.objects.create(code=f"f{number}", name="X", unit="x")
            feature.prices.create(unit_price=1, valid_from=timezone.now())
        caller = as_user(user)
        with django_assert_num_queries(2):
            assert len(caller.get("credits/features").json()["results"]) == features

    def test_walks_pages(self, user):
        make_catalogue(timezone.now())
        caller = as_user(user)
        first = caller.get("credits/features", {"page_size": 4}).json()
        second = caller.client.get(first["next"]).json()
        codes = [feature["code"] for page in (first, second) for feature in page["results"]]
        assert len(set(codes)) == len(codes) == 7
