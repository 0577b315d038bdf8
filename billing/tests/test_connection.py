"""Whether we and Stripe hear each other: what is counted, what the page says, when it warns."""

import json
from datetime import datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from billing import gateway
from billing.gateway import PaymentsUnavailable
from billing.models import StripeEvent, WebhookTally
from billing.queries.connection import advice, are_webhooks_missing, connection_at
from billing.services import webhooks
from billing.tests.test_inbox import OLD, SECRET, body_of, send, signature
from creditsite.testing.people import as_role

pytestmark = pytest.mark.django_db
PAGE = "/admin/billing/webhooktally/"
NOW = timezone.now()


@pytest.fixture(autouse=True)
def our_stripe(settings, monkeypatch):
    settings.STRIPE_SECRET_KEY = "sk_live_of_the_tests"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET, OLD]
    settings.STRIPE_ACCOUNT = "acct_ours"
    settings.SITE_URL = "https://credits.example.com"
    monkeypatch.setattr(gateway, "account_id", lambda: "acct_ours")


def live(id: str, **changes) -> bytes:
    return body_of(**{"id": id, "livemode": True} | changes)


def signed(secret: str, at: datetime) -> None:
    webhooks.note_signed(secret, at=at)


def missed(at: datetime) -> None:
    StripeEvent.objects.create(
        event_id=f"evt_{at.timestamp()}", type="refund.created", livemode=True, created_at=at,
        received_at=at + timedelta(minutes=10), was_missed=True, status="done",
    )  # fmt: skip


def advised(at: datetime = NOW) -> list[str]:
    """Return the first words of each piece of advice."""
    return [words[:32] for words in advice(connection_at(at), at)]


class TestTally:
    def test_says_which_secret_signed(self):
        assert send(live("evt_1")) == 200
        assert [bool(each.last_at) for each in connection_at(NOW).secrets] == [True, False]
        body = live("evt_2")
        assert send(body, signature(body, OLD)) == 200
        assert [bool(each.last_at) for each in connection_at(NOW).secrets] == [True, True]

    def test_counts_what_was_refused_by_why_and_keeps_nothing_of_it(self):
        for _ in range(3):
            assert send(live("evt_1"), "t=1,v1=forged-by-mallory") == 400
        body = live("evt_1")
        assert send(body, signature(body, at=NOW - timedelta(hours=1))) == 400
        assert send(live("evt_1", livemode=False)) == 400
        rows = WebhookTally.objects.values_list("outcome", "about", "count")
        assert sorted(rows) == [
            ("refused", "The event is of another account or mode.", 1),
            ("refused", "The signature is none of Stripe's.", 3),
            ("refused", "The signature is not of now.", 1),
        ]

    def test_stays_small_whatever_is_sent(self):
        for number in range(40):
            send(json.dumps({"n": number}).encode(), f"t={number},v1={number:064x}")
        assert WebhookTally.objects.count() == 1

    def test_does_not_write_for_each_good_one(self, django_assert_num_queries):
        signed(SECRET, NOW)
        with django_assert_num_queries(1):
            signed(SECRET, NOW + timedelta(seconds=4))
        signed(SECRET, NOW + timedelta(seconds=6))
        assert WebhookTally.objects.get().last_at == NOW + timedelta(seconds=6)

    def test_never_goes_back(self):
        signed(SECRET, NOW)
        signed(SECRET, NOW - timedelta(hours=1))
        assert WebhookTally.objects.get().last_at == NOW

    def test_keeps_no_secret(self):
        signed(SECRET, NOW)
        assert SECRET not in str(WebhookTally.objects.values())


class TestAdvice:
    def test_is_none_while_all_is_well(self):
        signed(SECRET, NOW)
        assert advised() == []

    def test_begins_with_the_key(self, settings):
        settings.STRIPE_SECRET_KEY = ""
        assert advised() == ["Payments are not set up. Set STR"]

    def test_passes_on_that_stripe_does_not_answer(self, monkeypatch):
        def silent() -> str:
            raise PaymentsUnavailable("The payment service did not answer.")

        signed(SECRET, NOW)
        monkeypatch.setattr(gateway, "account_id", silent)
        (words,) = advice(connection_at(NOW), NOW)
        assert words == (
            "Stripe was asked for our account: The payment service did not answer."
            " See STRIPE_SECRET_KEY."
        )

    def test_compares_the_account(self, settings):
        signed(SECRET, NOW)
        settings.STRIPE_ACCOUNT = "acct_other"
        assert advised() == ["The key belongs to acct_ours, an"]

    def test_says_where_webhooks_are_to_come_to(self):
        (words,) = advice(connection_at(NOW), NOW)
        assert words.endswith("send events to https://credits.example.com/stripe/webhook.")

    def test_says_that_there_is_no_secret(self, settings):
        settings.STRIPE_WEBHOOK_SECRETS = []
        assert advised() == ["Set STRIPE_WEBHOOK_SECRETS: with"]

    def test_says_that_a_secret_does_not_fit_until_one_does(self):
        signed(SECRET, NOW - timedelta(hours=2))
        webhooks.note_refused(gateway.NOT_SIGNED, at=NOW - timedelta(hours=1))
        assert advised() == ["Webhooks come that none of STRIP"]
        signed(SECRET, NOW)
        assert advised() == []

    def test_says_which_secret_may_go(self):
        signed(OLD, NOW - timedelta(days=2))
        signed(SECRET, NOW)
        assert advised() == ["Secret 2 signs no longer. Take i"]

    def test_says_that_events_wait(self):
        signed(SECRET, NOW)
        StripeEvent.objects.create(
            event_id="evt_1", type="refund.created", livemode=True, created_at=NOW,
            received_at=NOW - timedelta(minutes=11), status="failed", next_try_at=NOW,
        )  # fmt: skip
        (words,) = advice(connection_at(NOW), NOW)
        assert words.startswith("An event waits since ")


class TestAreWebhooksMissing:
    def test_when_events_were_found_and_no_webhook_came_since(self):
        assert not are_webhooks_missing(NOW)
        signed(SECRET, NOW - timedelta(hours=3))
        assert not are_webhooks_missing(NOW)
        missed(NOW - timedelta(hours=1))
        assert are_webhooks_missing(NOW)
        assert advised() == ["Stripe had events for us, and no"]

    def test_not_once_one_came_again_or_after_a_day(self):
        missed(NOW - timedelta(hours=1))
        assert are_webhooks_missing(NOW)
        assert not are_webhooks_missing(NOW + timedelta(days=2))
        signed(OLD, NOW)
        assert not are_webhooks_missing(NOW)

    def test_is_on_the_start_page_of_who_can_see_to_it(self):
        missed(timezone.now() - timedelta(hours=1))
        for group, is_told in [("Admin", True), ("Finance", True), ("Support", False)]:
            page = as_role(group).get(reverse("admin:index")).text
            assert ("no webhook brings them" in page) == is_told


class TestPage:
    def test_shows_how_it_stands(self, monkeypatch):
        signed(SECRET, NOW)
        webhooks.note_refused("The signature is not of now.", at=NOW)
        page = as_role("Finance").get(PAGE).text
        assert "live: real money" in page
        assert "acct_ours" in page
        assert "https://credits.example.com/stripe/webhook" in page
        assert "fits; signed last at" in page
        assert "has signed none yet" in page
        assert "The signature is not of now." in page
        assert "All is well" in page
        assert SECRET not in page

    def test_is_in_the_menu_of_who_may_see_it(self):
        assert PAGE in as_role("Auditor").get(reverse("admin:index")).text
        support = as_role("Support")
        assert PAGE not in support.get(reverse("admin:index")).text
        assert support.get(PAGE).status_code == 403


class TestAProxy:
    def test_is_not_asked_for_a_local_stripe(self, sandbox, monkeypatch):
        monkeypatch.undo()
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy"]:
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ["no_proxy", "NO_PROXY"]:
            monkeypatch.delenv(name, raising=False)
        assert gateway.account_id().startswith("acct_")
