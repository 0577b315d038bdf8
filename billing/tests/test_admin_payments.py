"""The staff pages of payments: what they show, whom they ask, what they refuse."""

import pytest
from django.test import Client

from accounts.models import Approval
from accounts.tests.factories import StaffFactory
from billing.models import Payment, Refund, ReviewItem, StripeEvent
from billing.services import inbox, refunds
from billing.tests.payments import FakeStripe, bought, settle, told
from creditsite.testing.people import sign_in_now
from ledger.models import Wallet
from ledger.tests.books import spend
from ledger.tests.factories import AT, finance, set_credit_settings
from ledger.tests.pages import errors, page_of, recorded, said, sent, text

pytestmark = pytest.mark.django_db
PAYMENTS = "/admin/billing/payment/"


def signed_in(group: str = "Finance") -> Client:
    client, user = Client(), StaffFactory(groups=group)
    client.force_login(user)
    sign_in_now(client, user)
    return client


@pytest.fixture
def staff() -> Client:
    return signed_in()


class TestPayments:
    def test_lists_who_paid_what(self, fake_stripe: FakeStripe, staff: Client):
        payment = bought(fake_stripe)
        settle(fake_stripe.paid())
        page = text(staff.get(PAYMENTS))
        assert str(payment.user) in page
        assert "10.00 USD" in page
        assert "held back" in page
        found = text(staff.get(PAYMENTS, {"q": payment.intent_id}))
        assert str(payment.user) in found
        assert "cus_stranger" not in found

    def test_list_asks_as_much_for_three_as_for_one(
        self, fake_stripe: FakeStripe, staff: Client, django_assert_max_num_queries
    ):
        bought(fake_stripe)
        staff.get(PAYMENTS)
        with django_assert_max_num_queries(14) as one:
            staff.get(PAYMENTS)
        bought(fake_stripe)
        bought(fake_stripe)
        with django_assert_max_num_queries(len(one)):
            staff.get(PAYMENTS)

    def test_page_says_what_became_of_it(self, fake_stripe: FakeStripe, staff: Client):
        payment = bought(fake_stripe)
        told("payment_intent.succeeded", payment.intent_id)
        spend(payment.wallet_id, 80, AT)
        fake_stripe.refund(payment.intent_id, 500)
        settle(payment.intent_id)
        page = text(staff.get(page_of(payment)))
        for words in [
            "More was taken back than was left: 30 credits are owed.",
            "Paid: its credits were given",
            "Money was sent back",
            "−20",
            "payment_intent.succeeded",
            "5.00 USD",
        ]:
            assert words in page

    def test_page_of_what_nobody_knows(self, fake_stripe: FakeStripe, staff: Client):
        payment = settle(fake_stripe.paid())
        assert "The customer is not known here" in text(staff.get(page_of(payment)))


class TestRefund:
    def test_begins_with_what_the_rule_gives(self, fake_stripe: FakeStripe, staff: Client):
        payment = bought(fake_stripe)
        spend(payment.wallet_id, 25, AT)
        page = text(staff.get(page_of(payment, "refund")))
        assert "Of the 100 credits 25 are spent" in page
        assert "By the rule 7.50 USD can be refunded." in page
        assert 'value="7.50"' in page

    def test_is_asked_for_once_and_sent(self, fake_stripe: FakeStripe, staff: Client):
        payment = bought(fake_stripe)
        answer = sent(staff, page_of(payment, "refund"), amount="4.00")
        assert said(answer) == ["A refund of 4.00 USD is on its way."]
        assert recorded() == [("billing.refund.asked", "asked for by the customer")]
        later = Refund.objects.get().next_try_at
        refunds.send_refunds(clock=lambda: later)
        assert Payment.objects.get().returned_minor == 400

    @pytest.mark.parametrize("amount", ["", "x", "1e3", "٣", "-1", "4,00", "4.001", "10.01", "0"])
    def test_refuses_what_is_no_such_amount(self, fake_stripe: FakeStripe, staff: Client, amount):
        payment = bought(fake_stripe)
        assert errors(sent(staff, page_of(payment, "refund"), amount=amount))
        assert not Refund.objects.exists()

    def test_of_many_credits_takes_a_typed_phrase(self, fake_stripe: FakeStripe, staff: Client):
        set_credit_settings(typed_confirmation_from=40)
        payment = bought(fake_stripe)
        address = page_of(payment, "refund")
        answer = sent(staff, address, amount="4.00", confirmation="REFUND 4")
        assert errors(answer) == ["That is not what is to be typed."]
        sent(staff, address, amount="4.00", confirmation="REFUND 4.00 USD")
        assert Refund.objects.get().amount_minor == 400

    def test_of_more_waits_for_a_second_person(self, fake_stripe: FakeStripe, staff: Client):
        set_credit_settings(approval_adjustment_above=10)
        payment = bought(fake_stripe)
        assert "It waits for a second person." in text(staff.get(page_of(payment, "refund")))
        sent(staff, page_of(payment, "refund"), amount="4.00")
        assert Approval.objects.get().kind == "billing.refund_payment"
        assert not Refund.objects.exists()

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_is_not_for_who_may_only_look(self, fake_stripe: FakeStripe, group):
        payment, client = bought(fake_stripe), signed_in(group)
        assert "Refund…" not in text(client.get(page_of(payment)))
        assert client.get(page_of(payment, "refund")).status_code == 403


class TestReview:
    @pytest.fixture
    def item(self, fake_stripe: FakeStripe) -> ReviewItem:
        payment = bought(fake_stripe)
        spend(payment.wallet_id, 80, AT)
        fake_stripe.refund(payment.intent_id, 1_000)
        settle(payment.intent_id)
        return ReviewItem.objects.get()

    def test_lists_and_shows_what_to_do(self, staff: Client, item: ReviewItem):
        items = "/admin/billing/reviewitem/"
        assert "80 credits are owed" in text(staff.get(items, {"state": "open"}))
        assert "80 credits are owed" not in text(staff.get(items, {"state": "resolved"}))
        assert "If none will come, write it off." in text(staff.get(page_of(item)))

    def test_is_resolved_with_a_reason(self, staff: Client, item: ReviewItem):
        assert said(sent(staff, page_of(item, "resolve"))) == ["It is resolved."]
        item.refresh_from_db()
        assert item.resolution == "asked for by the customer"
        assert "no longer" in said(staff.get(page_of(item, "resolve"), follow=True))[0]

    def test_writes_the_debt_off(self, staff: Client, item: ReviewItem):
        sent(staff, page_of(item, "write-off"), amount="80")
        assert Wallet.objects.get(pk=item.payment.wallet_id).debt == 0

    def test_refuses_to_write_off_more(self, staff: Client, item: ReviewItem):
        assert errors(sent(staff, page_of(item, "write-off"), amount="81"))


class TestEvents:
    def test_shows_what_failed_and_handles_it_again(self, fake_stripe: FakeStripe, staff: Client):
        event = told("payment_intent.succeeded", "pi_none")
        inbox.handle_events(clock=lambda: AT)  # KeyError: Stripe has no such intent.
        page = text(staff.get("/admin/billing/stripeevent/?status__exact=failed"))
        assert "KeyError" in page
        assert "The last webhook with a good signature came at" in page
        assert said(sent(staff, page_of(event, "replay"))) == ["Handled again: 1."]
        event.refresh_from_db()
        assert (event.status, event.tries) == ("waiting", 0)

    def test_handles_selected_ones_again(self, staff: Client):
        events = [told("payment_intent.succeeded", f"pi_{n}") for n in range(3)]
        StripeEvent.objects.update(status="done", next_try_at=None)
        data = {
            "action": "replay_selected",
            "_selected_action": [event.pk for event in events[:2]],
            "confirmed": "yes",
            "reason": "to be sure",
            "request_id": "5d8f1f0e-0d4c-4d0e-9a3c-0d4c4d0e9a3c",
        }
        staff.post("/admin/billing/stripeevent/", data)
        assert StripeEvent.objects.filter(status="waiting").count() == 2

    def test_support_may_look_and_not_replay(self):
        event, client = told("payment_intent.succeeded", "pi_1"), signed_in("Support")
        assert client.get(page_of(event)).status_code == 200
        assert client.get(page_of(event, "replay")).status_code == 403


def test_nobody_refunds_their_own_payment(fake_stripe: FakeStripe):
    user, client = finance(), Client()
    client.force_login(user)
    sign_in_now(client, user)
    payment = bought(fake_stripe, user=user)
    assert "Nobody changes the credits" in errors(sent(client, page_of(payment, "refund")))[0]
