"""Receipts: one for each credited payment, numbered without a gap, for who paid and for staff."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test import Client
from pypdf import PdfReader

from accounts.tests.factories import StaffFactory, TeamFactory
from billing.models import Payment, Receipt
from billing.queries.receipts import statement_of
from billing.receipt_pdf import pdf_of
from billing.services import settlement
from billing.tests.payments import FakeStripe, bought, opened, settle
from creditsite.testing.people import as_role
from creditsite.testing.races import race
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import CustomerFactory, set_credit_settings

pytestmark = pytest.mark.django_db
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


def numbers() -> list[str]:
    return [str(each) for each in Receipt.objects.order_by("year", "number")]


def lines_of(payment: Payment) -> list[tuple[str, str]]:
    statement = statement_of(payment)
    assert statement is not None
    return [(line.name, line.money) for line in statement.lines]


def words_of(payment: Payment) -> str:
    """Return what the PDF of a receipt says, on one line."""
    statement = statement_of(payment)
    assert statement is not None
    pages = PdfReader(io.BytesIO(pdf_of(statement))).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def signed_in(payment: Payment) -> Client:
    client = Client()
    client.force_login(payment.user)
    return client


def path_of(payment: Payment, file: str = "receipt/") -> str:
    return f"/billing/payments/{payment.public_id}/{file}"


class TestIssueReceipt:
    def test_numbers_payments_as_they_are_credited(self, fake_stripe: FakeStripe):
        first, second = bought(fake_stripe), bought(fake_stripe)
        assert numbers() == ["2026-000001", "2026-000002"]
        assert (first.receipt.number, second.receipt.number) == (1, 2)

    def test_begins_anew_with_the_year_of_business(self, fake_stripe: FakeStripe):
        set_credit_settings(time_zone="America/New_York")
        for at in [NEW_YEAR - timedelta(hours=1), NEW_YEAR + timedelta(hours=1)]:
            settle(fake_stripe.paid(opened()), at=at)
        settle(fake_stripe.paid(opened()), at=NEW_YEAR + timedelta(hours=6))
        assert numbers() == ["2026-000001", "2026-000002", "2027-000001"]

    def test_gives_one_to_a_payment_however_often_it_is_settled(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        settle(payment.intent_id or "")
        assert numbers() == ["2026-000001"]

    def test_gives_none_to_what_is_held_back_or_never_paid(self, fake_stripe: FakeStripe):
        settle(fake_stripe.paid())
        opened()
        assert numbers() == []

    def test_leaves_no_gap_where_crediting_fails(self, fake_stripe: FakeStripe, monkeypatch):
        intent = fake_stripe.paid(opened())
        with monkeypatch.context() as broken:
            broken.setattr(settlement, "free_promotion_of_nothing", lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                settle(intent)
        assert numbers() == []
        settle(intent)
        assert numbers() == ["2026-000001"]

    def test_keeps_who_sold_as_it_was_on_that_day(self, fake_stripe: FakeStripe, settings):
        settings.SELLER = {"name": "Old Ltd", "address": ["1 Road"], "tax_id": "GB1"}
        payment = bought(fake_stripe)
        settings.SELLER = {"name": "New Ltd", "address": [], "tax_id": ""}
        assert "Old Ltd 1 Road Tax id GB1" in words_of(payment)

    @pytest.mark.parametrize(
        "statement",
        ["UPDATE billing_receipt SET number = 9", "DELETE FROM billing_receipt",
         "TRUNCATE billing_receipt"],
    )  # fmt: skip
    def test_is_never_changed_or_deleted(self, fake_stripe: FakeStripe, statement):
        bought(fake_stripe)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            with pytest.raises(ProgrammingError, match="never changes"), transaction.atomic():
                cursor.execute(statement)

    def test_is_refused_a_number_twice_and_a_year_of_another_day(self, fake_stripe: FakeStripe):
        receipt, other = bought(fake_stripe).receipt, opened()
        for year, number in [(2026, 1), (2027, 2), (2026, 0)]:
            with pytest.raises(IntegrityError), transaction.atomic():
                Receipt.objects.create(
                    payment=other, year=year, number=number, issued_on=receipt.issued_on, seller={}
                )


def test_numbers_have_no_gap_in_a_race(ledger_db: Any, fake_stripe: FakeStripe, monkeypatch):
    def settled(intent: str, fails: bool) -> Any:
        with transaction.atomic():
            payment = settle(intent)
            if fails:
                raise ZeroDivisionError
            return payment

    intents = [fake_stripe.paid(opened()) for _ in range(12)]
    race(*[lambda i=i, n=n: settled(i, n % 3 == 0) for n, i in enumerate(intents)])
    assert numbers() == [f"2026-{number:06}" for number in range(1, 9)]


class TestStatement:
    def test_says_what_was_bought_and_paid(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe, description="Starter package", credits=1_000)
        assert lines_of(payment) == [
            ("Starter package (1,000 credits)", "10.00 USD"),
            ("Paid", "10.00 USD"),
        ]

    def test_has_tax_on_a_line_of_its_own(self, fake_stripe: FakeStripe):
        begun = opened()
        Payment.objects.filter(pk=begun.pk).update(tax_minor=190)
        begun.refresh_from_db()
        payment = settle(fake_stripe.paid(begun))
        assert payment
        assert lines_of(payment) == [
            ("100 credits", "10.00 USD"),
            ("Tax", "1.90 USD"),
            ("Paid", "11.90 USD"),
        ]

    def test_has_refunds_but_not_those_that_failed_and_what_the_bank_took(
        self, fake_stripe: FakeStripe
    ):
        payment = bought(fake_stripe)
        intent = payment.intent_id or ""
        fake_stripe.refund(intent, 300)
        failing = fake_stripe.refund(intent, 100)
        settle(intent)
        fake_stripe.fail_refund(failing)
        fake_stripe.dispute(intent, 500, "lost")
        settle(intent)
        assert lines_of(payment)[1:] == [
            ("Paid", "10.00 USD"),
            ("Refunded on 1 June 2026", "−3.00 USD"),
            ("Taken back by your bank", "−5.00 USD"),
            ("Paid in the end", "2.00 USD"),
        ]


class TestPdf:
    def test_says_all_of_it(self, fake_stripe: FakeStripe, settings):
        settings.SELLER = {"name": "Seller & Söhne <GmbH>", "address": ["Weg 1"], "tax_id": "DE1"}
        user = CustomerFactory(name="Ada Lovelace")
        payment = bought(fake_stripe, user=user)
        fake_stripe.refund(payment.intent_id or "", 300)
        settle(payment.intent_id or "")
        assert words_of(payment) == (
            "Seller & Söhne <GmbH> Weg 1 Tax id DE1 Receipt 2026-000001"
            f" Paid on 1 June 2026 Ada Lovelace {user.email} Payment {payment.public_id}"
            " 100 credits 10.00 USD Paid 10.00 USD Refunded on 1 June 2026 −3.00 USD"
            " Paid in the end 7.00 USD"
        )

    @pytest.mark.parametrize(
        "name", ["Zoë Łukasiewicz", "Ελένη Παπαδοπούλου", "Олександр Їжак", "Նարե Հակոբյան"]
    )
    def test_has_names_as_they_are_written(self, fake_stripe: FakeStripe, name):
        payment = bought(fake_stripe, user=CustomerFactory(name=name))
        assert name in words_of(payment)

    def test_breaks_words_that_are_wider_than_the_page(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe, user=CustomerFactory(name="W" * 150))
        assert words_of(payment).count("W") == 150

    def test_is_the_same_file_each_time(self, fake_stripe: FakeStripe):
        statement = statement_of(bought(fake_stripe))
        assert statement
        assert pdf_of(statement) == pdf_of(statement)


class TestPages:
    def test_show_ones_own(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe, user=CustomerFactory(name="Ada <i>"))
        client = signed_in(payment)
        page = client.get(path_of(payment)).text
        assert "Receipt 2026-000001" in page
        assert "Ada &lt;i&gt;" in page
        file = client.get(path_of(payment, "receipt.pdf"))
        assert file.headers["Content-Type"] == "application/pdf"
        assert file.headers["Cache-Control"] == "no-store"
        assert file.content.startswith(b"%PDF-")

    def test_name_the_team_that_it_was_for(self, fake_stripe: FakeStripe):
        team = TeamFactory(owner=None)
        payment = bought(fake_stripe, wallet=wallet_of(team))
        assert f"for {team}" in signed_in(payment).get(path_of(payment)).text

    @pytest.mark.parametrize("file", ["receipt/", "receipt.pdf"])
    def test_are_not_there_for_others_or_before_it_is_paid(self, fake_stripe: FakeStripe, file):
        payment = bought(fake_stripe)
        other = opened()
        stranger = signed_in(other)
        assert stranger.get(path_of(payment, file)).status_code == 404
        assert stranger.get(path_of(other, file)).status_code == 404
        staff = Client()
        staff.force_login(StaffFactory(groups="Admin"))
        assert staff.get(path_of(payment, file)).status_code == 404
        assert Client().get(path_of(payment, file)).status_code == 302

    def test_are_there_for_staff_from_the_payment(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        support = as_role("Support")
        address = f"/admin/billing/payment/{payment.pk}/"
        assert f'href="{address}receipt/"' in support.get(f"{address}change/").text
        assert support.get(f"{address}receipt/").content.startswith(b"%PDF-")
        unpaid = opened()
        assert support.get(f"/admin/billing/payment/{unpaid.pk}/receipt/").status_code == 404
        assert as_role("").get(f"{address}receipt/").status_code == 403
