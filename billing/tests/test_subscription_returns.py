"""What goes back of an invoice takes the months to come first, then the newest that were given."""

import os
from collections.abc import Callable
from itertools import permutations
from random import Random
from typing import Any

import pytest
from django.db import transaction

from billing.errors import NotRefundable
from billing.models import Payment, Refund, ReviewItem, Subscription
from billing.queries.payments import share, standing_of
from billing.queries.subscriptions import promised_of, unallotted_at
from billing.services import inbox, refunds
from billing.tests.payments import ask_refund, clock, money, told
from billing.tests.payments import settle as settle_payment
from billing.tests.subscriptions import (
    DAY,
    FakeBilling,
    begun,
    by_year,
    later,
    months,
    post,
    price,
    purse,
    settle,
)
from ledger.models import Grant, Wallet
from ledger.reports.revenue import build_deferred
from ledger.reports.shapes import Period
from ledger.tests.books import spend
from ledger.tests.factories import AT

# Of the 720 orders of six events the suite takes some; all with PAYMENT_ORDERS=whole.
ORDERS = list(permutations(range(6)))
if not os.environ.get("PAYMENT_ORDERS"):
    ORDERS = Random(5).sample(ORDERS, 6)


def yearly(stripe: FakeBilling, **more: Any) -> tuple[Subscription, Payment]:
    """Return the subscription and the payment of a year: 1,200 credits for 100.00, 100 given."""
    subscription = begun(stripe, by_year(price()), **more)
    return subscription, Payment.objects.get(subscription=subscription)


def back(stripe: FakeBilling, payment: Payment, amount_minor: int) -> str:
    refund = stripe.refund(str(payment.intent_id), amount_minor)
    settle_payment(str(payment.intent_id))
    return refund


@pytest.mark.django_db
class TestARefund:
    def test_takes_the_last_months_first(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        back(fake_billing, payment, 2_125)  # 255 of 1,200.
        assert [credits for _, credits, _ in months(subscription)] == [
            100, 100, 100, 100, 100, 100, 100, 100, 100, 45, 0, 0,
        ]  # fmt: skip
        assert purse(subscription).purchase == 100
        promised = promised_of(payment)
        assert (promised.void, promised.returned_minor) == (255, 2_125)
        assert post(later(AT, 24)) == 9
        assert purse(subscription).purchase == 945
        assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 10_000 - 2_125
        assert money(purse(subscription)) == {"deferred": 7_875, "recognised": 0}

    def test_of_more_takes_what_was_given_newest_first(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        post(later(AT, 2))
        back(fake_billing, payment, 9_000)
        given = Grant.objects.order_by("slice__number").values_list("remaining", flat=True)
        assert list(given) == [100, 20, 0]
        back(fake_billing, payment, 1_000)
        assert purse(subscription).purchase == 0
        assert money(purse(subscription)) == {"deferred": 0, "recognised": 0}
        assert promised_of(payment).open_minor == 0
        assert post(later(AT, 24)) == 0

    def test_of_what_was_spent_opens_a_debt(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        spend(purse(subscription).pk, 70, AT)
        back(fake_billing, payment, 10_000)
        assert (purse(subscription).purchase, purse(subscription).debt) == (0, 70)
        assert ReviewItem.objects.get().kind == "debt"

    def test_that_failed_gives_the_months_back(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        refund = back(fake_billing, payment, 9_500)
        assert purse(subscription).purchase == 60
        fake_billing.fail_refund(refund)
        settle_payment(str(payment.intent_id))
        assert purse(subscription).purchase == 100
        assert [credits for _, credits, _ in months(subscription)] == [100] * 12
        assert post(later(AT, 24)) == 11
        assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 10_000

    def test_that_failed_gives_back_what_was_left_out_of_a_month(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        refund = back(fake_billing, payment, 2_125)
        post(later(AT, 9))
        assert purse(subscription).purchase == 945
        fake_billing.fail_refund(refund)
        settle_payment(str(payment.intent_id), later(AT, 9))
        assert post(later(AT, 9)) == 1
        assert purse(subscription).purchase == 1_000
        post(later(AT, 24))
        assert purse(subscription).purchase == 1_200
        assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 10_000

    @pytest.mark.parametrize("steps", [1, 3, 7, 100])
    def test_in_many_small_ones_is_as_one(self, fake_billing: FakeBilling, steps: int):
        fake_billing.tax_percent = 15
        subscription = begun(fake_billing, by_year(price(amount_minor=1_999, credits=7)))
        payment = Payment.objects.get()
        post(later(AT, 3))
        charged, sent = payment.charged_minor, 0
        for step in range(1, steps + 1):
            amount = charged * step // steps - sent
            sent += amount
            back(fake_billing, payment, amount)
        assert purse(subscription).purchase == 0
        assert sum(Grant.objects.values_list("returned_minor", flat=True)) == (
            payment.net_minor - promised_of(payment).returned_minor
        )

    @pytest.mark.parametrize("amount", [100, 110, 1_100])
    def test_leaves_no_money_without_a_credit_that_carries_it(
        self, fake_billing: FakeBilling, amount: int
    ):
        fake_billing.tax_percent = 20
        subscription = begun(fake_billing, by_year(price(amount_minor=100, credits=1)))
        payment = Payment.objects.get()
        post(later(AT, 10))
        back(fake_billing, payment, amount)
        post(later(AT, 24))
        assert promised_of(payment).open_minor == 0
        assert sum(Grant.objects.values_list("paid_minor", flat=True)) <= payment.net_minor
        assert purse(subscription).purchase == 12 - 12 * amount // 1_200


@pytest.mark.django_db
class TestAChargeback:
    def test_holds_the_months_to_come(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        dispute = fake_billing.dispute(str(payment.intent_id), 10_000)
        settle_payment(str(payment.intent_id))
        assert Grant.objects.get().is_frozen
        assert post(later(AT, 3)) == 0
        fake_billing.decide(dispute, "won")
        settle_payment(str(payment.intent_id), later(AT, 3))
        assert not Grant.objects.get().is_frozen
        assert post(later(AT, 3)) == 3
        assert purse(subscription).purchase == 400

    def test_that_is_lost_ends_them(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        dispute = fake_billing.dispute(str(payment.intent_id), 10_000)
        fake_billing.decide(dispute, "lost")
        settle_payment(str(payment.intent_id))
        assert post(later(AT, 24)) == 0
        assert purse(subscription).purchase == 0
        fake_billing.decide(dispute, "won")
        settle_payment(str(payment.intent_id))
        assert post(later(AT, 24)) == 11
        assert purse(subscription).purchase == 1_200

    def test_of_one_invoice_leaves_others_alone(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        fake_billing.renew(str(subscription.subscription_id))
        settle(str(subscription.subscription_id), fake_billing.now)
        first = Payment.objects.order_by("pk")[0]
        fake_billing.dispute(str(first.intent_id), 1_000, "lost")
        settle_payment(str(first.intent_id), fake_billing.now)
        assert list(Grant.objects.order_by("pk").values_list("remaining", flat=True)) == [0, 100]


@pytest.mark.django_db
class TestStaff:
    def test_refund_what_is_left_and_to_come(self, fake_billing: FakeBilling):
        subscription, payment = yearly(fake_billing)
        spend(purse(subscription).pk, 60, AT)
        standing = standing_of(payment, AT)
        assert (standing.credits, standing.promised, standing.free) == (1_200, 1_100, 40)
        assert standing.refundable_minor == 10_000 * 1_140 // 1_200
        with pytest.raises(NotRefundable):
            ask_refund(payment, standing.refundable_minor + 1)
        ask_refund(payment, standing.refundable_minor)
        refunds.send_refunds(clock=clock)
        assert Refund.objects.get().status == "succeeded"
        assert (purse(subscription).purchase, purse(subscription).debt) == (0, 0)
        assert post(later(AT, 24)) == 0

    def test_read_what_is_paid_and_not_allotted(self, fake_billing: FakeBilling):
        _, payment = yearly(fake_billing)
        today = AT.date()
        assert unallotted_at(today, AT) == {"usd": 10_000 - 833}
        assert unallotted_at((AT - DAY).date(), AT) == {}
        report = build_deferred(Period(today, today), AT)
        assert next(iter(report.rows))[-3:] == (833, 9_167, 10_000)
        back(fake_billing, payment, 10_000)
        assert unallotted_at(today, AT) == {}


def books(payment: Payment) -> dict[str, Any]:
    payment = Payment.objects.get(pk=payment.pk)
    wallet = Wallet.objects.get(pk=payment.wallet_id)
    names = "amount", "remaining", "clawback_target", "paid_minor", "returned_minor", "is_frozen"
    return {
        "payment": [payment.status, payment.charged_minor, payment.returned_minor],
        "grants": list(Grant.objects.filter(wallet=wallet).order_by("pk").values_list(*names)),
        "months": list(payment.slices.order_by("pk").values_list("credits", "voided", "status")),
        "promised": promised_of(payment),
        "wallet": [wallet.purchase, wallet.debt],
        "money": money(wallet),
    }


@pytest.mark.django_db
@pytest.mark.parametrize("interval", ["month", "year"])
def test_the_order_of_six_events_of_an_invoice_changes_nothing(
    fake_billing: FakeBilling, interval: str
):
    """Paid, a refund, another that fails, a chargeback opened and lost; each told twice."""
    of = price(amount_minor=1_000, credits=101, interval=interval)

    def live(order: tuple[int, ...]) -> dict[str, Any]:
        id = fake_billing.subscribed(of)
        invoice = fake_billing.bill(id)
        intent = str(fake_billing.invoices[invoice].payment_intent)
        first, second = fake_billing.refund(intent, 333), fake_billing.refund(intent, 200)
        fake_billing.fail_refund(second)
        dispute = fake_billing.dispute(intent, 400)
        fake_billing.decide(dispute, "lost")
        tell: list[Callable[[], Any]] = [
            lambda: told("invoice.paid", invoice),
            lambda: told("customer.subscription.created", id),
            lambda: told("refund.created", first, intent),
            lambda: told("refund.failed", second, intent),
            lambda: told("charge.dispute.created", dispute, intent),
            lambda: told("charge.dispute.closed", dispute, intent),
        ]
        for number in order:
            for _ in range(2):
                tell[number]()
            inbox.handle_events(clock=clock)
        post(later(AT, 3))
        return books(Payment.objects.get(invoice_id=invoice))

    found = []
    for order in ORDERS:
        with transaction.atomic():
            found.append(live(order))
            transaction.set_rollback(True)
    charged = 1_000 if interval == "month" else 10_000
    assert found[0]["payment"] == ["credited", charged, 733]
    taken = share(101 if interval == "month" else 1_212, 733, charged)
    assert found[0]["wallet"][0] == (101 if interval == "month" else 404) - (
        taken if interval == "month" else 0
    )
    assert all(each == found[0] for each in found)
