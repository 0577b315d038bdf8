"""Many at one instant: one effect."""

import time
from typing import Any

from billing.models import Payment, Refund
from billing.services import refunds
from billing.services.settlement import begin_to_read
from billing.tests.payments import FakeStripe, ask_refund, bought, opened, settle
from creditsite.testing.races import race
from ledger.models import Grant, Wallet
from ledger.tests.factories import AT


def test_a_payment_is_credited_once(ledger_db: Any, fake_stripe: FakeStripe):
    intent = fake_stripe.paid(opened())
    outcomes = race(*[lambda: settle(intent)] * 6)
    assert set(outcomes) <= {"Payment", "PaymentBusy"}
    assert Grant.objects.get().amount == 100


def test_a_stranger_is_kept_once(ledger_db: Any, fake_stripe: FakeStripe):
    intent = fake_stripe.paid()
    fake_stripe.before_answer = lambda: time.sleep(0.03)
    assert set(race(*[lambda: settle(intent)] * 6)) <= {"Payment", "PaymentBusy"}
    assert Payment.objects.get().status == "suspended"


def test_each_reader_has_a_turn_of_their_own(ledger_db: Any, fake_stripe: FakeStripe):
    payment, turns = bought(fake_stripe), []

    def begin() -> None:
        for _ in range(10):
            begun = begin_to_read(payment.intent_id or "")
            assert begun is not None
            turns.append(begun.reads)

    race(*[begin] * 6)
    assert len(turns) == len(set(turns)) == 60


def test_one_refund_is_on_its_way(ledger_db: Any, fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    acts = [lambda n=n: ask_refund(payment, 600, key=f"k{n}") for n in range(6)]
    assert sorted(race(*acts)) == ["Refund"] + ["RefundWaiting"] * 5


def test_one_key_asks_for_one_refund(ledger_db: Any, fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    assert race(*[lambda: ask_refund(payment, 600)] * 6) == ["Refund"] * 6
    assert Refund.objects.count() == 1


def test_workers_send_a_refund_once(ledger_db: Any, fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    ask_refund(payment, 600)
    fake_stripe.before_answer = lambda: time.sleep(0.03)
    race(*[lambda: refunds.send_refunds(clock=lambda: AT)] * 6)
    assert len(fake_stripe.refunds) == 1
    assert Wallet.objects.get(pk=payment.wallet_id).purchase == 40
