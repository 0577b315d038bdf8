"""Subscriptions by the API, on the local Stripe."""

import pytest

from accounts.models import User
from billing import gateway
from billing.models import Subscription, SubscriptionChange
from billing.queries.subscriptions import subscription_of
from billing.services.offers import Price
from billing.services.subscriptions import settle_subscription
from billing.tests.sale import package, plan
from billing.tests.stripe import Sandbox, visit
from ledger.queries.wallets import wallet_of
from ledger.tests.api import as_service, as_user, poor_user, refused, wrong_fields
from ledger.tests.factories import close, set_credit_settings

pytestmark = pytest.mark.django_db
SUBSCRIBE, CURRENT, PORTAL = (
    "billing/subscriptions",
    "billing/subscriptions/current",
    "billing/portal",
)
URLS = {"success_url": "https://shop.example/done", "cancel_url": "https://shop.example/back"}


@pytest.fixture
def plans(db) -> None:
    for code, credits, amount in [("starter", 200, 1_999), ("professional", 600, 4_999)]:
        prices = [Price("usd", "month", amount), Price("usd", "year", amount * 10)]
        plan(code, name=code.title(), credits=credits, prices=prices, features=["Support"])


@pytest.fixture
def user(plans: None) -> User:
    return poor_user()


def subscribed(user: User, code: str = "starter", **more: str) -> None:
    """Subscribe as a user does: here, and on Stripe's page."""
    begun = as_user(user).post(SUBSCRIBE, {"plan": code, **URLS, **more})
    assert begun.status_code == 201, begun.json()
    visit(begun.json()["checkout_url"], card_number="4242424242424242")
    settled(user)


def settled(user: User) -> None:
    """Do what the webhook of it brings about."""
    begun = Subscription.objects.filter(user=user).latest("pk")
    if begun.subscription_id is None:
        session = gateway.retrieve_checkout(begun.session_id)
        settle_subscription(session.subscription)
    else:
        settle_subscription(begun.subscription_id)


@pytest.mark.usefixtures("sandbox")
class TestSubscribe:
    def test_leads_to_stripe_and_brings_the_credits(self, user):
        subscribed(user)
        answer = as_user(user).get(CURRENT).json()
        assert (answer["plan"], answer["name"], answer["status"]) == (
            "starter",
            "Starter",
            "active",
        )
        assert (answer["interval"], answer["price"], answer["credits"]) == (
            "month",
            {"amount_minor": 1_999, "currency": "usd"},
            200,
        )
        assert (answer["cancels_at"], answer["next"]) == (None, None)
        balance = as_user(user).get("credits/balance").json()
        assert (balance["purchases"], balance["tier"], balance["subscription"]) == (
            200,
            "starter",
            "active",
        )
        assert balance["next_billing_date"] == answer["period_end"][:10]
        assert as_user(user).get("auth/me").json()["features"] == ["Support"]

    def test_is_the_same_page_for_the_same_key(self, user):
        body = {"plan": "starter", **URLS}
        caller = as_user(user)
        first, again = (caller.post(SUBSCRIBE, body, key="k") for _ in range(2))
        assert first.json() == again.json()
        assert Subscription.objects.count() == 1
        other = caller.post(SUBSCRIBE, {**body, "plan": "professional"}, key="k")
        assert refused(other)[0] == 422

    def test_is_for_a_service_that_names_the_user(self, user):
        service = as_service("billing:write", "billing:read")
        body = {"plan": "starter", "user_id": user.pk, **URLS}
        assert refused(service.post(SUBSCRIBE, body)) == (400, "invalid_request")
        assert service.post(SUBSCRIBE, body, key="k").status_code == 201
        assert refused(as_service("billing:read").post(SUBSCRIBE, body, key="l"))[0] == 403
        assert Subscription.objects.get().user == user

    def test_refuses_a_second_one(self, user):
        subscribed(user)
        again = as_user(user).post(SUBSCRIBE, {"plan": "professional", **URLS})
        assert refused(again) == (409, "already_subscribed")

    def test_refuses_what_is_no_plan_and_who_may_not_buy(self, user):
        package()
        caller = as_user(user)
        for code in ["small", "unheard-of"]:
            assert refused(caller.post(SUBSCRIBE, {"plan": code, **URLS})) == (404, "not_found")
        assert refused(caller.post(SUBSCRIBE, {"plan": "starter", "currency": "eur", **URLS})) == (
            400,
            "invalid_request",
        )
        assert wrong_fields(caller.post(SUBSCRIBE, {"plan": "starter", "interval": "week"})) == [
            "interval"
        ]
        close(wallet_of(user))
        assert refused(caller.post(SUBSCRIBE, {"plan": "starter", **URLS}))[0] == 409

    def test_says_when_credits_are_switched_off(self, user):
        set_credit_settings(credits_enabled=False)
        answer = as_user(user).post(SUBSCRIBE, {"plan": "starter", **URLS})
        assert refused(answer) == (503, "credits_disabled")

    def test_needs_an_address_to_lead_back_to(self, user, settings):
        settings.SITE_URL = ""
        assert refused(as_user(user).post(SUBSCRIBE, {"plan": "starter"}))[0] == 400
        settings.SITE_URL = "https://credits.example.com"
        assert as_user(user).post(SUBSCRIBE, {"plan": "starter"}).status_code == 201


@pytest.mark.usefixtures("sandbox")
class TestChange:
    def test_upgrades_now_for_what_was_previewed(self, user):
        subscribed(user)
        caller = as_user(user)
        preview = caller.get(f"{CURRENT}/preview", {"plan": "professional"}).json()
        assert (preview["change"], preview["due"]["currency"]) == ("upgrade", "usd")
        assert 0 < preview["due"]["amount_minor"] <= 3_000
        answer = caller.patch(CURRENT, {"plan": "professional"}, key="k").json()
        assert (answer["change"], answer["change_status"]) == ("upgrade", "done")
        assert answer["subscription"]["plan"] == "professional"
        assert caller.patch(CURRENT, {"plan": "professional"}, key="k").json() == answer
        balance = caller.get("credits/balance").json()
        assert balance["purchases"] == 200 + preview["credits"]
        assert SubscriptionChange.objects.count() == 1

    def test_downgrades_with_the_next_period_and_takes_it_back(self, user):
        subscribed(user, "professional")
        caller = as_user(user)
        answer = caller.patch(CURRENT, {"plan": "starter"}).json()
        assert answer["change"] == "downgrade"
        assert (answer["subscription"]["plan"], answer["subscription"]["next"]["plan"]) == (
            "professional",
            "starter",
        )
        answer = caller.patch(CURRENT, {"plan": "professional"}).json()
        assert (answer["change"], answer["subscription"]["next"]) == ("stay", None)

    def test_renews_on_the_plan_that_was_asked_for(self, user, sandbox: Sandbox):
        subscribed(user, "professional")
        as_user(user).patch(CURRENT, {"plan": "starter"})
        sandbox.order("clock", seconds=32 * 86_400)
        settled(user)
        answer = as_user(user).get(CURRENT).json()
        assert (answer["plan"], answer["next"]) == ("starter", None)

    def test_refuses_what_cannot_be(self, user):
        caller = as_user(user)
        assert refused(caller.patch(CURRENT, {"plan": "starter"})) == (404, "not_found")
        subscribed(user)
        assert refused(caller.patch(CURRENT, {"plan": "starter"}))[0] == 409
        assert refused(caller.patch(CURRENT, {"plan": "unheard-of"})) == (404, "not_found")
        assert wrong_fields(caller.patch(CURRENT, {})) == ["plan"]


@pytest.mark.usefixtures("sandbox")
class TestCancelAndKeep:
    def test_ends_with_the_period_and_can_be_taken_back(self, user):
        subscribed(user)
        caller = as_user(user)
        answer = caller.delete(CURRENT).json()
        assert answer["change"] == "cancel"
        assert answer["subscription"]["cancels_at"] == answer["subscription"]["period_end"]
        assert caller.get("credits/balance").json()["next_billing_date"] is None
        answer = caller.post(f"{CURRENT}/keep").json()
        assert (answer["change"], answer["subscription"]["cancels_at"]) == ("keep", None)

    def test_is_for_a_service_that_names_the_user(self, user):
        subscribed(user)
        service = as_service("billing:write")
        named = f"?user_id={user.pk}"
        assert refused(service.delete(CURRENT, named)) == (400, "invalid_request")
        assert service.delete(CURRENT, named, key="k").status_code == 200
        again = service.delete(CURRENT, named, key="k")
        assert (again.status_code, SubscriptionChange.objects.count()) == (200, 1)

    def test_finds_no_subscription_of_others(self, user):
        subscribed(user)
        stranger = as_user(poor_user())
        assert refused(stranger.delete(CURRENT)) == (404, "not_found")
        assert refused(stranger.get(CURRENT, {"user_id": user.pk})) == (404, "not_found")
        assert subscription_of(wallet_of(user)).cancels_at is None


@pytest.mark.usefixtures("sandbox")
class TestPortal:
    def test_leads_to_stripe(self, user):
        answer = as_user(user).post(PORTAL, {"return_url": "https://shop.example/"})
        assert answer.status_code == 200
        status, page, _ = visit(answer.json()["url"])
        assert status == 200
        assert page

    def test_leads_back_to_no_address_in_the_clear(self, user):
        answer = as_user(user).post(PORTAL, {"return_url": "http://shop.example/"})
        assert answer.status_code == 400

    def test_says_when_stripe_does_not_answer(self, user, sandbox: Sandbox):
        sandbox.fail_next(effect="error", status=500, times=5)
        answer = as_user(user).post(PORTAL, {"return_url": "https://shop.example/"})
        assert refused(answer) == (503, "payments_unavailable")
