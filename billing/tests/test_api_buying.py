"""Rate, catalogue, quote and codes, as the API answers."""

import pytest
from django.utils import timezone

from accounts.tests.factories import StaffFactory
from billing.models import Redemption
from billing.services.catalogue_file import CATALOGUE, load_catalogue
from billing.services.offers import Price, retire_offer
from billing.tests.sale import package, plan, promotion
from ledger.tests.api import as_service, as_user, poor_user, refused, wrong_fields
from ledger.tests.factories import set_credit_settings

VALIDATE = "credits/purchase/validate"


def usd(amount_minor):
    return {"amount_minor": amount_minor, "currency": "usd"}


@pytest.mark.django_db
class TestRate:
    def test_says_what_a_credit_costs_and_what_is_off(self):
        assert as_user(poor_user()).get("credits/rate").json() == {
            "price_per_credit": "0.1",
            "currency": "usd",
            "your_rate": "0.1",
            "volume_discounts": [
                {"from_credits": 1_000, "discount": "5 %", "price_per_credit": "0.095"},
                {"from_credits": 5_000, "discount": "10 %", "price_per_credit": "0.09"},
                {"from_credits": 10_000, "discount": "15 %", "price_per_credit": "0.085"},
            ],
        }

    def test_is_of_the_currency_that_is_asked_for(self):
        load_catalogue(path=CATALOGUE, at=timezone.now(), reason="")
        caller = as_user(poor_user())
        answer = caller.get("credits/rate", {"currency": "zar"}).json()
        assert (answer["price_per_credit"], answer["currency"]) == ("0.13", "zar")
        for unknown in ["eur", "ZAR", "z"]:
            assert refused(caller.get("credits/rate", {"currency": unknown})) == (
                400,
                "invalid_request",
            )

    def test_takes_a_service_to_name_the_user(self):
        user, service = poor_user(), as_service("billing:read")
        assert service.get("credits/rate", {"user_id": user.pk}).status_code == 200
        assert refused(service.get("credits/rate"))[0] == 400
        assert refused(as_service("credits:read").get("credits/rate"))[1] == "missing_scope"


@pytest.mark.django_db
class TestPackages:
    def test_lists_each_price_of_what_is_sold(self):
        package(prices=[Price("usd", "", 1_000), Price("eur", "", 900)])
        plan()
        retire_offer(offer=package("gone"), actor=None, at=timezone.now(), reason="")
        caller = as_user(poor_user())
        answer = caller.get("credits/packages").json()
        assert (answer["next"], answer["previous"]) == (None, None)
        rows = answer["results"]
        assert [(row["code"], row["price"]["currency"], row["interval"]) for row in rows] == [
            ("monthly", "usd", "month"),
            ("monthly", "usd", "year"),
            ("small", "eur", None),
            ("small", "usd", None),
        ]
        assert rows[1] == {
            "code": "monthly",
            "kind": "plan",
            "name": "Small",
            "credits": 100,
            "price": usd(19_990),
            "interval": "year",
            "features": ["E-mail"],
            "effective_rate": "0.166583",
        }
        euros = caller.get("credits/packages", {"currency": "eur"}).json()["results"]
        assert [row["price"]["amount_minor"] for row in euros] == [900]
        assert caller.get("credits/packages", {"currency": "jpy"}).json()["results"] == []

    def test_asks_the_same_however_many_there_are(self, django_assert_num_queries):
        caller = as_user(poor_user())
        for number in range(3):
            package(f"p-{number}")
        with django_assert_num_queries(4):  # Of these one is for who calls.
            caller.get("credits/packages")


@pytest.mark.django_db
class TestValidate:
    def test_quotes_credits_by_number(self):
        assert as_user(poor_user()).post(VALIDATE, {"amount": 1_000}).json() == {
            "credits": 1_000,
            "bonus_credits": 0,
            "subtotal": usd(10_000),
            "discounts": [{"reason": "5 % off from 1,000 credits", "money": usd(500)}],
            "total": usd(9_500),
            "rate": "0.095",
        }

    def test_quotes_a_package_with_a_promotion_and_reserves_nothing(self):
        package()
        promotion(starts_at=timezone.now())
        body = {"package": "small", "promotion_code": "spring"}
        answer = as_user(poor_user()).post(VALIDATE, body).json()
        assert answer["discounts"] == [{"reason": "SPRING: 20 % off", "money": usd(200)}]
        assert (answer["total"], answer["rate"]) == (usd(800), "0.08")
        assert not Redemption.objects.exists()

    def test_quotes_bonus_credits(self):
        promotion("bonus", starts_at=timezone.now())
        body = {"amount": 10, "promotion_code": "SPRING"}
        answer = as_user(poor_user()).post(VALIDATE, body).json()
        assert (answer["credits"], answer["bonus_credits"], answer["total"]) == (10, 50, usd(100))

    def test_takes_the_only_currency_of_a_package(self):
        package(prices=[Price("eur", "", 900)])
        package("both", prices=[Price("eur", "", 900), Price("zar", "", 9_000)])
        caller = as_user(poor_user())
        total = caller.post(VALIDATE, {"package": "small"}).json()["total"]
        assert total == {"amount_minor": 900, "currency": "eur"}
        body = {"package": "small", "currency": "usd"}
        assert refused(caller.post(VALIDATE, body))[0] == 400
        assert refused(caller.post(VALIDATE, {"package": "both"}))[0] == 400
        body = {"package": "both", "currency": "zar"}
        assert caller.post(VALIDATE, body).json()["total"]["amount_minor"] == 9_000

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({}, ["amount"]),
            ({"amount": 5, "package": "small"}, ["amount"]),
            ({"amount": 0}, ["amount"]),
            ({"amount": "5"}, ["amount"]),
            ({"amount": 5.0}, ["amount"]),
            ({"amount": 1_000_000_001}, ["amount"]),
            ({"amount": 5, "currency": "euros"}, ["currency"]),
            ({"amount": 5, "money": 1}, ["money"]),
        ],
    )
    def test_refuses_another_shape(self, body, fields):
        assert wrong_fields(as_user(poor_user()).post(VALIDATE, body)) == fields

    @pytest.mark.parametrize(
        ("body", "refusal"),
        [
            ({"amount": 5, "currency": "eur"}, (400, "invalid_request")),
            ({"package": "monthly"}, (400, "invalid_request")),
            ({"package": "none"}, (404, "not_found")),
            ({"package": "gone"}, (409, "not_for_sale")),
            ({"amount": 5, "promotion_code": "NONE"}, (404, "not_found")),
            ({"amount": 5, "promotion_code": "gift"}, (409, "promotion_not_applicable")),
            # A shape before an object before what the state says.
            ({"package": "gone", "promotion_code": "NONE"}, (404, "not_found")),
            ({"package": "none", "currency": "xxx"}, (404, "not_found")),
        ],
    )
    def test_refuses_what_cannot_be_bought(self, body, refusal):
        plan()
        retire_offer(offer=package("gone"), actor=None, at=timezone.now(), reason="")
        promotion("grant", code="GIFT")
        assert refused(as_user(poor_user()).post(VALIDATE, body)) == refusal

    def test_says_why_a_code_is_not_for_this(self):
        promotion(starts_at=timezone.now(), minimum_credits=6)
        body = {"amount": 5, "promotion_code": "SPRING"}
        answer = as_user(poor_user()).post(VALIDATE, body).json()
        assert (answer["why"], answer["detail"]) == (
            "minimum",
            "SPRING is for 6 credits and more.",
        )

    def test_sells_no_credits_for_nothing(self):
        set_credit_settings(price_per_credit="0.001")
        caller = as_user(poor_user())
        assert refused(caller.post(VALIDATE, {"amount": 4})) == (400, "invalid_request")
        assert caller.post(VALIDATE, {"amount": 5}).json()["total"] == usd(1)

    def test_sells_nothing_while_credits_are_switched_off(self):
        set_credit_settings(credits_enabled=False)
        caller = as_user(poor_user())
        assert refused(caller.post(VALIDATE, {"amount": 5})) == (503, "credits_disabled")


@pytest.mark.django_db
class TestRedeem:
    def test_gives_the_credits_of_a_code_once(self):
        promotion("grant", starts_at=timezone.now())
        user = poor_user()
        caller = as_user(user)
        answer = caller.post("credits/redeem", {"code": "Spring"}, key="k")
        assert answer.status_code == 200
        given = answer.json()
        assert given["transaction"]["transaction_type"] == "award"
        assert (given["transaction"]["amount"], given["balance"]["awards"]) == (50, 50)
        assert given["transaction"]["actor"] == user.pk
        again = caller.post("credits/redeem", {"code": "Spring"}, key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert again.json()["transaction"] == given["transaction"]
        answer = caller.post("credits/redeem", {"code": "Spring"}, key="l")
        assert refused(answer) == (409, "promotion_not_applicable")
        assert answer.json()["why"] == "used"

    def test_takes_a_service_that_names_the_user_and_a_key(self):
        promotion("grant", starts_at=timezone.now())
        body = {"code": "SPRING", "user_id": poor_user().pk}
        service = as_service("billing:write", owner=StaffFactory())
        assert refused(service.post("credits/redeem", body))[0] == 400
        assert service.post("credits/redeem", body, key="k").status_code == 200
        assert refused(as_service("billing:read").post("credits/redeem", body, key="k"))[0] == 403

    def test_answers_so_many_tries_of_codes_and_no_more(self, settings):
        settings.API_THROTTLES = settings.API_THROTTLES | {"codes": (3, 60)}
        settings.API_THROTTLE_CACHE = None
        caller = as_user(poor_user())
        bodies = [("credits/redeem", {"code": "NONE"}), (VALIDATE, {"amount": 1})]
        tried = [caller.post(*body).status_code for body in [*bodies, *bodies]]
        assert tried == [404, 200, 404, 429]
