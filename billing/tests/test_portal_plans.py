"""The page of plans, as a signed-in user sees and uses it, on the local Stripe."""

import re
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import User
from billing.queries.subscriptions import subscription_of
from billing.services.offers import Price
from billing.tests.sale import plan
from billing.tests.stripe import Sandbox, visit
from billing.tests.tiers import on_tier
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import CustomerFactory
from ledger.tests.pages import said, text

pytestmark = pytest.mark.django_db
PLANS = "/billing/plans/"


@pytest.fixture
def user(db) -> User:
    for code, credits, amount in [("starter", 200, 1_999), ("professional", 600, 4_999)]:
        prices = [
            Price("usd", "month", amount),
            Price("usd", "year", amount * 10),
            Price("zar", "month", amount * 18),
        ]
        plan(code, name=code.title(), credits=credits, prices=prices, features=["Support"])
    return CustomerFactory()


@pytest.fixture
def visitor(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def send(client: Client, act: str, **more: str):
    return client.post(f"{PLANS}{act}/", {"request_id": str(uuid4()), **more})


def subscribe(client: Client, user: User, code: str = "starter") -> None:
    answer = send(client, "subscribe", plan=code, interval="month", currency="usd")
    assert answer.status_code == 302, said(client.get(PLANS))
    status, _, back = visit(answer["Location"], card_number="4242424242424242")
    assert (status, back) == (303, "http://testserver/billing/plans/?subscribed=1")
    assert "your plan" in text(client.get(back))


class TestLooking:
    def test_shows_what_is_sold_in_a_currency_and_by_an_interval(self, visitor: Client):
        page = text(visitor.get(PLANS))
        for words in ["Starter", "19.99 USD", "200 credits a month", "Professional", "Support"]:
            assert words in page
        assert "199.90 USD" in text(visitor.get(PLANS, {"interval": "year"}))
        rand = text(visitor.get(PLANS, {"currency": "zar"}))
        assert "359.82 ZAR" in rand
        assert "USD" in rand  # The way to the other currency.

    @pytest.mark.parametrize("query", [{"currency": "xxx"}, {"interval": "week"}, {"currency": ""}])
    def test_falls_back_to_what_is_sold(self, visitor: Client, query):
        assert "19.99 USD" in text(visitor.get(PLANS, query))

    def test_says_where_nothing_is_sold(self, visitor: Client):
        assert "No plan is sold in EUR" in text(visitor.get(PLANS, {"currency": "eur"}))

    def test_shows_a_tier_that_nobody_pays_for(self, visitor: Client, user: User):
        plan("growth", name="Growth", credits=2_000)
        on_tier(user)
        page = text(visitor.get(PLANS))
        assert "You are on this plan and pay nothing for it." in page
        assert "2,000 credits every month" in page

    def test_is_for_who_is_signed_in(self, client: Client):
        assert client.get(PLANS)["Location"].startswith("/accounts/login/")


@pytest.mark.usefixtures("sandbox")
class TestActing:
    def test_subscribes_on_stripes_page(self, visitor: Client, user: User):
        subscribe(visitor, user)
        page = text(visitor.get(PLANS, {"subscribed": 1}))
        for words in ["Thank you.", "active", "your plan", "Renews", "Cancel my plan"]:
            assert words in page
        assert "Subscribe<" not in page

    def test_pressing_twice_is_the_same_page(self, visitor: Client):
        data = {"plan": "starter", "interval": "month", "request_id": str(uuid4())}
        answers = [visitor.post(f"{PLANS}subscribe/", data) for _ in range(2)]
        assert answers[0]["Location"] == answers[1]["Location"]

    def test_upgrades_for_what_it_shows_first(self, visitor: Client, user: User):
        subscribe(visitor, user)
        query = {"plan": "professional", "interval": "month"}
        page = text(visitor.get(f"{PLANS}change/", query))
        assert "You pay now" in page
        assert re.search(r"(29|30)\.\d\d USD", page)
        assert said_after(visitor, send(visitor, "change", **query)) == [
            "You are on Professional now. Your credits are on their way."
        ]
        subscription = subscription_of(wallet_of(user))
        assert subscription.price.version.offer.code == "professional"

    def test_downgrades_with_the_next_period_and_stays(self, visitor: Client, user: User):
        subscribe(visitor, user, "professional")
        query = {"plan": "starter", "interval": "month"}
        assert "Until then you keep what you have paid for." in text(
            visitor.get(f"{PLANS}change/", query)
        )
        send(visitor, "change", **query)
        assert "It changes to Starter on" in text(visitor.get(PLANS))
        stay = {"plan": "professional", "interval": "month"}
        assert "taken back" in text(visitor.get(f"{PLANS}change/", stay))
        send(visitor, "change", **stay)
        assert subscription_of(wallet_of(user)).next_price is None

    def test_cancels_and_keeps(self, visitor: Client, user: User):
        subscribe(visitor, user)
        assert "It goes on until" in text(visitor.get(f"{PLANS}cancel/"))
        send(visitor, "cancel")
        page = text(visitor.get(PLANS))
        assert "It is cancelled, and ends on" in page
        assert "Keep my plan" in page
        send(visitor, "keep")
        assert subscription_of(wallet_of(user)).cancels_at is None

    def test_leads_to_the_portal(self, visitor: Client):
        answer = send(visitor, "portal")
        assert visit(answer["Location"])[0] == 200

    def test_shows_a_refusal(self, visitor: Client, user: User, sandbox: Sandbox):
        assert said_after(visitor, send(visitor, "subscribe", plan="gone", interval="month")) == [
            "There is no such plan."
        ]
        assert said_after(visitor, send(visitor, "subscribe", plan="starter")) == ["Choose a plan."]
        sandbox.fail_next(effect="error", status=500, times=9)
        (refusal,) = said_after(visitor, send(visitor, "portal"))
        assert "try again" in refusal.lower()

    def test_does_nothing_without_a_subscription(self, visitor: Client):
        for act in ["cancel", "keep"]:
            assert send(visitor, act)["Location"] == PLANS
        assert visitor.get(f"{PLANS}cancel/")["Location"] == PLANS
        assert send(visitor, "change", plan="starter", interval="month")["Location"] == PLANS


def said_after(client: Client, answer) -> list[str]:
    return said(client.get(answer["Location"]))
