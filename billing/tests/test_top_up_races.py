"""Many spends and many workers at one instant: one charge."""

import time
from typing import Any

import pytest
from django.db import IntegrityError

from billing.models import Payment, TopUp
from billing.services import top_up_charges
from billing.tests.top_ups import FakeCards, agreed, look, low, purchased, statuses, use
from creditsite.testing.races import race
from ledger.tests.factories import AT, HOUR


def test_ten_spends_and_four_workers_make_one_charge(ledger_db: Any, fake_cards: FakeCards):
    auto = agreed(left=110)
    fake_cards.before_answer = lambda: time.sleep(0.03)

    def work() -> None:
        for _ in range(5):
            look()

    race(*[lambda: use(auto, 2)] * 10, *[work] * 4)
    look()
    assert statuses(auto) == ["paid"]
    assert (len(fake_cards.intents), purchased(auto)) == (1, 500)


def test_who_all_see_that_it_is_due_begin_it_once(ledger_db: Any, fake_cards: FakeCards):
    auto = low()
    began = race(*[lambda: top_up_charges.begin(auto.pk, at=AT)] * 8)
    assert sorted(began) == ["NoneType"] * 7 + ["TopUp"]
    assert (TopUp.objects.count(), Payment.objects.count()) == (1, 1)


def test_who_all_find_one_waiting_charge_it_once(ledger_db: Any, fake_cards: FakeCards):
    auto = low()
    top_up_charges.begin(auto.pk, at=AT)
    fake_cards.before_answer = lambda: time.sleep(0.03)
    race(*[lambda: look(AT + HOUR)] * 6)
    assert statuses(auto) == ["paid"]
    assert (len(fake_cards.charges), purchased(auto)) == (1, 500)


@pytest.mark.django_db
def test_the_database_knows_one_at_a_time(fake_cards: FakeCards):
    auto = low()
    first = top_up_charges.begin(auto.pk, at=AT)
    assert first is not None
    payment = Payment.objects.get()
    payment.pk, payment.key, payment.public_id = None, None, "0" * 32
    payment.save()
    with pytest.raises(IntegrityError, match="billing_topup_one_at_a_time"):
        TopUp.objects.create(
            auto_top_up=auto,
            number=2,
            payment=payment,
            credits=500,
            available=90,
            card_id="pm_1",
            began_at=AT,
            next_try_at=AT,
        )
