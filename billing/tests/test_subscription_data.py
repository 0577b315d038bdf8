"""A subscriber's data: given to them, and erased without the books."""

import pytest

from billing.models import SubscriptionChange
from billing.services import subscription_changes as changes
from billing.services.subscription_data import Subscriptions
from billing.tests.payments import settle as settle_payment
from billing.tests.subscriptions import FakeBilling, begun, by_year, price, settle
from ledger.tests.factories import AT, finance

pytestmark = pytest.mark.django_db
KEEPER = Subscriptions()


class TestErasure:
    def test_waits_until_it_has_ended_and_all_is_given_or_refunded(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price()))
        user, payment = subscription.user, subscription.payments.get()
        assert len(KEEPER.obstacles(user, AT)) == 2
        fake_billing.cancel_subscription(str(subscription.subscription_id))
        settle(str(subscription.subscription_id))
        assert KEEPER.obstacles(user, AT) == [
            "Months are paid for whose credits are not given yet: refund them first."
        ]
        fake_billing.refund(str(payment.intent_id), 10_000)
        settle_payment(str(payment.intent_id))
        assert KEEPER.obstacles(user, AT) == []

    def test_takes_what_staff_wrote(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        changes.end_now(
            subscription=subscription,
            actor=finance(),
            caller="user:1",
            idempotency_key="k",
            reason="Ada asked",
            clock=lambda: AT,
        )
        KEEPER.erase(user=subscription.user, words=[], at=AT)
        assert SubscriptionChange.objects.get().reason == ""


class TestExport:
    def test_has_the_subscription_and_its_months(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        found = KEEPER.export(subscription.user, AT)
        (row,) = found["subscriptions"]
        assert (row["plan"], row["status"]) == ("small", "active")
        (month,) = found["months_of_subscriptions"]
        assert (month["credits"], month["status"]) == (100, "posted")
