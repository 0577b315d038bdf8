"""Whatever the lines of invoices: credits tie to their sum, and go with the money."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import floor
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.entitlements import (
    Line,
    entitlement_of,
    month_after,
    months_between,
    months_of,
    net_and_tax,
)
from billing.tests.subscriptions import later

ZONES = ["UTC", "America/New_York", "Pacific/Kiritimati", "Africa/Johannesburg", "Asia/Kathmandu"]
BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)
instants = st.integers(0, 5 * 365 * 86_400).map(lambda n: BEGINNING + timedelta(seconds=n))
zones = st.sampled_from(ZONES)
prices = st.tuples(st.integers(1, 5_000), st.integers(1, 50_000))


def whole(anchor: datetime, months: int, credits: int, amount: int) -> Line:
    return Line(1, credits, amount, amount, anchor, later(anchor, months))


class TestMonths:
    @given(instants, zones, prices)
    def test_of_a_whole_year_are_twelve_equal_ones(self, anchor, zone, of):
        credits, amount = of
        found = months_of([whole(anchor, 12, credits * 12, amount)], anchor=anchor, time_zone=zone)
        assert [month.credits for month in found] == [credits] * 12
        assert found[0].starts_at == anchor
        assert found[-1].ends_at == later(anchor, 12)
        for one, next_one in pairwise(found):
            assert one.ends_at == next_one.starts_at
            assert timedelta(days=26) < one.ends_at - one.starts_at < timedelta(days=33)

    @given(instants, zones, prices, st.integers(1, 4))
    def test_of_any_year_are_twelve(self, anchor, zone, of, years):
        credits, amount = of
        line = Line(
            1,
            credits * 12,
            amount,
            amount,
            later(anchor, 12 * years),
            later(anchor, 12 * years + 12),
        )
        found = months_of([line], anchor=anchor, time_zone=zone)
        assert [month.credits for month in found] == [credits] * 12

    @given(instants, zones, prices)
    def test_of_a_month_is_one(self, anchor, zone, of):
        (month,) = months_of([whole(anchor, 1, *of)], anchor=anchor, time_zone=zone)
        assert month == (anchor, later(anchor, 1), of[0], 1)

    @given(instants, zones, prices, prices, st.integers(0, 10**9), st.integers(0, 400))
    def test_of_a_change_tie_to_the_credit(self, anchor, zone, old, new, second, owed):
        end = later(anchor, 12)
        length = int((end - anchor).total_seconds())
        at = anchor + timedelta(seconds=second % length)
        left = int((end - at).total_seconds())
        lines = [
            Line(1, old[0] * 12, old[1], -(old[1] * left // length), at, end, True),
            Line(2, new[0] * 12, new[1], new[1] * left // length, at, end, True),
        ]
        found = months_of(lines, anchor=anchor, time_zone=zone, owed=owed)
        assert sum(m.credits for m in found) == max(entitlement_of(lines) - owed, 0)
        assert all(m.credits > 0 for m in found)
        starts = [m.starts_at for m in found]
        assert starts == sorted(set(starts))
        assert all(at <= m.starts_at < m.ends_at <= end for m in found)

    @given(st.lists(st.tuples(prices, st.integers(-50_000, 50_000)), min_size=1, max_size=8))
    def test_are_never_more_than_the_money_buys(self, lines):
        anchor = datetime(2026, 1, 31, tzinfo=UTC)
        given = [
            Line(1, credits, amount, paid, anchor, later(anchor, 1))
            for (credits, amount), paid in lines
        ]
        exact = sum((Fraction(c * paid, amount) for (c, amount), paid in lines), Fraction(0))
        assert entitlement_of(given) == floor(exact)
        found = months_of(given, anchor=anchor, time_zone="UTC")
        assert sum(m.credits for m in found) == max(floor(exact), 0)


class TestLoops:
    @pytest.mark.parametrize("seed", range(20))
    def test_of_changes_mint_nothing(self, seed):
        """Any way through plans and back gives at most what its money would at the best rate."""
        chance, anchor = Random(seed), datetime(2026, 1, 31, 12, tzinfo=UTC)
        plans = [(chance.randint(1, 900), chance.randint(50, 5_000)) for _ in range(4)]
        end, at = later(anchor, 1), anchor
        whole_seconds = int((end - anchor).total_seconds())
        current = plans[0]
        paid, given, owed = current[1], current[0], 0
        value = Fraction(current[0])
        for _ in range(40):
            at += timedelta(seconds=chance.randint(0, whole_seconds // 50))
            left = Fraction(int((end - at).total_seconds()), whole_seconds)
            new = chance.choice(plans)
            lines = [
                Line(1, *current, -round(current[1] * left), at, end, True),
                Line(2, *new, round(new[1] * left), at, end, True),
            ]
            credits = sum(
                m.credits for m in months_of(lines, anchor=anchor, time_zone="UTC", owed=owed)
            )
            owed += credits - entitlement_of(lines)
            paid += sum(line.amount_minor for line in lines)
            given, current = given + credits, new
            value += sum((line.value for line in lines), Fraction(0))
            # What was given and is owed again is never more than the money has bought, exactly.
            assert given - owed <= value
            assert owed >= 0


class TestTheAnchor:
    def test_of_the_31st_comes_back_after_a_shorter_month(self):
        anchor, zone = datetime(2027, 12, 31, 12, tzinfo=UTC), ZoneInfo("UTC")
        days = [month_after(anchor, n, zone).day for n in range(5)]
        assert days == [31, 31, 29, 31, 30]

    def test_is_counted_by_the_clock_of_its_zone(self):
        zone = ZoneInfo("Pacific/Kiritimati")
        anchor = datetime(2027, 1, 30, 23, tzinfo=UTC)  # The 31st there.
        assert month_after(anchor, 1, zone) == datetime(2027, 2, 27, 23, tzinfo=UTC)
        assert months_between(anchor, datetime(2028, 1, 30, 23, tzinfo=UTC)) == 12


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6))
def test_net_and_tax_are_what_was_paid(paid, more, tax):
    net, of_it = net_and_tax(paid, paid + more, min(tax, paid + more))
    assert net + of_it == paid
    assert 0 <= of_it <= paid
