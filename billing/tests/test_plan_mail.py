"""E-mails about subscriptions: what they say, and that each is sent once."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from billing.models import PlanNotice, Subscription, SubscriptionEffect
from billing.services import plan_mail
from billing.tests.subscriptions import DAY, FakeBilling, begun, later, price, settle
from creditsite.testing.races import race
from ledger.tests.factories import AT, CustomerFactory, set_credit_settings

pytestmark = pytest.mark.django_db


def subjects() -> list[str]:
    """Return what was written of subscriptions; payments have receipts of their own."""
    return [message.subject for message in ours()]


def ours() -> list[Any]:
    return [each for each in mail.outbox if each.subject != "Your payment has arrived"]


def last_text() -> str:
    return str(ours()[-1].body)


def told(at=AT) -> int:
    return plan_mail.tell_effects(at=at)


class TestTellEffects:
    def test_welcomes_a_subscriber_once(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        assert (told(), told()) == (1, 0)
        assert subjects() == ["You are subscribed to Small"]
        assert ours()[0].to == [subscription.user.email]
        assert "It brings 100 credits every month." in last_text()

    def test_leads_to_the_page_of_plans(self, fake_billing: FakeBilling, settings):
        settings.SITE_URL = "https://credits.example.com"
        begun(fake_billing, price())
        told()
        assert "https://credits.example.com/billing/plans/" in last_text()
        ((html, _),) = ours()[0].alternatives
        assert 'href="https://credits.example.com/billing/plans/"' in html

    def test_tells_of_a_payment_that_failed_of_the_end_and_of_nothing_paid_on_time(
        self, fake_billing: FakeBilling
    ):
        subscription = begun(fake_billing, price())
        id = subscription.subscription_id
        fake_billing.renew(id)
        settle(id, fake_billing.now)
        assert told(fake_billing.now) == 0  # The first is too long ago; a renewal has a receipt.
        fake_billing.renew(id, is_paid=False)
        fake_billing.change(id, status="past_due")
        settle(id, fake_billing.now)
        assert told(fake_billing.now) == 1
        assert subjects() == ["Your payment did not go through"]
        fake_billing.change(id, status="unpaid")
        settle(id, fake_billing.now)
        fake_billing.change(id, status="canceled", ended_at=fake_billing.now)
        settle(id, fake_billing.now)
        assert told(fake_billing.now) == 2
        assert subjects()[1:] == ["Your subscription is not paid", "Your subscription has ended"]

    def test_tells_of_changes_and_of_what_was_taken_back(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        id, large = subscription.subscription_id, price("large", 3_000, 400)
        fake_billing.now = AT + DAY
        fake_billing.reprice(id, large)
        settle(id, fake_billing.now)
        fake_billing.change(id, cancels_at_period_end=True)
        settle(id, fake_billing.now)
        fake_billing.change(id, cancels_at_period_end=False)
        settle(id, fake_billing.now)
        assert told(fake_billing.now) == 4
        assert subjects()[1:] == [
            "You are on Large now",
            "Your subscription is cancelled",
            "Your subscription goes on",
        ]

    def test_writes_to_nobody_who_is_gone(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        subscription.user.is_active = False
        subscription.user.save(update_fields=["is_active"])
        assert (told(), subjects()) == (0, [])
        assert PlanNotice.objects.filter(subscription=subscription).exists()

    def test_tells_of_nothing_that_is_long_past(self, fake_billing: FakeBilling):
        begun(fake_billing, price())
        assert told(AT + plan_mail.TOLD_WITHIN) == 0

    def test_has_words_for_each_that_is_told(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        silent = {"renewed", "paused", "active", "expired"}
        for kind in plan_mail.Became:
            words = plan_mail.words_of(SubscriptionEffect(subscription=subscription, effect=kind))
            assert (words is None) == (kind in silent)


class TestRemindOfRenewals:
    def remind(self, at) -> int:
        return plan_mail.remind_of_renewals(at=at)

    def test_reminds_once_for_each_renewal(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        end = subscription.period_end
        assert self.remind(end - 3 * DAY - timedelta(seconds=1)) == 0
        assert self.remind(end - 3 * DAY) == 1
        assert self.remind(end - DAY) == 0
        assert subjects() == [f"Your subscription renews on {end:%Y-%m-%d}"]
        assert "Small costs 10.00 USD for a month, before tax." in last_text()
        fake_billing.renew(subscription.subscription_id)
        settle(subscription.subscription_id, fake_billing.now)
        assert self.remind(later(AT, 2) - DAY) == 1

    def test_says_what_the_next_period_costs(self, fake_billing: FakeBilling):
        large = price("large", 3_000, 400)
        subscription = begun(fake_billing, large)
        fake_billing.change(subscription.subscription_id, price=fake_billing.known(price()))
        settle(subscription.subscription_id)
        self.remind(subscription.period_end - DAY)
        assert "Small costs 10.00 USD" in last_text()

    def test_reminds_nobody_whose_subscription_ends_or_is_not_paid(self, fake_billing: FakeBilling):
        of = price()
        for more in [
            {"cancels_at_period_end": True},
            {"status": "past_due"},
            {"status": "canceled", "ended_at": AT},
        ]:
            subscription = begun(fake_billing, of)
            fake_billing.change(subscription.subscription_id, **more)
            settle(subscription.subscription_id)
        assert self.remind(later(AT, 1) - DAY) == 0

    def test_reminds_by_the_days_of_the_settings(self, fake_billing: FakeBilling):
        end = begun(fake_billing, price()).period_end
        set_credit_settings(renewal_reminder_days=10)
        assert self.remind(end - 10 * DAY) == 1
        set_credit_settings(renewal_reminder_days=0)
        begun(fake_billing, Subscription.objects.get().price, user=CustomerFactory())
        assert self.remind(end - DAY) == 0


def test_is_sent_once_by_two_workers(ledger_db, monkeypatch):
    stripe = FakeBilling()
    stripe.install(monkeypatch)
    end = begun(stripe, price()).period_end
    race(lambda: told(), lambda: told())
    race(
        lambda: plan_mail.remind_of_renewals(at=end - DAY),
        lambda: plan_mail.remind_of_renewals(at=end - DAY),
    )
    assert len(subjects()) == 2
