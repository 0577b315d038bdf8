"""What an invoice paid for, month by month, against Stripe."""

from datetime import timedelta

import pytest
from django.db import connection

from billing.choices import BreakKind
from billing.models import Payment, Slice
from billing.services.examination import examine
from billing.tests.payments import settle as settle_payment
from billing.tests.subscriptions import FakeBilling, begun, by_year, later, post, price
from ledger.tests.books import spend
from ledger.tests.factories import AT

pytestmark = pytest.mark.django_db


def kinds(payment: Payment) -> set[str]:
    at = payment.created_at + timedelta(days=400)
    return {each.kind for each in examine(str(payment.intent_id), at).differences}


@pytest.fixture
def year(fake_billing: FakeBilling) -> Payment:
    """Return the payment of a year, of which four months are posted."""
    begun(fake_billing, by_year(price()))
    post(later(AT, 3))
    return Payment.objects.get()


class TestInvoices:
    def test_agree_whatever_becomes_of_them(self, fake_billing: FakeBilling, year: Payment):
        intent = str(year.intent_id)
        spend(year.wallet_id, 150, later(AT, 3))
        assert kinds(year) == set()
        fake_billing.refund(intent, 3_333)
        settle_payment(intent, later(AT, 3))
        assert kinds(year) == set()
        dispute = fake_billing.dispute(intent, 5_000)
        settle_payment(intent, later(AT, 3))
        assert kinds(year) == set()
        fake_billing.decide(dispute, "lost")
        settle_payment(intent, later(AT, 3))
        post(later(AT, 12))
        assert kinds(year) == set()

    @pytest.mark.breaks_the_books
    def test_whose_months_are_others_are_named(self, year: Payment):
        Payment.objects.filter(pk=year.pk).update(credits=year.credits + 1)
        assert kinds(year) == {BreakKind.SLICES}

    @pytest.mark.breaks_the_books
    def test_whose_money_is_not_in_its_months_are_named(self, year: Payment):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE billing_promisedmoney DISABLE TRIGGER USER")
            cursor.execute(
                "UPDATE billing_promisedmoney SET amount_minor = 9999 WHERE move = 'paid'"
            )
        assert kinds(year) == {BreakKind.SLICES}

    @pytest.mark.breaks_the_books
    def test_whose_months_were_not_taken_back_are_named(
        self, fake_billing: FakeBilling, year: Payment
    ):
        intent = str(year.intent_id)
        fake_billing.refund(intent, 5_000)
        settle_payment(intent, later(AT, 3))
        assert kinds(year) == set()
        Slice.objects.filter(payment=year, number=12).update(voided=0)
        assert kinds(year) == {BreakKind.CLAWBACK}
