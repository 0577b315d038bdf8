"""What credits cost by number, by currency, and who changes it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.utils import ProgrammingError

from audit.models import AuditEvent
from billing.errors import InvalidOffer, StaleVersion, UnknownCurrency
from billing.models import CreditRate, Discounts
from billing.queries.rates import discounts_at, prices_at, rate_in
from billing.quotes import Tier
from billing.services.rates import set_discounts, set_rate
from creditsite.errors import Conflict
from creditsite.testing.races import race
from ledger.tests.factories import AT, finance, set_credit_settings

WHY = {"at": AT, "reason": "as it was decided"}
DAY = timedelta(days=1)


def rate(currency="eur", price="0.09", **more):
    price = None if price is None else Decimal(price)
    given = {"currency": currency, "price_per_credit": price, "actor": None, **WHY}
    return set_rate(**given | more)


def discounts(*tiers, subscribers=1_000, version=0, **more):
    given = {"tiers": [Tier(*tier) for tier in tiers], "actor": None, **WHY}
    return set_discounts(subscriber_basis_points=subscribers, version=version, **given | more)


@pytest.mark.django_db
class TestSetRate:
    def test_counts_from_then_on_until_the_next(self):
        actor = finance()
        rate(actor=actor)
        rate(price="0.08", at=AT + DAY)
        rate(price=None, at=AT + 2 * DAY)
        at = [prices_at(AT + days * DAY).get("eur") for days in (-1, 0, 1, 2)]
        assert at == [None, Decimal("0.09"), Decimal("0.08"), None]
        event = AuditEvent.objects.filter(action="billing.rate.set").order_by("pk")[1]
        assert (event.before["price_per_credit"], event.after["price_per_credit"]) == (
            "0.09",
            "0.08",
        )

    def test_leaves_the_currency_of_the_settings_to_them(self):
        rate()
        set_credit_settings(currency="EUR", price_per_credit="0.2")
        assert prices_at(AT) == {"eur": Decimal("0.2")}
        with pytest.raises(InvalidOffer, match="in the settings"):
            rate(price="0.3")

    @pytest.mark.parametrize(
        ("currency", "price"),
        [
            ("xxx", "1"),
            ("EUR", "1"),
            *(("eur", price) for price in ["0", "-1", "0.0000001", "1000000", "NaN"]),
        ],
    )
    def test_refuses_what_is_no_price_or_currency(self, currency, price):
        with pytest.raises(InvalidOffer):
            rate(currency, price)
        assert not CreditRate.objects.exists()

    def test_refuses_what_would_change_nothing(self):
        with pytest.raises(Conflict):
            rate(price=None)
        rate()
        with pytest.raises(Conflict):
            rate()

    def test_never_changes_a_version(self):
        rate()
        discounts((500, 100))
        for rows in (CreditRate.objects, Discounts.objects):
            with pytest.raises(ProgrammingError, match="never changes"), transaction.atomic():
                rows.update(changed_at=AT)


@pytest.mark.django_db
class TestSetDiscounts:
    def test_counts_from_then_on_and_is_recorded(self):
        discounts((2_000, 1_000), (500, 250), subscribers=0)
        assert discounts_at(AT).volume == [
            {"from": 500, "basis_points": 250},
            {"from": 2_000, "basis_points": 1_000},
        ]
        before = discounts_at(AT - DAY)
        assert [tier["from"] for tier in before.volume] == [1_000, 5_000, 10_000]
        event = AuditEvent.objects.get(action="billing.discounts.set")
        assert event.before["subscriber_basis_points"] == 1_000
        assert event.after["subscriber_basis_points"] == 0

    def test_may_be_none(self):
        discounts(subscribers=0)
        assert rate_in("", AT).tiers == []

    @pytest.mark.parametrize(
        ("tiers", "subscribers"),
        [
            ([(1, 100)], 0),
            ([(100, 0)], 0),
            ([(100, 10_000)], 0),
            ([(100, 200), (100, 300)], 0),
            ([(100, 200), (200, 100)], 0),
            ([(100, 200), (200, 200)], 0),
            ([(100, 5_000)], 5_000),
            ([], 10_000),
            ([], -1),
            ([(number, number) for number in range(2, 13)], 0),
        ],
    )
    def test_refuses_what_takes_all_or_is_no_scale(self, tiers, subscribers):
        with pytest.raises(InvalidOffer):
            discounts(*tiers, subscribers=subscribers)
        assert not Discounts.objects.exists()

    def test_refuses_a_form_that_is_out_of_date_and_one_that_says_nothing(self):
        made = discounts((500, 250))
        with pytest.raises(StaleVersion):
            discounts((500, 300))
        with pytest.raises(Conflict):
            discounts((500, 250), version=made.pk)

    def test_of_two_at_once_changes_one(self, ledger_db):
        outcomes = race(*(lambda n=n: discounts((500, n)) for n in (100, 200)))
        assert sorted(outcomes) == ["Discounts", "StaleVersion"]


@pytest.mark.django_db
class TestRateIn:
    def test_is_of_the_settings_where_no_currency_is_named(self):
        assert rate_in("", AT)[:2] == ("usd", Decimal("0.1"))

    @pytest.mark.parametrize("currency", ["eur", "USD", "xxx", "us"])
    def test_refuses_a_currency_that_nothing_is_sold_in(self, currency):
        with pytest.raises(UnknownCurrency):
            rate_in(currency, AT)

    def test_sells_nothing_at_a_price_of_zero(self):
        set_credit_settings(price_per_credit=0)
        with pytest.raises(UnknownCurrency):
            rate_in("", AT)
