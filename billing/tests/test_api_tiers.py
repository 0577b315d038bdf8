"""Tiers, as staff put wallets on them by the API."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import User
from accounts.tests.factories import StaffFactory, TeamFactory
from billing.queries.tiers import tier_of
from billing.services.catalogue_file import CATALOGUE, load_catalogue
from billing.tests.tiers import months_of
from ledger.models import Wallet
from ledger.queries.wallets import pool_of
from ledger.tests.api import (
    BALANCE,
    as_service,
    as_user,
    figures_of,
    poor_user,
    refused,
    wallet_id_of,
    wrong_fields,
)
from ledger.tests.books import award
from ledger.tests.factories import set_credit_settings

INITIALIZE, TIER, MONTH = "credits/initialize", "credits/tier", "credits/monthly-allocation"


@pytest.fixture(autouse=True)
def catalogue(db) -> None:
    load_catalogue(path=CATALOGUE, at=timezone.now(), reason="")


@pytest.fixture
def user(db) -> User:
    return poor_user()


@pytest.fixture
def finance(db) -> User:
    return StaffFactory(groups=StaffGroup.FINANCE)


def wallet_of_user(user: User) -> Wallet:
    return Wallet.objects.get(pk=wallet_id_of(user))


class TestInitialize:
    def test_puts_on_the_tier_with_the_first_credits(self, user, finance):
        body = {"user_id": user.pk, "tier": "growth", "initial_balance": 500}
        response = as_user(finance).post(INITIALIZE, body)
        assert response.status_code == 201
        answer = response.json()
        assert answer["balance"].keys() == BALANCE
        assert (answer["balance"]["awards"], answer["transaction"]["amount"]) == (500, 500)
        tier = answer["tier"]
        next_at = tier.pop("next_allocation")
        assert timezone.now().isoformat() < next_at
        assert tier.pop("since") <= timezone.now().isoformat()
        assert tier == {
            "user_id": user.pk,
            "team_id": None,
            "tier": "growth",
            "name": "Growth",
            "credits": 2_000,
            "features": [],
        }

    def test_moves_nothing_unless_it_is_said(self, user, finance):
        answer = as_user(finance).post(INITIALIZE, {"user_id": user.pk, "tier": "pro"})
        assert (answer.status_code, answer.json()["transaction"]) == (201, None)
        assert figures_of(user) == (0, 0, 0, 0, 0)

    def test_refuses_a_wallet_that_has_credits(self, user, finance):
        award(wallet_id_of(user), 1)
        body = {"user_id": user.pk, "tier": "growth", "initial_balance": 5}
        assert refused(as_user(finance).post(INITIALIZE, body)) == (409, "conflict")
        assert tier_of(wallet_id_of(user)) is None

    def test_answers_a_repeat_with_the_same(self, user):
        service = as_service("credits:admin", owner=StaffFactory(groups=StaffGroup.ADMIN))
        body = {"user_id": user.pk, "tier": "growth", "initial_balance": 500}
        assert refused(service.post(INITIALIZE, body)) == (400, "invalid_request")
        first, again = (service.post(INITIALIZE, body, key="k") for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert again["Idempotent-Replayed"] == "true"
        assert first.json()["transaction"]["id"] == again.json()["transaction"]["id"]
        other = {**body, "initial_balance": 501}
        assert refused(service.post(INITIALIZE, other, key="k"))[0] == 422

    def test_waits_for_a_second_person_if_it_is_much(self, user, finance):
        set_credit_settings(approval_adjustment_above=499)
        body = {"user_id": user.pk, "tier": "explorer", "initial_balance": 500}
        response = as_user(finance).post(INITIALIZE, body)
        assert response.status_code == 202
        assert response.json()["approval"]["kind"] == "billing.initialize_wallet"
        assert figures_of(user)[0] == 0

    def test_needs_a_whole_body(self, user, finance):
        caller = as_user(finance)
        assert wrong_fields(caller.post(INITIALIZE, {"user_id": user.pk})) == ["tier"]
        assert wrong_fields(caller.post(INITIALIZE, {"tier": "pro"})) == ["user_id"]
        for wrong in [-1, "5", 5.0, True, None]:
            body = {"user_id": user.pk, "tier": "pro", "initial_balance": wrong}
            assert wrong_fields(caller.post(INITIALIZE, body)) == ["initial_balance"]


class TestTier:
    @pytest.mark.parametrize(
        ("said", "code", "credits"),
        [
            ("explorer", "explorer", 400),
            ("growth", "growth", 2_000),
            ("pro", "pro", 7_000),
            ("enterprise", "enterprise-20k", 20_000),
            ("starter", "starter", 200),
        ],
    )
    def test_puts_on_any_plan(self, user, finance, said, code, credits):
        response = as_user(finance).put(TIER, {"user_id": user.pk, "tier": said})
        assert response.status_code == 200
        answer = response.json()
        assert (answer["tier"], answer["credits"]) == (code, credits)
        assert figures_of(user) == (0, 0, 0, 0, 0)

    def test_is_the_same_however_often_it_is_sent(self, user):
        service = as_service("credits:admin")
        answers = [service.put(TIER, {"user_id": user.pk, "tier": "pro"}) for _ in range(2)]
        assert answers[0].json() == answers[1].json()

    def test_is_shown_with_the_balance_and_its_features_with_the_user(self, user, finance):
        as_user(finance).put(TIER, {"user_id": user.pk, "tier": "starter"})
        balance = as_user(user).get("credits/balance").json()
        assert (balance["tier"], balance["subscription"], balance["next_billing_date"]) == (
            "starter",
            None,
            None,
        )
        seen = as_user(finance).get(f"admin/credits/user/{user.pk}/balance").json()
        assert seen == balance
        me = as_user(user).get("auth/me").json()
        assert me["features"] == ["Basic automation tools", "Email support"]

    def test_is_of_a_team(self, finance):
        team = TeamFactory()
        body = {"team_id": str(team.public_id), "tier": "pro"}
        answer = as_user(finance).put(TIER, body).json()
        assert (answer["user_id"], answer["team_id"]) == (None, str(team.public_id))
        assert tier_of(pool_of(team)).version.offer.code == "pro"

    def test_refuses_what_is_unknown_and_who_may_not(self, user, finance):
        caller = as_user(finance)
        unknown = {"user_id": user.pk, "tier": "credits-100"}
        assert refused(caller.put(TIER, unknown)) == (404, "not_found")
        assert refused(caller.put(TIER, {"user_id": 2**40, "tier": "pro"})) == (404, "not_found")
        assert refused(caller.put(TIER, {"user_id": finance.pk, "tier": "pro"})) == (
            403,
            "own_wallet",
        )
        own = {"user_id": user.pk, "tier": "pro"}
        assert refused(as_user(user).put(TIER, own)) == (403, "not_permitted")


class TestMonthlyAllocation:
    def test_gives_the_month_once(self, user, finance):
        caller = as_user(finance)
        caller.put(TIER, {"user_id": user.pk, "tier": "growth"})
        first = caller.post(MONTH, {"user_id": user.pk}, key="a")
        assert first.status_code == 200
        assert first.json()["transaction"]["transaction_type"] == "allocation"
        assert first.json()["balance"]["awards"] == 2_000
        again = caller.post(MONTH, {"user_id": user.pk}, key="a")
        assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
        second = caller.post(MONTH, {"user_id": user.pk}, key="b")
        assert refused(second) == (409, "already_allotted")
        assert len(months_of(wallet_of_user(user))) == 1

    def test_refuses_a_wallet_without_a_tier(self, user, finance):
        answer = as_user(finance).post(MONTH, {"user_id": user.pk}, key=str(uuid.uuid4()))
        assert refused(answer) == (409, "not_on_tier")

    def test_waits_for_a_second_person_if_it_is_much(self, user, finance):
        caller = as_user(finance)
        caller.put(TIER, {"user_id": user.pk, "tier": "growth"})
        before = timezone.now() - timedelta(seconds=1)
        set_credit_settings(approval_adjustment_above=100, changed_at=before)
        answer = caller.post(MONTH, {"user_id": user.pk}, key="a")
        assert (answer.status_code, answer.json()["approval"]["kind"]) == (
            202,
            "billing.allot_tier",
        )
        assert caller.post(MONTH, {"user_id": user.pk}, key="a").json() == answer.json()
