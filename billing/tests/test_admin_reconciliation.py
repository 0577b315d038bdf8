"""The staff pages of reconciliation: what they show, whom they ask, what they refuse."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.choices import BreakKind
from billing.models import Break, Reconciliation
from billing.queries.differences import Difference
from billing.services.breaks import keep_breaks
from billing.tests.payments import FakeStripe, bought, settle
from billing.tests.test_admin_payments import signed_in
from ledger.tests.factories import AT
from ledger.tests.pages import REASON, errors, page_of, recorded, said, sent, text

pytestmark = pytest.mark.django_db
LIST = "/admin/billing/break/"


@pytest.fixture
def staff() -> Client:
    return signed_in()


def a_break(
    payment: Any = None, kind: BreakKind = BreakKind.REFUND_MISSING, object_id: str = "re_1"
) -> Break:
    difference = Difference(kind, object_id, "3.00 USD, succeeded.", "Nothing is known of it.")
    intent_id = payment.intent_id if payment else "pi_1"
    keep_breaks(intent_id, [difference], payment=payment, at=AT)
    return Break.objects.latest("pk")


def a_run(**more: Any) -> Reconciliation:
    given: dict[str, Any] = {
        "status": "done",
        "since": AT - timedelta(days=35),
        "until": AT,
        "asked_at": AT,
        "started_at": AT,
        "ended_at": AT,
        "payments": 1_234,
    }
    return Reconciliation.objects.create(**given | more)


class TestTheList:
    def test_says_what_differs_and_when_that_was_looked_at(
        self, fake_stripe: FakeStripe, staff: Client
    ):
        payment = bought(fake_stripe)
        a_break(payment)
        a_run()
        page = text(staff.get(LIST))
        for words in [
            "Stripe and the books differ in 1 place",
            "Refunded at Stripe, unknown here",
            "Stripe: 3.00 USD, succeeded.",
            "Books: Nothing is known of it.",
            str(payment.user),
            "1,234",
        ]:
            assert words in page

    def test_says_that_nothing_was_compared_yet(self, staff: Client):
        assert "Not compared yet" in text(staff.get(LIST))

    def test_filters_by_state(self, staff: Client):
        a_break(object_id="re_open")
        gone = a_break(kind=BreakKind.DOUBLE, object_id="re_gone")
        Break.objects.filter(object_id="re_open").update(gone_at=None)
        Break.objects.filter(pk=gone.pk).update(gone_at=AT)
        page = text(staff.get(LIST, {"state": "open"}))
        assert "re_open" in page
        assert "re_gone" not in page
        assert "re_gone" in text(staff.get(LIST, {"state": "gone"}))
        assert "re_gone" not in text(staff.get(LIST, {"state": "explained"}))

    def test_asks_as_much_for_three_as_for_one(
        self, fake_stripe: FakeStripe, staff: Client, django_assert_max_num_queries
    ):
        a_break(bought(fake_stripe))
        a_run()
        staff.get(LIST)
        with django_assert_max_num_queries(16) as one:
            staff.get(LIST)
        a_break(bought(fake_stripe), object_id="re_2")
        a_break(bought(fake_stripe), object_id="re_3")
        a_run()
        with django_assert_max_num_queries(len(one)):
            staff.get(LIST)

    def test_has_a_run_begun(self, staff: Client):
        assert "Compare now" in text(staff.get(LIST))
        answer = sent(staff, f"{LIST}run/", days="7")
        assert said(answer) == ["It is under way. Look again in a minute."]
        run = Reconciliation.objects.get()
        assert run.until - run.since == timedelta(days=7)
        assert recorded() == [("billing.reconciliation.asked", REASON)]
        again = sent(staff, f"{LIST}run/", days="7")
        assert errors(again) == ["Another reconciliation is under way."]

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_is_for_looking_for_others(self, group: str):
        client, item = signed_in(group), a_break()
        page = text(client.get(LIST))
        assert "re_1" in page
        assert "Compare now" not in page
        assert client.get(f"{LIST}run/").status_code == 403
        for act in ("settle", "explain"):
            assert client.get(page_of(item, act)).status_code == 403


class TestABreak:
    def test_says_what_to_do(self, staff: Client):
        assert "Settle it: that reads it at Stripe" in text(staff.get(page_of(a_break())))

    def test_is_explained(self, staff: Client):
        item = a_break()
        answer = sent(staff, page_of(item, "explain"))
        assert said(answer) == ["Explained: 1."]
        item.refresh_from_db()
        assert item.explanation == REASON
        assert "explained" in text(staff.get(LIST))

    def test_is_settled(self, fake_stripe: FakeStripe, staff: Client, monkeypatch):
        payment = bought(fake_stripe)
        id = fake_stripe.refund(str(payment.intent_id), 300)
        item = a_break(payment, object_id=id)
        answer = sent(staff, page_of(item, "settle"))
        assert said(answer) == ["It is settled, and Stripe and the books agree."]
        payment.refresh_from_db()
        assert payment.returned_minor == 300
        assert settle(str(payment.intent_id)) == payment

    def test_that_settling_does_not_mend_does_not_offer_it(self, staff: Client):
        item = a_break(kind=BreakKind.DOUBLE)
        page = text(staff.get(page_of(item)))
        assert "Settle now" not in page
        assert "Mark as explained" in page


class TestARun:
    def test_shows_how_the_money_ties(self, staff: Client):
        figures = {
            "2026-05-31 usd": {
                "charged": 123_456, "charged_here": 123_456, "fees": 3_000, "net": 120_456,
                "refunded": -1_000, "refunded_here": 0,
            },
        }  # fmt: skip
        page = text(staff.get(page_of(a_run(figures=figures, breaks=1))))
        for words in ["2026-05-31 USD", "1,234.56", "-10.00", "30.00", "1,204.56"]:
            assert words in page


class TestTheStartPage:
    def test_says_whether_they_agree(self, staff: Client):
        a_run(asked_at=timezone.now())
        assert "Agree" in text(staff.get("/admin/"))
        a_break()
        assert "1 differ" in text(staff.get("/admin/"))
