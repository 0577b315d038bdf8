"""Payments from end to end, at the local Stripe: its pages, its webhooks, its faults."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing import gateway
from billing.models import Payment, Refund, ReviewItem, StripeCustomer, StripeEvent
from billing.services import inbox, payments, refunds
from billing.tests.payments import ask_refund, books_of
from billing.tests.stripe import Sandbox, WebhookDoor, sdk, visit
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.books import spend
from ledger.tests.factories import CustomerFactory

pytestmark = pytest.mark.django_db
PAID = "4242 4242 4242 4242"
URLS = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/back"}


def begun(key: str = "k", **more: Any) -> Payment:
    user = more.pop("user", None) or CustomerFactory()
    return payments.open_payment(
        user=user,
        wallet=wallet_of(user),
        credits=100,
        net_minor=1_000,
        currency="usd",
        description="100 credits",
        caller=f"user:{user.pk}",
        idempotency_key=key,
        at=timezone.now(),
        **more,
    )


def checked_out(card: str = PAID, *, tax: bool = False, **more: Any) -> Payment:
    payment = begun(**more)
    session = payments.start_checkout(
        payment=payment, calculates_tax=tax, at=timezone.now(), **URLS
    )
    assert visit(session.url, card_number=card)[0] == 303
    return payment


def hear(door: WebhookDoor) -> None:
    """Take in what came to the door so far, and handle it."""
    received, door.received[:] = list(door.received), []
    for body, signature in received:
        inbox.receive_event(body, signature, at=timezone.now())
    inbox.handle_events()


def wait(sandbox: Sandbox, door: WebhookDoor, before: int) -> None:
    door.wait_for(len(sandbox.events()) - before)


def now_of(payment: Payment) -> Payment:
    return Payment.objects.get(pk=payment.pk)


class TestCheckout:
    def test_gives_the_credits(self, sandbox, door):
        payment = checked_out()
        wait(sandbox, door, 0)
        hear(door)
        settled = now_of(payment)
        assert (settled.status, settled.charged_minor) == ("credited", 1_000)
        assert Wallet.objects.get(user=payment.user).purchase == 100
        assert not ReviewItem.objects.exists()
        assert set(StripeEvent.objects.values_list("status", flat=True)) == {"done", "ignored"}

    def test_keeps_tax_out_of_the_books_and_sends_it_back_with_a_refund(self, sandbox, door):
        sandbox.order("settings", tax_percent=15)
        payment = checked_out(tax=True)
        wait(sandbox, door, 0)
        hear(door)
        settled = now_of(payment)
        assert (settled.charged_minor, settled.tax_minor) == (1_150, 150)
        assert settled.grant
        assert settled.grant.paid_minor == 1_000
        ask_refund(settled, 575)
        refunds.send_refunds()
        settled = now_of(payment)
        assert (settled.grant.returned_minor, settled.grant.remaining) == (500, 50)

    def test_is_the_same_page_when_it_is_begun_again(self, sandbox):
        payment = begun()
        urls = {
            payments.start_checkout(
                payment=payment, calculates_tax=False, at=timezone.now(), **URLS
            ).url
            for _ in range(2)
        }
        assert len(urls) == 1
        assert StripeCustomer.objects.count() == 1

    def test_that_expires_ends_the_payment(self, sandbox, door):
        payment = begun()
        payments.start_checkout(payment=payment, calculates_tax=False, at=timezone.now(), **URLS)
        sandbox.order("clock", seconds=86_401)
        wait(sandbox, door, 0)
        for event in gateway.list_events(timezone.now() - timedelta(days=1)):
            inbox.keep_events([event], timezone.now())
        inbox.handle_events()
        assert now_of(payment).status == "ended"

    def test_that_a_browser_confirms_by_its_intent(self, sandbox, door):
        payment = begun()
        intent = payments.start_intent(payment=payment, at=timezone.now())
        sdk().payment_intents.confirm(
            intent.id, {"payment_method": "pm_card_visa", "return_url": "https://example.com/"}
        )
        wait(sandbox, door, 0)
        hear(door)
        assert now_of(payment).status == "credited"

    def test_whose_webhooks_are_lost_is_found(self, sandbox, door):
        sandbox.order("events/rules", effect="lose")
        payment = checked_out()
        long_after = timezone.now() + timedelta(hours=1)
        since = timezone.now() - timedelta(hours=1)
        assert inbox.find_missed_events(since=since, at=long_after) > 0
        assert inbox.find_missed_events(since=since, at=long_after) == 0
        inbox.handle_events(clock=lambda: long_after)
        assert now_of(payment).status == "credited"
        assert all(StripeEvent.objects.values_list("was_missed", flat=True))


class TestRefundsAtStripe:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("effect", ["timeout", "disconnect", "error"])
    def test_that_were_not_answered_are_made_once(self, sandbox, door, monkeypatch, effect, when):
        payment = checked_out()
        wait(sandbox, door, 0)
        hear(door)
        ask_refund(now_of(payment), 400)
        more = {"seconds": 0.5} if effect == "timeout" else {}
        sandbox.fail_next("/v1/refunds", method="POST", effect=effect, when=when, **more)
        with monkeypatch.context() as impatient:
            impatient.setattr(gateway, "READ_SECONDS", 0.3 if more else 10)
            gateway.client_for.cache_clear()
            refunds.send_refunds()
        gateway.client_for.cache_clear()
        assert Refund.objects.get().status == "waiting"
        assert now_of(payment).returned_minor == 0
        later = timezone.now() + timedelta(hours=1)
        refunds.send_refunds(clock=lambda: later)
        assert Refund.objects.get().status == "succeeded"
        assert len(sandbox.objects("refund")) == 1
        assert (now_of(payment).returned_minor, now_of(payment).grant.remaining) == (400, 60)

    def test_of_which_only_the_webhook_tells(self, sandbox, door):
        payment = checked_out()
        wait(sandbox, door, 0)
        hear(door)
        told = len(sandbox.events())
        ask_refund(now_of(payment), 400)
        sandbox.fail_next("/v1/refunds", method="POST", effect="disconnect", when="after")
        refunds.send_refunds()
        wait(sandbox, door, told)
        hear(door)
        assert Refund.objects.get().status == "succeeded"

    def test_made_in_the_dashboard_open_a_debt_for_what_is_spent(self, sandbox, door):
        payment = checked_out()
        wait(sandbox, door, 0)
        hear(door)
        spend(payment.wallet_id, 80, timezone.now())
        told = len(sandbox.events())
        sdk().refunds.create({"payment_intent": now_of(payment).intent_id, "amount": 500})
        wait(sandbox, door, told)
        hear(door)
        wallet = Wallet.objects.get(pk=payment.wallet_id)
        assert (wallet.purchase, wallet.debt) == (0, 30)
        assert ReviewItem.objects.get().kind == "debt"


class TestAnyOrderAtStripe:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("outcome", ["won", "lost"])
    def test_ends_the_same(self, sandbox, door, seed, outcome):
        sandbox.order("events/hold")
        sandbox.order("events/rules", effect="duplicate", copies=1)
        payment = checked_out()
        intent = gateway.retrieve_checkout(now_of(payment).session_id).payment_intent
        sdk().refunds.create({"payment_intent": intent, "amount": 250})
        dispute = sandbox.order("disputes", payment_intent=intent, amount=750)
        sandbox.order(f"disputes/{dispute['id']}", outcome=outcome)
        sandbox.order("events/release", order="shuffled", seed=seed)
        hear_all(sandbox, door)
        left = 75 if outcome == "won" else 0
        assert books_of(payment)["grants"] == [
            ("purchase", 100, left, 100 - left, 1_000 - 10 * left, False)
        ]
        assert books_of(payment)["money"] == {"deferred": 10 * left, "recognised": 0}


def hear_all(sandbox: Sandbox, door: WebhookDoor) -> None:
    deadline = time.monotonic() + 5
    while len(set(door.ids())) < len(sandbox.events()) and time.monotonic() < deadline:
        time.sleep(0.005)
    hear(door)
