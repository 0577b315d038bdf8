"""Auto top-ups from end to end, at the local Stripe: its pages, its cards, its faults."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import User
from billing import gateway
from billing.errors import CardNeeded, NoTopUpWaits
from billing.models import AutoTopUp, Payment, TopUp
from billing.services import top_up_charges
from billing.services.top_up_own import pay_top_up
from billing.services.top_ups import agree, save_card
from billing.tests.stripe import Sandbox, WebhookDoor, visit
from billing.tests.test_payments_at_stripe import hear, wait
from billing.tests.top_ups import customer, is_off, now_of, purchased, statuses
from ledger.tests.factories import wallet_with_credits

pytestmark = pytest.mark.django_db
PAID = "4242 4242 4242 4242"
HOME = "https://example.com/billing/auto-top-up/?card=1"
MINUTE = timedelta(minutes=1)


def agree_now(user: User) -> AutoTopUp:
    return agree(
        user=user,
        threshold=100,
        amount=500,
        monthly_limit=2_000,
        actor=user,
        return_url=HOME,
        at=timezone.now(),
    )


def with_card(number: str = PAID, left: int = 90) -> AutoTopUp:
    """Return what somebody agreed to after they saved this card on Stripe's page."""
    user = customer()
    wallet_with_credits(user, award=left, at=timezone.now())
    with pytest.raises(CardNeeded) as needed:
        agree_now(user)
    assert visit(needed.value.checkout_url, card_number=number)[0] == 303
    return agree_now(user)


def look(later: timedelta = timedelta(0)) -> None:
    top_up_charges.top_up(clock=lambda: timezone.now() + later)


def paid_intents(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [i for i in sandbox.objects("payment_intent") if i["status"] == "succeeded"]


class TestSavingACard:
    def test_is_asked_for_on_the_same_page_until_it_is_done(self, sandbox):
        user = customer()
        urls = set()
        for _ in range(2):
            with pytest.raises(CardNeeded) as needed:
                agree_now(user)
            urls.add(needed.value.checkout_url)
        assert len(urls) == 1
        assert not AutoTopUp.objects.get().is_enabled
        assert visit(urls.pop(), card_number=PAID)[2] == HOME
        auto = agree_now(user)
        assert auto.is_enabled
        assert (auto.card, auto.card_expires) == ("Visa ending in 4242", "2040-12")

    def test_is_heard_of_by_webhook(self, sandbox, door: WebhookDoor):
        user = customer()
        visit(save_card(user=user, return_url=HOME, at=timezone.now()), card_number=PAID)
        wait(sandbox, door, 0)
        hear(door)
        assert AutoTopUp.objects.get().card_last4 == "4242"

    def test_replaces_the_last_one(self, sandbox):
        auto = with_card("4000 0000 0000 0341")
        look()
        assert now_of(auto).paused_why == "declined"
        url = save_card(user=auto.user, return_url=HOME, at=timezone.now())
        visit(url, card_number=PAID)
        agree_now(auto.user)
        look()
        assert statuses(auto) == ["declined", "paid"]

    def test_that_is_of_another_customer_is_not_taken(self, sandbox):
        mine, theirs = with_card(), with_card("5555 5555 5555 4444")
        url = save_card(user=theirs.user, return_url=HOME, at=timezone.now())
        visit(url, card_number=PAID)
        session = now_of(theirs).card_session_id
        AutoTopUp.objects.filter(pk=theirs.pk).update(card_session_id=None)
        AutoTopUp.objects.filter(pk=mine.pk).update(card_session_id=session)
        before = mine.card_id
        agree_now(mine.user)
        assert (now_of(mine).card_id, now_of(mine).card_session_id) == (before, session)


class TestCharging:
    def test_gives_the_credits_once_whatever_webhooks_tell(self, sandbox, door: WebhookDoor):
        sandbox.order("events/rules", effect="duplicate", copies=1)
        auto = with_card()
        look()
        assert (statuses(auto), purchased(auto)) == (["paid"], 500)
        hear(door)
        look()
        assert (statuses(auto), purchased(auto)) == (["paid"], 500)
        assert [i["amount"] for i in paid_intents(sandbox)] == [5_000]

    @pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/payment_intents/*"])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("effect", ["timeout", "disconnect", "error", "kept"])
    def test_that_is_not_answered_is_made_once(
        self, sandbox, monkeypatch, effect: str, when: str, path: str
    ):
        auto = with_card()
        fault: dict[str, Any] = {"effect": effect, "when": when}
        if effect == "timeout":
            fault["seconds"] = 0.5
            monkeypatch.setattr(gateway, "READ_SECONDS", 0.3)
            gateway.client_for.cache_clear()
        if effect == "kept":
            fault |= {"effect": "error", "kept": True}
        sandbox.fail_next(path, **fault)
        look()
        assert statuses(auto) == ["charging"]
        monkeypatch.setattr(gateway, "READ_SECONDS", 10)
        gateway.client_for.cache_clear()
        for minutes in (5, 60, 24 * 60, 24 * 60 + 5):
            look(minutes * MINUTE)
        assert statuses(auto)[-1] == "paid"
        assert purchased(auto) == 500
        assert len(paid_intents(sandbox)) == 1

    def test_whose_worker_died_after_it_is_made_once(self, sandbox, monkeypatch):
        auto = with_card()

        class Killed(BaseException):
            pass

        def die(*args: object) -> None:
            raise Killed

        with monkeypatch.context() as short_life:
            short_life.setattr(top_up_charges, "conclude", die)
            with pytest.raises(Killed):
                look()
        assert len(paid_intents(sandbox)) == 1
        look()
        assert statuses(auto) == ["charging"]
        look(2 * MINUTE)
        assert (statuses(auto), purchased(auto)) == (["paid"], 500)
        assert len(paid_intents(sandbox)) == 1

    def test_of_which_only_the_webhook_tells_is_credited(self, sandbox, door: WebhookDoor):
        auto = with_card()
        sandbox.fail_next("/v1/payment_intents", effect="disconnect", when="after")
        look()
        wait(sandbox, door, 0)
        hear(door)
        assert purchased(auto) == 500
        look(5 * MINUTE)
        assert (statuses(auto), purchased(auto)) == (["paid"], 500)


class TestCards:
    def test_that_decline_charge_nothing(self, sandbox):
        auto = with_card("4000 0000 0000 0341")
        look()
        assert (statuses(auto), purchased(auto)) == (["declined"], 0)
        assert {i["status"] for i in sandbox.objects("payment_intent")} == {"canceled"}
        assert Payment.objects.get().status == "ended"

    @pytest.mark.parametrize(
        ("number", "why"), [("4000000000009987", "card"), ("4000000000000069", "card")]
    )
    def test_that_are_lost_or_expired_end_it(self, sandbox, number: str, why: str):
        auto = with_card()
        sandbox.order(f"payment_methods/{auto.card_id}", number=number)
        look()
        assert is_off(auto, why)
        with pytest.raises(CardNeeded):
            agree_now(auto.user)

    def test_that_want_authentication_until_set_up_are_charged(self, sandbox):
        auto = with_card("4000 0025 0000 3155")
        look()
        assert statuses(auto) == ["paid"]

    def test_that_want_it_each_time_wait_for_the_user_to_pay(self, sandbox, door: WebhookDoor):
        auto = with_card("4000 0027 6000 3184")
        look()
        assert now_of(auto).paused_why == "authentication"
        assert mail.outbox[-1].subject == "Your bank wants you to confirm a top-up"
        with pytest.raises(CardNeeded):
            agree_now(auto.user)
        first, second = (pay_url(auto.user) for _ in range(2))
        assert first == second
        visit(first, card_number=PAID)
        wait(sandbox, door, 0)
        hear(door)
        assert purchased(auto) == 500
        look()
        found = now_of(auto)
        assert (found.is_enabled, found.paused_why, found.card_last4) == (True, "", "4242")
        assert found.own_payment is None
        with pytest.raises(NoTopUpWaits):
            pay_url(auto.user)
        assert TopUp.objects.count() == 1

    def test_that_want_it_each_time_are_let_go_on_with_another_card(self, sandbox):
        auto = with_card("4000 0027 6000 3184")
        look()
        url = save_card(user=auto.user, return_url=HOME, at=timezone.now())
        visit(url, card_number=PAID)
        agree_now(auto.user)
        look()
        assert statuses(auto) == ["authentication", "paid"]

    def test_whose_payment_is_disputed_end_it(self, sandbox, door: WebhookDoor):
        auto = with_card("4000 0000 0000 0259")
        look()
        wait(sandbox, door, 0)
        hear(door)
        look()
        assert is_off(auto, "disputed")


def pay_url(user: User) -> str:
    return pay_top_up(user=user, success_url=HOME, cancel_url=HOME, at=timezone.now())
