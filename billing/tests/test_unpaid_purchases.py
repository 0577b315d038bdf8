"""Purchases that nobody pays, at the local Stripe: they end, and what was reserved is free."""

from datetime import datetime, timedelta
from threading import Event
from typing import Any

import pytest
from django.utils import timezone

from billing import gateway
from billing.models import Payment, Redemption
from billing.services import purchases
from billing.services.purchases import Wanted
from billing.services.settlement import settle_payment
from billing.tests.payments import opened
from billing.tests.sale import promotion
from billing.tests.stripe import Sandbox, sdk, visit
from creditsite.testing.races import race
from ledger.models import Grant, Wallet
from ledger.tests.factories import CustomerFactory

pytestmark = pytest.mark.django_db
URLS = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/back"}
DAY = timedelta(days=1)


def begun(**wanted: Any) -> Payment:
    user: Any = CustomerFactory()
    return purchases.open_purchase(
        user=user,
        wanted=Wanted(amount=100, **wanted),
        caller=f"user:{user.pk}",
        at=timezone.now(),
    ).payment


def on_a_page(**wanted: Any) -> tuple[Payment, str]:
    payment = begun(**wanted)
    session = purchases.page_to_pay(payment=payment, at=timezone.now(), **URLS)
    assert session
    assert session.url
    return payment, session.url


def by_intent(**wanted: Any) -> Payment:
    payment = begun(**wanted)
    assert purchases.intent_to_confirm(payment=payment, at=timezone.now())
    payment.refresh_from_db()
    return payment


def confirm(payment: Payment, card: str = "pm_card_visa") -> None:
    given = {"payment_method": card, "return_url": "https://example.com/"}
    sdk().payment_intents.confirm(payment.intent_id, given)


def a_day_later() -> datetime:
    return timezone.now() + DAY


def end_unpaid() -> int:
    return purchases.end_unpaid(clock=a_day_later)


def status_of(payment: Payment) -> str:
    payment.refresh_from_db()
    return payment.status


class TestEndUnpaid:
    def test_ends_a_page_that_nobody_paid(self, sandbox):
        promotion(starts_at=timezone.now(), limit_total=1)
        payment, url = on_a_page(promotion_code="SPRING")
        assert end_unpaid() == 1
        assert status_of(payment) == "ended"
        assert Redemption.objects.get().status == "released"
        assert visit(url, card_number="4242424242424242")[0] >= 400
        begun(promotion_code="SPRING")

    def test_ends_an_intent_that_nobody_confirmed(self, sandbox):
        payment = by_intent()
        assert end_unpaid() == 1
        assert status_of(payment) == "ended"
        assert gateway.retrieve_payment_intent(str(payment.intent_id)).status == "canceled"

    def test_ends_what_never_came_to_stripe(self, sandbox):
        payment = begun()
        assert end_unpaid() == 1
        assert status_of(payment) == "ended"

    def test_leaves_what_is_younger_and_what_is_no_purchase(self, sandbox):
        payment, other = begun(), opened()
        assert purchases.end_unpaid(clock=lambda: timezone.now() + DAY - timedelta(hours=1)) == 0
        assert end_unpaid() == 1
        assert (status_of(payment), status_of(other)) == ("ended", "open")

    def test_credits_what_was_paid_and_no_webhook_told(self, sandbox):
        payment, url = on_a_page()
        visit(url, card_number="4242424242424242")
        intent = by_intent()
        confirm(intent)
        assert end_unpaid() == 0
        assert (status_of(payment), status_of(intent)) == ("credited", "credited")

    def test_leaves_what_is_under_way_at_the_bank(self, sandbox):
        payment, url = on_a_page()
        visit(url, card_number="4000000000000606")
        assert end_unpaid() == 0
        assert status_of(payment) == "open"
        made = gateway.retrieve_checkout(Payment.objects.get().session_id).payment_intent
        sandbox.order(f"payment_intents/{made}", outcome="succeeded")
        settle_payment(str(made))
        assert status_of(payment) == "credited"

    def test_that_is_paid_after_all_counts_with_its_promotion(self, sandbox):
        promotion("bonus", starts_at=timezone.now(), limit_total=1)
        payment = by_intent(promotion_code="SPRING")
        # Ended here alone, as by somebody who did not hear that Stripe took it.
        purchases.end_payment(payment, at=timezone.now())
        assert Redemption.objects.get().status == "released"
        confirm(payment)
        settle_payment(str(payment.intent_id))
        assert status_of(payment) == "credited"
        wallet = Wallet.objects.get(pk=payment.wallet_id)
        assert (wallet.purchase, wallet.award) == (100, 50)

    def test_of_what_was_credited_meanwhile_is_none(self, sandbox):
        payment = by_intent()
        confirm(payment)
        settle_payment(str(payment.intent_id))
        purchases.end_payment(payment, at=timezone.now())  # As it was read before.
        assert status_of(payment) == "credited"

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(
        ("begin", "path"),
        [
            (lambda: on_a_page()[0], "/v1/checkout/sessions/*/expire"),
            (by_intent, "/v1/payment_intents/*/cancel"),
        ],
    )
    def test_goes_on_after_stripe_did_not_answer(self, sandbox, begin, path, when):
        payment = begin()
        sandbox.fail_next(path, method="POST", effect="disconnect", when=when)
        with pytest.raises(gateway.PaymentsUnavailable):
            end_unpaid()
        assert status_of(payment) == "open"
        assert end_unpaid() == 1
        assert status_of(payment) == "ended"

    def test_is_not_kept_from_one_by_another_that_stripe_does_not_know(self, sandbox):
        unknown, payment = on_a_page()[0], on_a_page()[0]
        Payment.objects.filter(pk=unknown.pk).update(session_id="cs_of_another_account")
        assert end_unpaid() == 1
        assert (status_of(unknown), status_of(payment)) == ("open", "ended")


def test_of_two_pages_begun_at_once_both_are_led_to_the_one_that_is_kept(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment, begin = begun(), gateway.create_payment_checkout
    pages: list[Any] = []

    def meanwhile(**given: Any) -> Any:
        monkeypatch.setattr(gateway, "create_payment_checkout", begin)
        again = Payment.objects.get(pk=payment.pk)
        later = timezone.now() + timedelta(minutes=31)
        answer = begin(**given)
        pages.append(purchases.page_to_pay(payment=again, at=later, **URLS))
        return answer

    monkeypatch.setattr(gateway, "create_payment_checkout", meanwhile)
    pages.append(purchases.page_to_pay(payment=payment, at=timezone.now(), **URLS))
    assert len(sandbox.objects("checkout.session")) == 2
    assert pages[0].id == pages[1].id == Payment.objects.get().session_id


def settled(payment: Payment) -> None:
    session = gateway.retrieve_checkout(str(Payment.objects.get(pk=payment.pk).session_id))
    if session.payment_intent:
        settle_payment(session.payment_intent)


@pytest.mark.parametrize("turn", range(4))
def test_paying_at_the_instant_of_the_end_is_right_either_way(
    ledger_db: Any, sandbox: Sandbox, turn: int
) -> None:
    """Whoever is first at Stripe: it is credited once, or it has ended and cost nothing."""
    promotion("bonus", starts_at=timezone.now(), limit_total=1)
    payment, url = on_a_page(promotion_code="SPRING")
    race(
        end_unpaid,
        lambda: visit(url, card_number="4242424242424242"),
        lambda: settled(payment),
        end_unpaid,
    )
    settled(payment)
    end_unpaid()
    charged = sum(each["amount_received"] for each in sandbox.objects("payment_intent"))
    wallet = Wallet.objects.get(pk=payment.wallet_id)
    told = status_of(payment), Grant.objects.count(), wallet.purchase, wallet.award
    if charged:
        assert charged == 1_000
        assert (told, Redemption.objects.get().status) == (("credited", 2, 100, 50), "redeemed")
    else:
        assert (told, Redemption.objects.get().status) == (("ended", 0, 0, 0), "released")


def test_one_key_opens_one_purchase(
    ledger_db: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion(starts_at=timezone.now(), limit_total=1)
    user: Any = CustomerFactory()
    quoted, is_opened, quote = [], Event(), purchases.quote_purchase

    def quote_late(**asked: Any) -> Any:
        """Quote for the second only when the first has taken the promotion's one use."""
        quoted.append(1)
        if len(quoted) > 1:
            is_opened.wait(5)
        return quote(**asked)

    monkeypatch.setattr(purchases, "quote_purchase", quote_late)

    def buy() -> None:
        payment = purchases.open_purchase(
            user=user,
            wanted=Wanted(amount=100, promotion_code="SPRING"),
            caller=f"user:{user.pk}",
            idempotency_key="k",
            at=timezone.now(),
        ).payment
        is_opened.set()
        purchases.page_to_pay(payment=payment, at=payment.created_at, **URLS)

    outcomes = race(*[buy] * 6)
    assert set(outcomes) <= {"NoneType", "PaymentsUnavailable"}
    assert "NoneType" in outcomes
    assert Payment.objects.count() == Redemption.objects.count() == 1
    assert len(sandbox.objects("checkout.session")) == len(sandbox.objects("customer")) == 1
