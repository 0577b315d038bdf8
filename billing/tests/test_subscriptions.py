"""Paid invoices become months of credits; whatever is told, and in whatever order."""

from datetime import UTC, datetime
from itertools import count

import pytest
from django.db import DatabaseError, transaction

from billing.choices import ReviewKind
from billing.models import (
    Payment,
    PromisedMoney,
    ReviewItem,
    Slice,
    Subscription,
    SubscriptionEffect,
)
from billing.queries.subscriptions import promised_of
from billing.services import inbox
from billing.tests.payments import clock, told
from billing.tests.subscriptions import (
    DAY,
    FakeBilling,
    begun,
    by_year,
    later,
    months,
    payment_of,
    post,
    price,
    purse,
    settle,
)
from ledger.models import Grant
from ledger.services import posting
from ledger.tests.factories import AT, CustomerFactory, set_credit_settings

pytestmark = pytest.mark.django_db


def effects(subscription: Subscription) -> list[str]:
    found = SubscriptionEffect.objects.filter(subscription=subscription).order_by("pk")
    return list(found.values_list("effect", flat=True))


def matters() -> list[str]:
    return list(ReviewItem.objects.order_by("pk").values_list("kind", flat=True))


class TestAPaidInvoice:
    def test_gives_its_month_at_once(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        grant = Grant.objects.get()
        assert (grant.amount, grant.paid_minor, grant.currency) == (100, 1_000, "usd")
        assert (grant.credit_type, grant.source) == ("purchase", "plan")
        assert subscription.status == "active"
        assert (subscription.period_start, subscription.period_end) == (AT, later(AT, 1))
        payment = Payment.objects.get()
        assert (payment.status, payment.charged_minor, payment.credits) == ("credited", 1_000, 100)
        assert payment.grant is None
        assert effects(subscription) == ["begun"]

    def test_gives_it_once_however_often_it_is_told(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        for _ in range(3):
            settle(str(subscription.subscription_id))
        assert purse(subscription).purchase == 100
        assert Payment.objects.count() == Grant.objects.count() == 1

    def test_keeps_tax_out_of_the_books(self, fake_billing: FakeBilling):
        fake_billing.tax_percent = 15
        begun(fake_billing, price())
        payment = Payment.objects.get()
        assert (payment.charged_minor, payment.tax_minor, payment.net_minor) == (1_150, 150, 1_000)
        assert Grant.objects.get().paid_minor == 1_000

    def test_of_the_next_period_gives_the_next_month(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        fake_billing.renew(str(subscription.subscription_id))
        settle(str(subscription.subscription_id), fake_billing.now)
        assert months(subscription) == [
            ("2026-06-01", 100, "posted"),
            ("2026-07-01", 100, "posted"),
        ]
        assert effects(subscription) == ["begun", "renewed"]

    def test_that_is_not_paid_gives_nothing_and_takes_nothing(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        id = str(subscription.subscription_id)
        invoice = fake_billing.renew(id, is_paid=False)
        fake_billing.change(id, status="past_due")
        assert settle(id, fake_billing.now).status == "past_due"
        assert purse(subscription).purchase == 100
        assert not Payment.objects.filter(invoice_id=invoice).exists()
        fake_billing.pay(invoice)
        assert settle(id, fake_billing.now).status == "active"
        assert purse(subscription).purchase == 200
        assert effects(subscription) == ["begun", "past_due", "renewed", "active"]

    def test_that_the_balance_paid_gives_its_credits_without_money(self, fake_billing: FakeBilling):
        id = fake_billing.subscribed(price())
        fake_billing.bill(id, balance_minor=1_000)
        settle(id)
        payment = Payment.objects.get()
        assert (payment.charged_minor, payment.intent_id, payment.status) == (0, None, "credited")
        assert (Grant.objects.get().amount, Grant.objects.get().paid_minor) == (100, 0)

    def test_that_the_balance_paid_in_part_counts_what_was_paid(self, fake_billing: FakeBilling):
        fake_billing.tax_percent = 20
        id = fake_billing.subscribed(price())
        fake_billing.bill(id, balance_minor=600)
        settle(id)
        payment = Payment.objects.get()
        assert (payment.charged_minor, payment.tax_minor, payment.net_minor) == (600, 100, 500)

    def test_repays_what_is_owed(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        wallet, invoice = purse(subscription), Payment.objects.get()
        from ledger.tests.books import spend

        spend(wallet.pk, 80, AT)
        fake_billing.refund(str(invoice.intent_id), 1_000)
        from billing.tests.payments import settle as settle_payment

        settle_payment(str(invoice.intent_id))
        assert purse(subscription).debt == 80
        fake_billing.renew(str(subscription.subscription_id))
        settle(str(subscription.subscription_id), fake_billing.now)
        assert (purse(subscription).purchase, purse(subscription).debt) == (20, 0)


class TestAYear:
    def test_is_twelve_months(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price(amount_minor=1_999, credits=200)))
        payment = Payment.objects.get()
        assert (payment.credits, payment.net_minor) == (2_400, 19_990)
        assert len(months(subscription)) == 12
        assert months(subscription)[:2] == [
            ("2026-06-01", 200, "posted"),
            ("2026-07-01", 200, "due"),
        ]
        assert promised_of(payment).open_minor == 19_990 - 19_990 * 200 // 2_400

    def test_gives_each_month_when_it_is_due(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price()))
        assert post(later(AT, 1) - DAY) == 0
        assert post(later(AT, 1)) == 1
        assert post(later(AT, 1)) == 0
        assert purse(subscription).purchase == 200

    def test_catches_up_and_its_money_ties(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price(amount_minor=1_999, credits=200)))
        assert post(later(AT, 24)) == 11
        assert purse(subscription).purchase == 2_400
        assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 19_990
        assert promised_of(Payment.objects.get()).open_minor == 0
        assert sum(PromisedMoney.objects.values_list("amount_minor", flat=True)) == 0

    def test_of_the_31st_has_the_last_days_of_shorter_months(self, fake_billing: FakeBilling):
        fake_billing.now = datetime(2027, 1, 31, 10, tzinfo=UTC)
        subscription = begun(fake_billing, by_year(price()))
        days = [day for day, _, _ in months(subscription)]
        assert days == [
            "2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30",
            "2027-07-31", "2027-08-31", "2027-09-30", "2027-10-31", "2027-11-30", "2027-12-31",
        ]  # fmt: skip

    def test_goes_by_the_clock_of_business(self, fake_billing: FakeBilling):
        set_credit_settings(time_zone="America/New_York")
        fake_billing.now = datetime(2027, 2, 15, 10, tzinfo=UTC)
        subscription = begun(fake_billing, by_year(price()))
        starts = Slice.objects.order_by("number").values_list("starts_at", flat=True)
        assert [start.hour for start in starts] == [10, 9, 9, 9, 9, 9, 9, 9, 9, 10, 10, 10]
        assert len(months(subscription)) == 12

    def test_ends_each_month_where_the_next_begins(self, fake_billing: FakeBilling):
        begun(fake_billing, by_year(price()))
        found = list(Slice.objects.order_by("number"))
        assert [s.ends_at for s in found[:-1]] == [s.starts_at for s in found[1:]]
        assert found[-1].ends_at == later(AT, 12)


class TestAChange:
    def test_to_more_gives_the_difference_for_the_rest(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        id = str(subscription.subscription_id)
        fake_billing.now = AT + 15 * DAY
        fake_billing.reprice(id, price("large", 3_000, 400))
        changed = settle(id, fake_billing.now)
        assert changed.price.version.offer.code == "large"
        assert purse(subscription).purchase == 100 + 150
        assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 1_000 + 1_000
        assert effects(subscription) == ["begun", "changed"]
        fake_billing.renew(id)
        settle(id, fake_billing.now)
        assert purse(subscription).purchase == 250 + 400

    def test_of_a_year_gives_the_difference_month_by_month(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price()))
        id = str(subscription.subscription_id)
        fake_billing.now = later(AT, 6)
        fake_billing.reprice(id, by_year(price("large", 3_000, 400)))
        settle(id, fake_billing.now)
        payment = Payment.objects.order_by("pk").last()
        assert payment.slices.count() == 6
        assert payment.credits == sum(payment.slices.values_list("credits", flat=True))
        assert {s.credits for s in payment.slices.all()} <= {299, 300}

    def test_to_the_year_takes_off_what_the_month_gave(self, fake_billing: FakeBilling):
        small = price()
        subscription = begun(fake_billing, small)
        fake_billing.reprice(str(subscription.subscription_id), by_year(small))
        settle(str(subscription.subscription_id))
        assert months(subscription)[1:3] == [
            ("2026-07-01", 100, "due"),
            ("2026-08-01", 100, "due"),
        ]
        # The month had been given: of the year's twelve, eleven come.
        assert post(later(AT, 24)) == 11
        assert purse(subscription).purchase == 1_200

    def test_down_with_proration_is_taken_off_what_comes(self, fake_billing: FakeBilling):
        small, large = price(), price("large", 3_000, 400)
        subscription = begun(fake_billing, large)
        id = str(subscription.subscription_id)
        fake_billing.reprice(id, small)
        settle(id)
        assert purse(subscription).purchase == 400
        for balance, expected in [(1_000, 400), (1_000, 400), (0, 400), (0, 500)]:
            fake_billing.renew(id, balance_minor=balance)
            settle(id, fake_billing.now)
            if expected == 400 and balance == 0:
                break
            assert purse(subscription).purchase == expected
        # Money came in that buys nothing: the balance had less than what was given back.
        assert matters() == ["mismatch"]

    @pytest.mark.parametrize("loops", [1, 5])
    def test_up_and_down_and_up_again_mints_nothing(self, fake_billing: FakeBilling, loops: int):
        small, large = price(), price("large", 3_000, 401)
        subscription = begun(fake_billing, small)
        id, balance = str(subscription.subscription_id), 0
        for number in range(loops):
            fake_billing.now = AT + number * DAY
            for to in (large, small):
                invoice = fake_billing.invoices[
                    str(fake_billing.reprice(id, to, balance_minor=balance))
                ]
                balance = max(balance - invoice.total_minor, 0)
                settle(id, fake_billing.now)
        # Once up is paid for, and gives what the larger plan has; all else is the balance's.
        assert sum(Payment.objects.values_list("charged_minor", flat=True)) == 3_000
        assert purse(subscription).purchase == 401


class TestWhatNobodyKnows:
    def test_is_held_back_of_a_stranger(self, fake_billing: FakeBilling):
        id = fake_billing.stranger(price())
        fake_billing.bill(id)
        settled = settle(id)
        assert settled.user is None
        assert Payment.objects.get().status == "suspended"
        assert matters() == [ReviewKind.UNKNOWN]

    def test_is_held_back_at_a_price_that_is_none_of_ours(self, fake_billing: FakeBilling):
        id = fake_billing.subscribed(price())
        fake_billing.change(id, price="price_of_somebody")
        fake_billing.bill(id, [fake_billing.line(id, 700)])
        settle(id)
        assert (Payment.objects.get().status, matters()) == ("suspended", ["unknown"])

    def test_is_held_back_of_a_trial(self, fake_billing: FakeBilling):
        id = fake_billing.subscribed(price())
        fake_billing.bill(id, [fake_billing.line(id, 0)])
        settle(id)
        assert (Payment.objects.get().status, matters()) == ("suspended", ["unknown"])
        assert not Grant.objects.exists()

    def test_is_held_back_where_all_was_taken_off(self, fake_billing: FakeBilling):
        id = fake_billing.subscribed(price())
        fake_billing.bill(id, total_minor=0, paid_minor=0, due_minor=0)
        settle(id)
        assert (Payment.objects.get().status, matters()) == ("suspended", ["unknown"])

    def test_is_given_to_a_customer_of_ours_at_a_price_of_ours(self, fake_billing: FakeBilling):
        user = CustomerFactory()
        begun(fake_billing, price("other"), user=user)
        id = fake_billing.stranger(price(), customer=f"cus_{user.pk}")
        fake_billing.bill(id)
        settled = settle(id)
        assert settled.wallet.purchase == 100 or purse(settled).purchase == 200
        # They have two now, which somebody should look at.
        assert matters() == ["mismatch"]


class TestAClosedWallet:
    def close(self, subscription: Subscription, status: str = "closed") -> None:
        wallet = purse(subscription)
        posting.set_status(wallet=wallet.pk, expected=wallet.status, status=status)

    def test_is_given_nothing_and_staff_are_told(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price()))
        self.close(subscription)
        assert post(later(AT, 2)) == 0
        assert [status for _, _, status in months(subscription)[:4]] == [
            "posted", "suspended", "suspended", "due",
        ]  # fmt: skip
        assert matters() == ["closed"]

    def test_that_is_opened_again_is_given_all(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price()))
        self.close(subscription)
        post(later(AT, 2))
        self.close(subscription, "active")
        assert post(later(AT, 2)) == 2
        assert purse(subscription).purchase == 300


class TestWhatBecomesOfIt:
    def test_cancelled_it_keeps_what_is_paid_for(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price()))
        id = str(subscription.subscription_id)
        fake_billing.change(id, cancels_at_period_end=True)
        assert settle(id).cancels_at == later(AT, 12)
        fake_billing.change(id, cancels_at_period_end=False)
        assert settle(id).cancels_at is None
        fake_billing.change(id, status="canceled", ended_at=AT)
        settle(id)
        assert post(later(AT, 12)) == 11
        assert effects(subscription) == ["begun", "cancelled", "kept", "ended"]

    def test_going_down_it_changes_with_the_next_period(self, fake_billing: FakeBilling):
        small, large = price(), price("large", 3_000, 400)
        subscription = begun(fake_billing, large)
        id = str(subscription.subscription_id)
        fake_billing.change(id, price=fake_billing.known(small))
        planned = settle(id)
        assert (planned.price, planned.next_price) == (large, small)
        fake_billing.renew(id)
        renewed = settle(id, fake_billing.now)
        assert (renewed.price, renewed.next_price) == (small, None)
        assert purse(subscription).purchase == 500
        assert effects(subscription) == ["begun", "will_change", "renewed", "changed"]

    def test_never_paid_it_gives_nothing(self, fake_billing: FakeBilling):
        id = fake_billing.subscribed(price())
        fake_billing.bill(id, is_paid=False)
        settle(id)
        fake_billing.change(id, status="incomplete_expired", ended_at=AT)
        assert effects(settle(id)) == ["expired"]
        assert not Payment.objects.exists()


class TestEvents:
    def test_of_any_kind_settle_it(self, fake_billing: FakeBilling):
        for type, about in [
            ("invoice.paid", "invoice"),
            ("customer.subscription.updated", "subscription"),
            ("payment_intent.succeeded", "intent"),
        ]:
            id = fake_billing.subscribed(price(type.replace(".", "-").replace("_", "-")))
            invoice = fake_billing.bill(id)
            told(
                type,
                {
                    "invoice": invoice,
                    "subscription": id,
                    "intent": str(fake_billing.invoices[invoice].payment_intent),
                }[about],
            )
            assert inbox.handle_events(clock=clock) == 1
            assert payment_of(invoice).status == "credited"

    def test_that_were_overtaken_are_read_again(self, fake_billing: FakeBilling):
        id = fake_billing.subscribed(price())
        settle(id)

        def overtake() -> None:
            if next(answers) < 2:
                return  # What it was paid with is read by now; how it stands is being read.
            fake_billing.before_answer = lambda: None
            fake_billing.bill(id)
            settle(id)
            fake_billing.renew(id, is_paid=False)
            settle(id)

        answers = count(1)
        fake_billing.before_answer = overtake
        settled = settle(id)
        assert settled.period_start == later(AT, 1)
        assert purse(settled).purchase == 100


class TestTheTable:
    def test_refuses_to_change_what_is_posted(self, fake_billing: FakeBilling):
        begun(fake_billing, price())
        for act in (
            lambda: Slice.objects.update(credits=7),
            lambda: Slice.objects.all().delete(),
            lambda: PromisedMoney.objects.update(amount_minor=1),
            lambda: SubscriptionEffect.objects.all().delete(),
        ):
            with pytest.raises(DatabaseError), transaction.atomic():
                act()
