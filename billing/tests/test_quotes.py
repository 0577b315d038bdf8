"""The one function that says what a purchase costs."""

from decimal import Decimal
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.choices import PromotionKind
from billing.quotes import Discount, Item, Reduction, Share, Tier, percentages_off, quote, rate_at

TIERS = [Tier(1_000, 500), Tier(5_000, 1_000), Tier(10_000, 1_500)]


def by_number(credits, price="0.10", currency="usd", **more):
    return quote(Item(credits, currency, unit_price=Decimal(price)), tiers=TIERS, **more)


def off(basis_points, **more):
    return Reduction("SPRING", PromotionKind.PERCENTAGE, basis_points=basis_points, **more)


class TestQuote:
    @pytest.mark.parametrize(
        ("credits", "total", "reasons"),
        [
            (1, 10, []),
            (999, 9_990, []),
            (1_000, 9_500, ["5 % off from 1,000 credits"]),
            (4_999, 47_490, ["5 % off from 1,000 credits"]),
            (5_000, 45_000, ["10 % off from 5,000 credits"]),
            (10_000, 85_000, ["15 % off from 10,000 credits"]),
        ],
    )
    def test_takes_the_tier_that_is_reached_off_all_credits(self, credits, total, reasons):
        found = by_number(credits)
        assert found.total_minor == total
        assert [each.reason for each in found.discounts] == reasons

    def test_explains_every_discount(self):
        found = by_number(1_000, subscriber_basis_points=1_250, promotion=off(2_000))
        assert found.subtotal_minor == 10_000
        assert found.discounts == (
            Discount("5 % off from 1,000 credits", 500),
            Discount("12.5 % off for subscribers", 1_250),
            Discount("SPRING: 20 % off", 2_000, "SPRING"),
        )
        assert (found.total_minor, found.rate) == (6_250, Decimal("0.0625"))

    def test_sells_a_package_at_its_own_price_with_a_promotion_at_most(self):
        item = Item(1_000, "usd", price_minor=9_000)
        found = quote(item, tiers=TIERS, subscriber_basis_points=1_000)
        assert (found.total_minor, found.discounts) == (9_000, ())
        assert quote(item, promotion=off(1_000)).total_minor == 8_100

    def test_takes_an_amount_off_and_never_more_than_is_left(self):
        fixed = Reduction("SPRING", PromotionKind.FIXED, amount_minor=500)
        found = by_number(100, promotion=fixed)
        assert found.discounts == (Discount("SPRING: 5.00 USD off", 500, "SPRING"),)
        assert found.total_minor == 500
        found = by_number(30, promotion=fixed)
        assert (found.total_minor, found.discounts[0].amount_minor) == (0, 300)

    def test_adds_bonus_credits_and_takes_nothing_off(self):
        found = by_number(100, promotion=Reduction("SPRING", PromotionKind.BONUS, bonus_credits=25))
        assert (found.credits, found.bonus_credits, found.total_minor) == (100, 25, 1_000)
        assert found.rate == Decimal("0.1")

    @pytest.mark.parametrize(
        ("price", "currency", "credits", "subtotal"),
        [
            ("0.005", "usd", 1, 1),  # half a cent
            ("0.0049", "usd", 1, 0),
            ("0.025", "usd", 5, 13),
            ("0.5", "jpy", 1, 1),
            ("15.4", "jpy", 1, 15),
            ("0.0305", "kwd", 1, 31),
            ("0.13", "zar", 400, 5_200),
            ("999999.999999", "kwd", 1_000_000_000, 999_999_999_999_000_000),
        ],
    )
    def test_rounds_half_up_to_the_minor_unit_of_the_currency(
        self, price, currency, credits, subtotal
    ):
        item = Item(credits, currency, unit_price=Decimal(price))
        assert quote(item).subtotal_minor == subtotal

    def test_rounds_the_sum_of_percentages_once(self):
        # Each would be half a cent, and both together are one.
        found = percentages_off(1, [Share("a", 5_000), Share("b", 5_000)])
        assert [each.amount_minor for each in found] == [1, 0]

    def test_says_the_price_in_a_tier_to_a_millionth(self):
        assert rate_at(Decimal("0.000333"), 1_500) == Decimal("0.000283")


prices = st.decimals("0.000001", "10", places=6)
parts = st.integers(0, 10_000)
some_promotions = st.none() | st.builds(
    Reduction,
    st.just("X"),
    st.just(PromotionKind.FIXED),
    basis_points=parts,
    amount_minor=st.integers(0, 100_000),
    bonus_credits=st.integers(0, 1_000),
)
tiers = st.lists(
    st.builds(Tier, st.integers(2, 20_000), st.integers(1, 9_999)),
    max_size=4,
    unique_by=lambda tier: tier.from_credits,
)
items = st.builds(
    Item,
    st.integers(1, 100_000),
    st.sampled_from(["usd", "jpy", "kwd"]),
    unit_price=prices,
)


class TestWhatAlwaysHolds:
    @given(items, tiers, parts, some_promotions)
    def test_sums_tie_and_nothing_is_below_zero(self, item, tiers, subscriber, promotion):
        found = quote(item, tiers=tiers, subscriber_basis_points=subscriber, promotion=promotion)
        taken = [each.amount_minor for each in found.discounts]
        assert all(type(amount) is int and amount > 0 for amount in taken)
        assert found.total_minor + sum(taken) == found.subtotal_minor
        assert 0 <= found.total_minor <= found.subtotal_minor

    @given(items, tiers, parts, some_promotions)
    def test_a_promotion_never_makes_it_dearer(self, item, tiers, subscriber, promotion):
        terms = {"tiers": tiers, "subscriber_basis_points": subscriber}
        assert (
            quote(item, promotion=promotion, **terms).total_minor
            <= quote(item, **terms).total_minor
        )

    @given(prices, st.integers(1, 20_000), st.integers(1, 50), parts, some_promotions)
    def test_more_credits_never_cost_less_within_a_tier(
        self, price, credits, more, subscriber, promotion
    ):
        def total(number):
            item = Item(number, "usd", unit_price=price)
            given = {"subscriber_basis_points": subscriber, "promotion": promotion}
            return quote(item, tiers=[Tier(2, 333)], **given).total_minor

        assert total(credits + 2) <= total(credits + 2 + more)

    @given(items, st.permutations(TIERS))
    def test_the_order_of_the_tiers_is_the_same(self, item, shuffled):
        assert quote(item, tiers=shuffled) == quote(item, tiers=TIERS)

    @given(st.integers(0, 10**9), st.lists(parts, min_size=1, max_size=3))
    def test_the_order_of_percentages_is_the_same_and_they_are_right(self, subtotal, shares):
        taken = {
            sum(
                each.amount_minor
                for each in percentages_off(subtotal, [Share("", s) for s in order])
            )
            for order in permutations(shares)
        }
        exact = Fraction(subtotal * min(10_000, sum(shares)), 10_000)
        assert taken == {int(exact + Fraction(1, 2))}
