"""What stays of a month's credits when the next ones come."""

from datetime import timedelta

import pytest

from billing.choices import OfferKind
from billing.errors import InvalidOffer
from billing.models import Subscription
from billing.services.offers import checked
from billing.tests.sale import terms
from billing.tests.subscriptions import (
    FakeBilling,
    begun,
    by_year,
    later,
    post,
    price,
    purse,
    settle,
)
from ledger.models import CreditTransaction, Grant
from ledger.services import posting
from ledger.tests.books import hold, spend
from ledger.tests.factories import AT, DAY

pytestmark = pytest.mark.django_db


def renewed(stripe: FakeBilling, subscription: Subscription) -> Subscription:
    id = str(subscription.subscription_id)
    stripe.renew(id)
    return settle(id, stripe.now)


def expired(subscription: Subscription) -> int:
    found = CreditTransaction.objects.filter(wallet=subscription.wallet_id, kind="expiry")
    return -sum(found.values_list("amount", flat=True))


class TestWhereNothingStays:
    def test_credits_expire_with_their_month(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price(rollover_cap=0))
        assert Grant.objects.get().expires_at == later(AT, 1)
        renewed(fake_billing, subscription)
        posting.expire(at=fake_billing.now, limit=10)
        assert purse(subscription).purchase == 100

    def test_those_that_come_late_have_the_days_of_grace(self, fake_billing: FakeBilling):
        begun(fake_billing, by_year(price(rollover_cap=0)))
        late = later(AT, 3) + 3 * DAY
        posting.expire(at=late, limit=10)
        assert post(late) == 3
        ends = Grant.objects.order_by("slice__number").values_list("expires_at", flat=True)
        grace = late + timedelta(days=30)
        assert list(ends) == [later(AT, 1), grace, grace, later(AT, 4)]


class TestWhereSomeStay:
    def test_the_rest_expires_the_oldest_first(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price(rollover_cap=120))
        renewed(fake_billing, subscription)
        assert purse(subscription).purchase == 200
        renewed(fake_billing, subscription)
        left = Grant.objects.order_by("slice__starts_at").values_list("remaining", flat=True)
        assert list(left) == [20, 100, 100]
        assert expired(subscription) == 80

    def test_what_was_spent_does_not_count(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price(rollover_cap=30))
        spend(purse(subscription).pk, 75, AT)
        renewed(fake_billing, subscription)
        assert (purse(subscription).purchase, expired(subscription)) == (125, 0)

    def test_what_is_held_stays(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price(rollover_cap=10))
        hold(purse(subscription).pk, 60, AT, until=AT + 90 * DAY)
        renewed(fake_billing, subscription)
        assert (purse(subscription).purchase, expired(subscription)) == (60 + 10 + 100, 30)

    def test_other_credits_are_left_alone(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price(rollover_cap=10))
        from ledger.tests.factories import wallet_with_credits

        wallet_with_credits(subscription.user, award=500, purchase=500)
        renewed(fake_billing, subscription)
        assert expired(subscription) == 90

    def test_a_change_within_the_month_takes_nothing(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price(rollover_cap=10))
        fake_billing.now = AT + 15 * DAY
        large = price("large", 3_000, 400, rollover_cap=10)
        fake_billing.reprice(str(subscription.subscription_id), large)
        settle(str(subscription.subscription_id), fake_billing.now)
        assert (purse(subscription).purchase, expired(subscription)) == (250, 0)

    def test_nothing_expires_twice(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, by_year(price(rollover_cap=50)))
        post(later(AT, 3))
        assert purse(subscription).purchase == 150
        assert expired(subscription) == 250


class TestTerms:
    @pytest.mark.parametrize("cap", [-1, 10**9 + 1, 1.5, True])
    def test_refuse_what_cannot_be(self, cap):
        with pytest.raises(InvalidOffer):
            checked(terms(rollover_cap=cap, prices=[]), OfferKind.PLAN)

    def test_refuse_it_of_a_package(self):
        with pytest.raises(InvalidOffer, match="package"):
            checked(terms(rollover_cap=5), OfferKind.PACKAGE)
