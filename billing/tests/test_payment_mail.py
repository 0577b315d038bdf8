"""Who hears what became of a payment: once, with it, and nobody else."""

from typing import Any

import pytest
from django.core import mail

from accounts.models import Email
from billing.services import settlement
from billing.tests.payments import FakeStripe, bought, opened, settle
from ledger.tests.factories import CustomerFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def mails(settings) -> list[Any]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.SITE_URL = "https://credits.example.com"
    return mail.outbox


def told(mails: list[Any]) -> list[tuple[list[str], str]]:
    return [(message.to, message.subject) for message in mails]


class TestPaid:
    def test_thanks_who_paid_and_leads_to_the_receipt(self, fake_stripe: FakeStripe, mails):
        payment = bought(fake_stripe)
        (message,) = mails
        assert message.to == [payment.user.email]
        link = f"https://credits.example.com/billing/payments/{payment.public_id}/receipt/"
        assert message.body == (
            "Thank you: 10.00 USD has arrived.\n\n"
            "For: 100 credits\nCredits: 100\nPaid: 10.00 USD\nReceipt: 2026-000001\n\n"
            f"Your receipt: {link}\n\n\n--\ncreditsite"
        )
        html, _ = message.alternatives[0]
        assert f'<a href="{link}">Your receipt</a>' in html

    def test_has_no_link_where_the_site_has_no_address(self, fake_stripe, mails, settings):
        settings.SITE_URL = ""
        bought(fake_stripe)
        assert "Your receipt" not in mails[0].body
        assert "http" not in mails[0].body

    def test_is_said_once(self, fake_stripe: FakeStripe, mails):
        payment = bought(fake_stripe)
        settle(payment.intent_id or "")
        assert len(mails) == 1

    def test_is_not_said_of_what_is_held_back(self, fake_stripe: FakeStripe, mails):
        settle(fake_stripe.paid())
        settle(fake_stripe.paid(opened(), amount_minor=7))
        assert mails == []

    def test_goes_with_the_credits_or_not_at_all(self, fake_stripe, settings, monkeypatch):
        settings.EMAIL_BACKEND = "accounts.services.outbox.OutboxBackend"
        intent = fake_stripe.paid(opened())
        with monkeypatch.context() as broken:
            broken.setattr(settlement, "free_promotion_of_nothing", lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                settle(intent)
        assert not Email.objects.exists()
        settle(intent)
        assert Email.objects.get().subject == "Your payment has arrived"


class TestWhatComesAfter:
    def test_tells_who_paid_of_each_refund_once(self, fake_stripe: FakeStripe, mails):
        payment = bought(fake_stripe)
        mails.clear()
        for _ in range(2):
            fake_stripe.refund(payment.intent_id or "", 300)
            settle(payment.intent_id or "")
            settle(payment.intent_id or "")
        assert told(mails) == [([payment.user.email], "A refund is on its way to you")] * 2
        assert mails[0].body.startswith("3.00 USD of your payment is on its way back to you.")

    def test_tells_them_that_one_did_not_arrive(self, fake_stripe: FakeStripe, mails):
        payment = bought(fake_stripe)
        refund = fake_stripe.refund(payment.intent_id or "", 300)
        settle(payment.intent_id or "")
        mails.clear()
        fake_stripe.fail_refund(refund)
        settle(payment.intent_id or "")
        assert told(mails) == [([payment.user.email], "A refund did not reach you")]

    def test_leaves_disputes_to_staff(self, fake_stripe: FakeStripe, mails):
        payment = bought(fake_stripe)
        mails.clear()
        fake_stripe.dispute(payment.intent_id or "", 1_000)
        settle(payment.intent_id or "")
        assert payment.user.email not in [address for message in mails for address in message.to]

    def test_writes_to_nobody_who_was_erased(self, fake_stripe: FakeStripe, mails):
        payment = bought(fake_stripe, user=CustomerFactory())
        user = payment.user
        user.email = f"erased-{user.pk}@erased.invalid"
        user.save()
        assert user.is_erased
        mails.clear()
        fake_stripe.refund(payment.intent_id or "", 300)
        settle(payment.intent_id or "")
        assert mails == []
