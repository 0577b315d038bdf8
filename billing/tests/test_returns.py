"""Refunds and chargebacks take back what they should, in whatever order one hears of them."""

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any

import pytest

from billing.models import Payment, ReviewItem
from billing.services import inbox
from billing.services.returns import parts
from billing.services.reviews import write_off_debt
from billing.tests.payments import (
    FakeStripe,
    bonus_of,
    books_of,
    bought,
    clock,
    money,
    opened,
    settle,
    told,
)
from billing.tests.sale import promotion, quoted, reserved
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.tests.books import hold, kinds_of, reverse, spend
from ledger.tests.books import settle as end_hold
from ledger.tests.factories import AT, DAY, CustomerFactory

# Of the 720 orders of six events the suite takes some; all with PAYMENT_ORDERS=whole.
ORDERS = list(permutations(range(6)))
if not os.environ.get("PAYMENT_ORDERS"):
    ORDERS = Random(5).sample(ORDERS, 12)


def grant_of(payment: Payment) -> Grant:
    return Grant.objects.get(payment=payment)


def wallet_of(payment: Payment) -> Wallet:
    return Wallet.objects.get(pk=payment.wallet_id)


def kinds() -> list[str]:
    return list(ReviewItem.objects.order_by("pk").values_list("kind", flat=True))


@pytest.mark.django_db
class TestTheWorkedMoneyTable:
    """DESIGN 4, step by step, through the services, in USD cents and credits."""

    @pytest.fixture
    def lost(self, fake_stripe: FakeStripe) -> Payment:
        a = bought(fake_stripe)
        wallet = wallet_of(a)
        assert money(wallet) == {"deferred": 1_000, "recognised": 0}
        spend(wallet.pk, 80, AT)
        assert money(wallet) == {"deferred": 200, "recognised": 800}

        fake_stripe.refund(a.intent_id, 500)
        settle(a.intent_id)
        assert kinds_of(wallet.pk)[-1] == ("clawback", -20)
        assert (wallet_of(a).purchase, wallet_of(a).debt) == (0, 30)
        assert money(wallet) == {"deferred": 0, "recognised": 500}
        assert kinds() == ["debt"]

        dispute = fake_stripe.dispute(a.intent_id, 500)
        settle(a.intent_id)
        assert grant_of(a).is_frozen
        fake_stripe.decide(dispute, "lost")
        settle(a.intent_id)
        assert wallet_of(a).debt == 80
        assert money(wallet) == {"deferred": 0, "recognised": 0}
        assert "80 credits are owed" in ReviewItem.objects.get(kind="debt").summary
        a.refresh_from_db()
        return a

    def test_the_next_purchase_repays_it(self, fake_stripe: FakeStripe, lost: Payment):
        b = bought(fake_stripe, user=lost.user)
        wallet = wallet_of(lost)
        assert kinds_of(wallet.pk)[-2:] == [("purchase", 100), ("debt_repayment", -80)]
        assert (grant_of(b).remaining, wallet.debt) == (20, 0)
        assert money(wallet) == {"deferred": 200, "recognised": 800}

    def test_or_finance_writes_it_off(self, lost: Payment):
        write_off_debt(
            wallet=wallet_of(lost),
            amount=80,
            reason="nobody pays",
            actor=None,
            caller="system",
            at=AT,
            idempotency_key="k",
        )
        assert kinds_of(lost.wallet_id)[-1] == ("write_off", 0)
        assert wallet_of(lost).debt == 0
        assert money(wallet_of(lost)) == {"deferred": 0, "recognised": 0}


@pytest.mark.django_db
class TestRefunds:
    def test_take_back_their_share_of_credits_and_money(self, fake_stripe: FakeStripe):
        payment = opened(credits=333, net_minor=1_000)
        Payment.objects.filter(pk=payment.pk).update(tax_minor=150)
        payment.refresh_from_db()
        settle(intent := fake_stripe.paid(payment))
        fake_stripe.refund(intent, 100)
        settle(intent)
        grant = grant_of(payment)
        assert (grant.clawback_target, grant.returned_minor) == (333 * 100 // 1_150, 86)
        fake_stripe.refund(intent, 1_050)
        settle(intent)
        grant = grant_of(payment)
        assert (grant.remaining, grant.returned_minor) == (0, 1_000)

    def test_many_small_ones_are_as_one(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe, credits=7)
        for _ in range(9):
            fake_stripe.refund(payment.intent_id, 111)
            settle(payment.intent_id)
        assert grant_of(payment).remaining == 7 - 7 * 999 // 1_000
        fake_stripe.refund(payment.intent_id, 1)
        settle(payment.intent_id)
        assert (grant_of(payment).remaining, wallet_of(payment).debt) == (0, 0)

    def test_one_that_fails_gives_all_back(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        before = books_of(payment)
        refund = fake_stripe.refund(payment.intent_id, 400)
        settle(payment.intent_id)
        assert grant_of(payment).remaining == 60
        fake_stripe.fail_refund(refund)
        settle(payment.intent_id)
        assert books_of(payment) == before
        assert kinds_of(payment.wallet_id)[-1] == ("reinstatement", 40)
        assert kinds() == ["refund_failed"]

    def test_one_that_fails_shrinks_the_debt_it_opened(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        spend(payment.wallet_id, 90, AT)
        refund = fake_stripe.refund(payment.intent_id, 500)
        settle(payment.intent_id)
        assert wallet_of(payment).debt == 40
        fake_stripe.fail_refund(refund)
        settle(payment.intent_id)
        assert (wallet_of(payment).purchase, wallet_of(payment).debt) == (10, 0)

    def test_take_other_paid_credits_before_they_open_a_debt(self, fake_stripe: FakeStripe):
        first = bought(fake_stripe)
        spend(first.wallet_id, 100, AT)
        bought(fake_stripe, user=first.user)
        fake_stripe.refund(first.intent_id, 1_000)
        settle(first.intent_id)
        assert (wallet_of(first).purchase, wallet_of(first).debt) == (0, 0)
        assert kinds_of(first.wallet_id)[-1] == ("debt_repayment", -100)
        assert kinds() == []

    def test_take_what_is_held_when_the_hold_ends(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        job = hold(payment.wallet_id, 60, AT, until=AT + DAY)
        fake_stripe.refund(payment.intent_id, 1_000)
        settle(payment.intent_id)
        assert (wallet_of(payment).purchase, wallet_of(payment).debt) == (60, 0)
        end_hold(job, 0, AT)
        assert (wallet_of(payment).purchase, wallet_of(payment).debt) == (0, 0)

    def test_take_the_bonus_with_them_and_its_shortfall_is_no_debt(self, fake_stripe: FakeStripe):
        payment = bought_with_bonus(fake_stripe)
        spend(payment.wallet_id, 40, AT)  # awards go first
        fake_stripe.refund(payment.intent_id, 1_000)
        settle(payment.intent_id)
        wallet = wallet_of(payment)
        assert (wallet.award, wallet.purchase, wallet.debt) == (0, 0, 0)
        assert bonus_of(payment).clawback_target == 50

    def test_of_a_payment_held_back_move_no_credits(self, fake_stripe: FakeStripe):
        settle(intent := fake_stripe.paid())
        fake_stripe.refund(intent, 1_000)
        settled = settle(intent)
        assert settled
        assert (settled.status, settled.returned_minor) == ("suspended", 1_000)
        assert not CreditTransaction.objects.exists()


@pytest.mark.django_db
class TestChargebacks:
    def test_freeze_what_is_left_and_thaw_it_when_won(self, fake_stripe: FakeStripe):
        payment = bought_with_bonus(fake_stripe)
        before = books_of(payment)
        dispute = fake_stripe.dispute(payment.intent_id, 1_000)
        settle(payment.intent_id)
        assert all(g.is_frozen for g in Grant.objects.filter(wallet=payment.wallet_id))
        assert kinds() == ["dispute"]
        fake_stripe.decide(dispute, "won")
        settle(payment.intent_id)
        assert books_of(payment) == before

    def test_stay_known_where_the_charge_forgets_them(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        dispute = fake_stripe.dispute(payment.intent_id, 1_000)
        quiet = replace(fake_stripe.intents[payment.intent_id], is_disputed=False)
        fake_stripe.intents[payment.intent_id] = quiet
        settle(payment.intent_id)
        assert not grant_of(payment).is_frozen
        told("charge.dispute.created", dispute, payment.intent_id)
        inbox.handle_events(clock=clock)
        settle(payment.intent_id)
        assert grant_of(payment).is_frozen

    def test_of_a_part_take_that_part_and_thaw_the_rest(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        dispute = fake_stripe.dispute(payment.intent_id, 300)
        settle(payment.intent_id)
        fake_stripe.decide(dispute, "lost")
        settle(payment.intent_id)
        grant = grant_of(payment)
        assert (grant.remaining, grant.is_frozen, grant.returned_minor) == (70, False, 300)

    def test_that_is_lost_and_won_after_all_gives_back_net(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        fake_stripe.refund(payment.intent_id, 200)
        dispute = fake_stripe.dispute(payment.intent_id, 800, "lost")
        settle(payment.intent_id)
        assert wallet_of(payment).purchase == 0
        fake_stripe.decide(dispute, "won")
        settle(payment.intent_id)
        assert wallet_of(payment).purchase == 80

    def test_over_what_was_refunded_take_no_more_than_was_paid(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        fake_stripe.refund(payment.intent_id, 700)
        fake_stripe.dispute(payment.intent_id, 1_000, "lost")
        settle(payment.intent_id)
        payment.refresh_from_db()
        assert payment.returned_minor == 1_000
        assert (wallet_of(payment).purchase, wallet_of(payment).debt) == (0, 0)

    def test_that_are_only_asked_about_freeze_nothing(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        dispute = fake_stripe.dispute(payment.intent_id, 1_000, "warning_needs_response")
        settle(payment.intent_id)
        assert not grant_of(payment).is_frozen
        assert kinds() == ["dispute"]
        fake_stripe.decide(dispute, "warning_closed")
        settle(payment.intent_id)
        assert list(payment.effects.order_by("pk").values_list("effect", flat=True)) == [
            "credited",
            "inquiry",
            "closed",
        ]

    def test_take_what_was_carried_over_from_an_expired_grant(self, fake_stripe: FakeStripe):
        payment = bought_with_bonus(fake_stripe)
        usage = spend(payment.wallet_id, 50, AT)
        after = AT + 31 * DAY
        reverse(usage, at=after)
        lot = Grant.objects.filter(wallet=payment.wallet_id, credit_type="award")
        assert sorted(lot.values_list("remaining", flat=True)) == [0, 50]
        fake_stripe.refund(payment.intent_id, 600)
        settle(payment.intent_id, after)
        assert sorted(lot.values_list("remaining", flat=True)) == [0, 20]
        fake_stripe.dispute(payment.intent_id, 400)
        settle(payment.intent_id, after)
        assert lot.get(remaining=20).is_frozen


class TestParts:
    @pytest.mark.parametrize(
        ("total", "shares", "found"),
        [
            (50, [(0, 100)], [50]),
            (50, [(0, 30), (0, 70)], [30, 20]),
            (60, [(30, 30), (20, 70)], [30, 30]),
            (40, [(30, 30), (20, 70)], [30, 10]),
            (10, [(30, 30), (20, 70)], [10, 0]),
            (0, [(0, 0), (0, 0)], [0, 0]),
        ],
    )
    def test_moves_the_difference_alone(self, total, shares, found):
        assert parts(total, shares) == found


def bought_with_bonus(stripe: FakeStripe) -> Payment:
    user = CustomerFactory()
    quote = replace(quoted(), bonus_credits=50)
    use = reserved(promotion("bonus", expiry_days=30), user, quote=quote)
    return bought(stripe, user=user, redemption=use)


# --- Whatever the order ---------------------------------------------------------------------------
class History:
    """Six things that happen to a payment at Stripe, one after the other, and the event of each."""

    def __init__(self, stripe: FakeStripe, payment: Payment) -> None:
        self.stripe, self.happened = stripe, 0
        self.intent = stripe.paid(payment, amount_minor=0)
        self.whole = payment.net_minor
        self.objects: dict[str, str] = {}

    def steps(self) -> list[tuple[str, str, Callable[[], Any]]]:
        """Return the type of each event, what it is about, and what happens."""
        stripe, intent, made = self.stripe, self.intent, self.objects
        return [
            ("payment_intent.succeeded", "pi", self.pay),
            ("refund.created", "re1", lambda: made.update(re1=stripe.refund(intent, 300))),
            ("refund.failed", "re1", lambda: stripe.fail_refund(made["re1"])),
            ("charge.refunded", "re2", lambda: made.update(re2=stripe.refund(intent, 250))),
            ("charge.dispute.created", "du", lambda: made.update(du=stripe.dispute(intent, 750))),
            ("charge.dispute.closed", "du", lambda: stripe.decide(made["du"], "lost")),
        ]

    def pay(self) -> None:
        paid = replace(
            self.stripe.intents[self.intent], amount_minor=self.whole, received_minor=self.whole
        )
        self.stripe.intents[self.intent] = paid
        self.objects["pi"] = self.intent

    def until(self, number: int) -> None:
        """Let all happen that happened before the event of that number was sent."""
        for _, _, happens in self.steps()[self.happened : number + 1]:
            happens()
            self.happened += 1

    def tell(self, number: int) -> None:
        type, about, _ = self.steps()[number]
        told(type, self.objects[about], "" if about == "pi" else self.intent)


def final_books(stripe: FakeStripe, order: tuple[int, ...], copies: int = 2) -> Any:
    history = History(stripe, payment := opened())
    for number in order:
        history.until(number)
        for _ in range(copies):
            history.tell(number)
        inbox.handle_events(clock=clock)
    return books_of(payment)


@pytest.mark.django_db
class TestTheOrderOfEvents:
    @pytest.fixture
    def expected(self, fake_stripe: FakeStripe) -> Any:
        books = final_books(fake_stripe, (0, 1, 2, 3, 4, 5), copies=1)
        assert books == {
            "payment": ["credited", 1_000, 250, 750, 1_000, False],
            "grants": [("purchase", 100, 0, 100, 1_000, False)],
            "wallet": [0, 0, 0],
            "money": {"deferred": 0, "recognised": 0},
        }
        return books

    def test_changes_nothing(self, fake_stripe: FakeStripe, expected: Any):
        different = [o for o in ORDERS if final_books(fake_stripe, o) != expected]
        assert different == []

    def test_nor_when_they_come_after_all_has_happened(
        self, fake_stripe: FakeStripe, expected: Any
    ):
        for order in ORDERS[:5]:
            history = History(fake_stripe, payment := opened())
            history.until(5)
            for number in order:
                history.tell(number)
            inbox.handle_events(clock=clock)
            assert books_of(payment) == expected
