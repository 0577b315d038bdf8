"""Auto top-up, as the API takes and tells it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from audit.models import AuditEvent
from billing.choices import TopUpPause
from billing.models import AutoTopUp
from billing.tests.stripe import visit
from billing.tests.top_ups import FakeCards, agreed, look, low, now_of
from ledger.tests.api import as_service, as_user, poor_user, refused, wrong_fields
from ledger.tests.factories import close, set_credit_settings

pytestmark = pytest.mark.django_db
PATH = "billing/auto-top-up"
TERMS = {"enabled": True, "threshold": 100, "amount": 500, "monthly_limit": 2_000}
OFF = {
    "enabled": False,
    "threshold": 0,
    "amount": 0,
    "monthly_limit": 0,
    "bought_this_month": 0,
    "price": None,
    "card": None,
    "why_off": None,
    "why_paused": None,
    "paused_until": None,
}


def put(user: User, **more: Any) -> Any:
    return as_user(user).client.put(f"/api/{PATH}", TERMS | more)


class TestGet:
    def test_tells_who_agreed_to_nothing(self):
        assert as_user(poor_user()).get(PATH).json() == OFF
        assert AutoTopUp.objects.count() == 0

    def test_tells_what_was_agreed_to_and_bought(self, fake_cards: FakeCards):
        auto = low(agreed_at=timezone.now())
        look(timezone.now())
        assert as_user(auto.user).get(PATH).json() == {
            **OFF,
            **TERMS,
            "bought_this_month": 500,
            "price": {"amount_minor": 5_000, "currency": "usd"},
            "card": {"brand": "visa", "last4": "4242", "expires": "2040-12"},
        }

    def test_tells_why_nothing_is_charged(self):
        auto = agreed(paused_why=TopUpPause.AUTHENTICATION)
        assert as_user(auto.user).get(PATH).json()["why_paused"] == "authentication"
        AutoTopUp.objects.update(is_enabled=False, ended_why="price")
        answer = as_user(auto.user).get(PATH).json()
        assert (answer["why_off"], answer["why_paused"]) == ("price", None)

    def test_is_for_services_that_name_the_user(self):
        auto = agreed()
        reader = as_service("billing:read")
        assert reader.get(PATH, {"user_id": auto.user_id}).json()["enabled"] is True
        assert refused(reader.get(PATH))[0] == 400
        assert refused(as_service("credits:read").get(PATH))[1] == "missing_scope"
        assert refused(as_user(poor_user()).get(PATH, {"user_id": auto.user_id}))[0] == 404


class TestPut:
    def test_leads_to_where_a_card_is_saved_and_then_agrees(self, sandbox):
        user = poor_user()
        answer = put(user, return_url="https://example.com/back")
        assert refused(answer) == (409, "card_needed")
        url = answer.json()["checkout_url"]
        assert as_user(user).get(PATH).json()["enabled"] is False
        assert visit(url, card_number="4242 4242 4242 4242")[2] == "https://example.com/back"
        agreed_to = put(user).json()
        assert agreed_to == as_user(user).get(PATH).json()
        assert {name: agreed_to[name] for name in TERMS} == TERMS
        assert agreed_to["price"] == {"amount_minor": 5_000, "currency": "usd"}
        assert agreed_to["card"]["last4"] == "4242"

    def test_keeps_what_is_left_out(self):
        auto = agreed()
        answer = as_user(auto.user).client.put(f"/api/{PATH}", {"enabled": True, "threshold": 7})
        assert (answer.json()["threshold"], answer.json()["amount"]) == (7, 500)

    def test_switches_off_whatever_else_is_the_matter(self):
        auto = agreed()
        set_credit_settings(credits_enabled=False)
        close(auto.wallet)
        answer = put(auto.user, enabled=False, threshold=50).json()
        assert (answer["enabled"], answer["threshold"], answer["why_off"]) == (False, 50, "user")

    def test_records_who_agreed_to_what(self):
        auto = agreed(is_enabled=False)
        put(auto.user, amount=700)
        event = AuditEvent.objects.get(action="billing.top_up.agreed")
        assert event.actor_id == auto.user_id
        assert event.before
        assert event.after
        assert (event.before["is_enabled"], event.after["is_enabled"]) == (False, True)
        assert (event.before["amount"], event.after["amount"]) == (500, 700)
        put(auto.user, amount=700)
        put(auto.user, enabled=False)
        names = AuditEvent.objects.filter(action__startswith="billing.top_up").order_by("pk")
        assert [e.action for e in names] == ["billing.top_up.agreed", "billing.top_up.ended"]

    def test_by_a_service_is_recorded_on_behalf_of_the_user(self):
        auto = agreed(is_enabled=False)
        service = as_service("billing:write")
        body = TERMS | {"user_id": auto.user_id}
        assert service.client.put(f"/api/{PATH}", body).status_code == 200
        event = AuditEvent.objects.get(action="billing.top_up.agreed")
        assert (event.actor_id != auto.user_id, event.on_behalf_of_id) == (True, auto.user_id)

    def test_does_not_shorten_a_pause_after_a_decline(self, fake_cards: FakeCards):
        auto = low()
        until = timezone.now() + timedelta(hours=1)
        AutoTopUp.objects.update(paused_why="declined", paused_until=until, failures=1)
        for enabled in (False, True):
            put(auto.user, enabled=enabled)
        assert (now_of(auto).paused_until, now_of(auto).failures) == (until, 1)

    def test_raises_a_limit_that_is_reached(self):
        auto = low(paused_why="month", paused_until=timezone.now() + timedelta(days=9))
        assert put(auto.user, monthly_limit=9_000).json()["why_paused"] is None

    @pytest.mark.parametrize(
        ("wrong", "fields"),
        [
            ({"enabled": "true"}, ["enabled"]),
            ({"enabled": None}, ["enabled"]),
            ({"enabled": 1}, ["enabled"]),
            ({"threshold": -1}, ["threshold"]),
            ({"threshold": 1_000_001}, ["threshold"]),
            ({"amount": 0}, ["amount"]),
            ({"amount": "500"}, ["amount"]),
            ({"amount": 1_000_001}, ["amount"]),
            ({"monthly_limit": None}, ["monthly_limit"]),
            ({"return_url": "javascript:alert(1)"}, ["return_url"]),
            ({"card": "pm_1"}, ["card"]),
        ],
    )
    def test_refuses_what_is_no_such_thing(self, wrong, fields):
        assert wrong_fields(put(agreed().user, **wrong)) == fields

    def test_refuses_what_cannot_be_agreed_to(self):
        auto = agreed()
        assert refused(put(auto.user, monthly_limit=499)) == (400, "invalid_request")
        assert refused(put(auto.user, currency="zar")) == (400, "invalid_request")
        assert refused(put(auto.user, return_url="http://example.com/"))[0] == 400
        assert refused(as_user(poor_user()).client.put(f"/api/{PATH}", {"enabled": True}))[0] == 400
        assert now_of(auto).monthly_limit == 2_000

    def test_refuses_while_credits_are_off_or_the_wallet_is_closed(self):
        auto = agreed()
        set_credit_settings(credits_enabled=False)
        assert refused(put(auto.user)) == (503, "credits_disabled")
        set_credit_settings(credits_enabled=True)
        close(auto.wallet)
        assert refused(put(auto.user)) == (409, "wallet_closed")

    def test_refuses_where_only_stripes_page_calculates_tax(self, settings):
        settings.STRIPE_AUTOMATIC_TAX = True
        assert refused(put(agreed().user))[0] == 400

    def test_without_a_card_needs_stripe(self, settings):
        settings.STRIPE_SECRET_KEY = ""
        assert refused(put(poor_user())) == (503, "payments_unavailable")

    def test_is_for_services_that_may_write(self):
        auto = agreed()
        reader = as_service("billing:read")
        body = TERMS | {"user_id": auto.user_id}
        assert refused(reader.client.put(f"/api/{PATH}", body))[1] == "missing_scope"
        assert refused(as_user(poor_user()).client.put(f"/api/{PATH}", body))[0] == 404
