import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import Team, TeamMembership, User
from accounts.tests.factories import TeamAdminFactory, TeamFactory
from creditsite.site.demo.catalogue import make_catalogue
from ledger.models import CreditTransaction, Feature, FeaturePrice, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.charges import price_list
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
from ledger.tests.books import award, buy, spend

PATH = "credits/deduct"
FIVE = {"amount": 5, "description": "A test"}


@pytest.fixture
def user(db) -> User:
    """Somebody with 10 awarded and 20 purchased credits."""
    user = poor_user()
    award(wallet_id_of(user), 10)
    buy(wallet_id_of(user), 20, 200)
    return user


@pytest.mark.django_db
class TestDeduct:
    def test_spends_and_answers_with_transaction_and_balance(self, user):
        body = {
            "amount": 12,
            "description": "  Fifteen pages ",
            "reference_id": "job-1",
            "project": "north",
            "metadata": {"pages": 15, "rate": 0.5, "tags": ["a", None, True]},
        }
        response = as_user(user).post(PATH, body)
        assert response.status_code == 200
        assert "Idempotent-Replayed" not in response
        answer = response.json()
        assert answer["balance"].keys() == BALANCE
        transaction = CreditTransaction.objects.get(pk=answer["transaction"]["id"])
        assert answer["transaction"] == {
            "id": str(transaction.pk),
            "user_id": user.pk,
            "team_id": None,
            "transaction_type": "usage",
            "amount": -12,
            "balance_after": 18,
            "debt": 0,
            "description": "Fifteen pages",
            "reference_id": "job-1",
            "project": "north",
            "metadata": {"pages": 15, "rate": 0.5, "tags": ["a", None, True]},
            "feature": None,
            "actor": user.pk,
            "reverses": None,
            "hold_id": None,
            "entries": [
                {"grant_id": str(line.grant_id), "credit_type": kind, "amount": amount}
                for line, kind, amount in zip(
                    transaction.entries.order_by("position"),
                    ["award", "purchase"],
                    [-10, -2],
                    strict=True,
                )
            ],
            "occurred_at": answer["transaction"]["created_at"],
            "created_at": answer["transaction"]["created_at"],
        }
        assert {name: answer["balance"][name] for name in BALANCE - {"last_updated"}} == {
            "user_id": user.pk,
            "team_id": None,
            "current_credits": 18,
            "available": 18,
            "held": 0,
            "awards": 0,
            "purchases": 18,
            "partner": 0,
            "debt": 0,
            "credit_status": "active",
        }

    def test_answers_a_new_spend_as_it_would_read_it(self, user):
        body = {**FIVE, "metadata": {"n": 5}, "reference_id": "r"}
        spent = as_user(user).post(PATH, body).json()["transaction"]
        read = as_user(user).get(f"credits/transactions/{spent['id']}").json()
        read.pop("grants")
        assert read == spent

    def test_takes_three_statements(self, user, django_assert_num_queries):
        caller = as_user(user)
        with django_assert_num_queries(3):  # the caller, who pays, the engine
            caller.post(PATH, FIVE)

    def test_charges_a_feature_at_its_price(self, user):
        make_catalogue(timezone.now())
        body = {"feature": "llm.output", "quantity": 2_334, "description": "Text"}
        transaction = as_user(user).post(PATH, body).json()["transaction"]
        assert (transaction["amount"], transaction["feature"]) == (-8, "llm.output")
        stored = CreditTransaction.objects.get(pk=transaction["id"])
        assert stored.price_ids == [FeaturePrice.objects.get(feature__code="llm.output").pk]
        assert stored.quantities == [Decimal(2_334)]

    def test_rounds_several_features_up_once(self, user):
        make_catalogue(timezone.now())
        quantities = {"llm.output": 100, "llm.input": 100.5}
        body = {"quantities": quantities, "description": "Text"}
        transaction = as_user(user).post(PATH, body).json()["transaction"]
        assert (transaction["amount"], transaction["feature"]) == (-1, "llm.input+llm.output")

    def test_takes_only_purchased_credits_where_the_feature_does(self, user):
        make_catalogue(timezone.now())
        body = {"feature": "export.premium", "quantity": 1, "description": "Export"}
        answer = as_user(user).post(PATH, body).json()
        assert [entry["credit_type"] for entry in answer["transaction"]["entries"]] == ["purchase"]
        assert answer["balance"]["awards"] == 10

    def test_refuses_more_than_there_is_and_changes_nothing(self, user):
        before = figures_of(user)
        response = as_user(user).post(PATH, {**FIVE, "amount": 31})
        assert refused(response) == (402, "insufficient_credits")
        assert (response.json()["needed"], response.json()["available"]) == (31, 30)
        assert figures_of(user) == before

    def test_refuses_a_paused_wallet(self, user):
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        assert refused(as_user(user).post(PATH, FIVE)) == (403, "wallet_paused")

    def test_refuses_a_closed_wallet(self, user):
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="closed")
        assert refused(as_user(user).post(PATH, FIVE)) == (409, "wallet_closed")

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({}, ["description"]),
            ({"amount": 5}, ["description"]),
            ({"description": "x"}, ["amount"]),
            ({**FIVE, "amount": 0}, ["amount"]),
            ({**FIVE, "amount": -1}, ["amount"]),
            ({**FIVE, "amount": "5"}, ["amount"]),
            ({**FIVE, "amount": 5.0}, ["amount"]),
            ({**FIVE, "amount": True}, ["amount"]),
            ({**FIVE, "amount": None}, ["amount"]),
            ({**FIVE, "amount": 1_000_000_001}, ["amount"]),
            ({**FIVE, "feature": "report"}, ["amount"]),
            ({**FIVE, "quantity": 1}, ["amount"]),
            ({**FIVE, "quantities": {"report": 1}}, ["amount"]),
            ({"feature": "report", "description": "x"}, ["amount"]),
            ({"quantities": {}, "description": "x"}, ["quantities"]),
            ({"quantities": {"report": "1"}, "description": "x"}, ["quantities.report"]),
            ({"quantities": {"r" * 61: 1}, "description": "x"}, ["quantities"]),
            ({"quantities": {f"f{n}": 1 for n in range(21)}, "description": "x"}, ["quantities"]),
            ({**FIVE, "description": " "}, ["description"]),
            ({**FIVE, "description": "x" * 501}, ["description"]),
            ({**FIVE, "reference_id": "x" * 201}, ["reference_id"]),
            ({**FIVE, "metadata": []}, ["metadata"]),
            ({**FIVE, "metadata": None}, ["metadata"]),
            ({**FIVE, "metadata": {"x": "x" * 4_096}}, ["metadata"]),
            ({**FIVE, "team_id": 5}, ["team_id"]),
            ({**FIVE, "user_id": "5"}, ["user_id"]),
            ({**FIVE, "amonut": 5}, ["amonut"]),
        ],
    )
    def test_refuses_what_says_something_else(self, user, body, fields):
        assert wrong_fields(as_user(user).post(PATH, body)) == fields

    @pytest.mark.parametrize(
        "body",
        [
            {"feature": "no.such", "quantity": 1},
            {"feature": "report", "quantity": 0},
            {"feature": "report", "quantity": 1_000_000_000},
            {"quantities": {"report": 1, "no.such": 1}},
        ],
    )
    def test_refuses_what_cannot_be_priced(self, user, body):
        make_catalogue(timezone.now())
        response = as_user(user).post(PATH, {**body, "description": "x"})
        assert refused(response) == (400, "invalid_request")

    def test_refuses_more_features_than_the_books_have_room_for(self, user):
        codes = [f"{number}".rjust(60, "f") for number in range(4)]
        for code in codes:
            feature = Feature.objects.create(code=code, name="x", unit="x")
            FeaturePrice.objects.create(
                feature=feature, unit_price=1, valid_from=timezone.now() - timedelta(days=1)
            )
        response = as_user(user).post(
            PATH, {"quantities": dict.fromkeys(codes, 1), "description": "x"}
        )
        assert refused(response) == (400, "invalid_request")

    def test_refuses_a_number_in_metadata_that_cannot_be_kept(self, user):
        body = b'{"amount": 5, "description": "x", "metadata": {"n": [0.10000000000000000001]}}'
        caller = as_user(user)
        response = caller.client.post(f"/api/{PATH}", body, content_type="application/json")
        assert wrong_fields(response) == ["metadata"]

    def test_keeps_numbers_in_metadata(self, user):
        body = b'{"amount":5,"description":"x","metadata":{"n":[1.5,-0.1,1e3,5.0,1e-7,12]}}'
        caller = as_user(user)
        response = caller.client.post(f"/api/{PATH}", body, content_type="application/json")
        numbers = [1.5, -0.1, 1000, 5, 1e-7, 12]
        assert response.json()["transaction"]["metadata"] == {"n": numbers}
        assert CreditTransaction.objects.get(description="x").metadata == {"n": numbers}


@pytest.mark.django_db
class TestDeductAgain:
    def test_has_one_effect_and_answers_the_first_transaction(self, user):
        caller, body = as_user(user), {**FIVE, "metadata": {"n": 0.25}}
        first = caller.post(PATH, body, key="k")
        caller.post(PATH, {**FIVE, "amount": 1})
        again = caller.post(PATH, body, key="k")
        assert again.status_code == 200
        assert again["Idempotent-Replayed"] == "true"
        assert again.json()["transaction"] == first.json()["transaction"]
        assert (first.json()["balance"]["available"], again.json()["balance"]["available"]) == (
            25,
            24,
        )

    def test_answers_though_the_wallet_is_empty_or_paused(self, user):
        caller, body = as_user(user), {**FIVE, "amount": 30}
        first = caller.post(PATH, body, key="k").json()
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        again = caller.post(PATH, body, key="k").json()
        assert again["transaction"] == first["transaction"]
        assert again["balance"]["credit_status"] == "paused"

    def test_answers_though_the_feature_is_sold_no_longer(self, user):
        make_catalogue(timezone.now())
        caller, body = as_user(user), {"feature": "report", "quantity": 0.5, "description": "x"}
        first = caller.post(PATH, body, key="k").json()
        Feature.objects.filter(code="report").update(is_active=False)
        price_list.forget()
        assert caller.post(PATH, body, key="k").json()["transaction"] == first["transaction"]
        assert refused(caller.post(PATH, body, key="l")) == (400, "invalid_request")

    def test_refuses_the_key_for_another_request(self, user):
        caller = as_user(user)
        caller.post(PATH, FIVE, key="k")
        for other in ({**FIVE, "amount": 6}, {**FIVE, "description": "B"}):
            response = caller.post(PATH, other, key="k")
            assert refused(response) == (422, "idempotency_key_reused")
        assert figures_of(user)[:3] == (5, 0, 20)

    def test_knows_keys_by_their_caller(self, user):
        body = {**FIVE, "user_id": user.pk}
        as_service().post(PATH, body, key="k")
        as_service().post(PATH, body, key="k")
        as_user(user).post(PATH, body, key="k")
        assert figures_of(user)[:3] == (0, 0, 15)

    def test_remembers_no_refusal(self, user):
        caller, body = as_user(user), {**FIVE, "amount": 31}
        assert caller.post(PATH, body, key="k").status_code == 402
        award(wallet_id_of(user), 1)
        assert caller.post(PATH, body, key="k").json()["transaction"]["amount"] == -31


@pytest.mark.django_db
class TestDeductForOthers:
    def test_lets_a_service_spend_for_the_user_it_names(self, user):
        answer = as_service("credits:spend").post(PATH, {**FIVE, "user_id": user.pk}, key="k")
        transaction = answer.json()["transaction"]
        assert (transaction["user_id"], transaction["actor"]) == (user.pk, user.pk)
        stored = CreditTransaction.objects.get(pk=transaction["id"])
        assert stored.caller.startswith("key:")

    def test_asks_a_service_whom_it_means(self, user):
        response = as_service("credits:spend").post(PATH, FIVE, key="k")
        assert refused(response) == (400, "invalid_request")
        assert "user_id" in response.json()["detail"]

    def test_asks_a_service_for_a_key(self, user):
        response = as_service("credits:spend").post(PATH, {**FIVE, "user_id": user.pk})
        assert refused(response) == (400, "invalid_request")
        assert "Idempotency-Key" in response.json()["detail"]

    def test_refuses_a_service_without_the_scope(self, user):
        response = as_service("credits:read").post(PATH, {**FIVE, "user_id": user.pk}, key="k")
        assert refused(response) == (403, "missing_scope")

    def test_does_not_find_who_is_not_there_or_not_active(self, user):
        service = as_service("credits:spend")
        response = service.post(PATH, {**FIVE, "user_id": 2**62}, key="k")
        assert refused(response) == (404, "not_found")
        User.objects.filter(pk=user.pk).update(is_active=False)
        response = service.post(PATH, {**FIVE, "user_id": user.pk}, key="k")
        assert refused(response) == (404, "not_found")

    def test_lets_no_user_spend_for_another(self, user):
        response = as_user(poor_user()).post(PATH, {**FIVE, "user_id": user.pk})
        assert refused(response) == (404, "not_found")

    def test_lets_nobody_spend_who_is_not_signed_in(self, client):
        response = client.post(f"/api/{PATH}", FIVE, content_type="application/json")
        assert refused(response) == (401, "not_authenticated")


@pytest.mark.django_db
class TestDeductFromAPool:
    @pytest.fixture
    def team(self, user) -> Team:
        """An organisation with 40 credits, in which the user has a seat."""
        team = TeamFactory()
        TeamMembership.objects.create(team=team, user=user)
        award(wallet_of(team).pk, 40)
        return team

    def test_takes_from_the_team_that_is_named(self, user, team):
        body = {**FIVE, "team_id": str(team.public_id)}
        answer = as_user(user).post(PATH, body).json()
        owners = [(part["user_id"], part["team_id"]) for part in answer.values()]
        assert owners == [(None, str(team.public_id))] * 2
        assert (answer["transaction"]["actor"], answer["balance"]["available"]) == (user.pk, 35)

    def test_takes_from_the_pool_what_the_own_wallet_does_not_cover(self, user, team):
        answer = as_user(user).post(PATH, {**FIVE, "amount": 31}).json()
        assert (answer["transaction"]["team_id"], answer["balance"]["available"]) == (
            str(team.public_id),
            9,
        )
        assert figures_of(user)[:3] == (10, 0, 20)

    def test_never_lands_a_retry_on_the_pool(self, user, team):
        caller, body = as_user(user), {**FIVE, "amount": 30}
        first = caller.post(PATH, body, key="k").json()["transaction"]
        again = caller.post(PATH, body, key="k").json()
        assert again["transaction"] == first
        assert again["balance"]["user_id"] == user.pk
        assert Wallet.objects.get(team=team).award == 40

    def test_replays_a_spend_of_the_pool_with_the_pools_balance(self, user, team):
        caller, body = as_user(user), {**FIVE, "amount": 31}
        first, again = (caller.post(PATH, body, key="k").json() for _ in range(2))
        assert again == first

    def test_takes_from_the_owner_where_a_user_owns_the_team(self, user):
        owner = TeamAdminFactory()
        team = Team.objects.create(name="Owned", owner=owner)
        TeamMembership.objects.create(team=team, user=user)
        body = {**FIVE, "team_id": str(team.public_id)}
        transaction = as_user(user).post(PATH, body).json()["transaction"]
        assert (transaction["user_id"], transaction["actor"]) == (owner.pk, user.pk)

    def test_does_not_find_a_team_of_others(self, user, team):
        stranger = poor_user()
        for team_id in (team.public_id, uuid.uuid4()):
            response = as_user(stranger).post(PATH, {**FIVE, "team_id": str(team_id)})
            assert refused(response) == (404, "not_found")


@pytest.mark.django_db
class TestOrderOfChecks:
    """Each request is wrong in two ways; the answer is that of the check that comes first."""

    BAD_SHAPE = {"amount": 0, "description": "x"}

    def test_asks_who_calls_before_the_shape(self, client):
        response = client.post(f"/api/{PATH}", self.BAD_SHAPE, content_type="application/json")
        assert refused(response) == (401, "not_authenticated")

    def test_looks_at_the_door_before_the_shape(self):
        response = as_service("credits:read").post(PATH, self.BAD_SHAPE, key="k")
        assert refused(response) == (403, "missing_scope")

    def test_looks_at_the_shape_before_the_object(self, user):
        body = {**self.BAD_SHAPE, "user_id": 2**62}
        assert refused(as_user(user).post(PATH, body)) == (400, "invalid_request")

    def test_looks_at_the_shape_of_the_key_before_the_object(self, user):
        body = {**FIVE, "user_id": 2**62}
        assert refused(as_user(user).post(PATH, body, key="a b")) == (400, "invalid_request")

    def test_looks_at_the_feature_before_the_object(self, user):
        body = {"feature": "no.such", "quantity": 1, "description": "x", "user_id": 2**62}
        assert refused(as_user(user).post(PATH, body)) == (400, "invalid_request")

    def test_looks_for_the_object_before_the_key(self, user):
        caller = as_user(user)
        caller.post(PATH, FIVE, key="k")
        body = {**FIVE, "amount": 6, "team_id": str(uuid.uuid4())}
        assert refused(caller.post(PATH, body, key="k")) == (404, "not_found")

    def test_looks_at_the_key_before_the_status(self, user):
        caller = as_user(user)
        caller.post(PATH, FIVE, key="k")
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        response = caller.post(PATH, {**FIVE, "amount": 6}, key="k")
        assert refused(response) == (422, "idempotency_key_reused")

    def test_looks_at_the_status_before_the_balance(self, user):
        spend(wallet_id_of(user), 30, at=timezone.now())
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        assert refused(as_user(user).post(PATH, FIVE)) == (403, "wallet_paused")
