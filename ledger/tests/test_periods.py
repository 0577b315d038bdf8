"""When what is given every month falls due: every day of a month, any zone, however they change."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from ledger.models import CreditSettings
from ledger.periods import day_begins, falls_due, monthly_due, months_after, period_of

ZONES = [
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Antarctica/Troll",
]
FIRST = date(2024, 1, 1)
SECOND = timedelta(seconds=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def months(number: int, first: date = FIRST) -> list[date]:
    return [months_after(first, each) for each in range(number)]


def version(at: datetime | None, day: int = 1, zone: str = "UTC") -> CreditSettings:
    return CreditSettings(changed_at=at, monthly_day=day, time_zone=zone)


class TestMonthlyDue:
    @pytest.mark.parametrize("zone", ZONES)
    def test_is_the_start_of_the_day_or_of_the_last_of_a_shorter_month(self, zone):
        for day in range(1, 32):
            dues = [monthly_due(period, day, zone) for period in months(60)]
            assert all(one < other for one, other in pairwise(dues))
            for period, due in zip(months(60), dues, strict=True):
                local = due.astimezone(ZoneInfo(zone))
                last = (months_after(period, 1) - timedelta(days=1)).day
                assert local.date() == period.replace(day=min(day, last))
                # Not an hour of that day was before it.
                assert (due - SECOND).astimezone(ZoneInfo(zone)).date() < local.date()
                assert period_of(due, zone) == period

    def test_is_computed_from_the_day_and_not_from_the_month_before(self):
        dues = [monthly_due(period, 31, "UTC").date() for period in months(4)]
        assert dues == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)]

    def test_knows_the_clock_of_the_zone(self):
        assert monthly_due(date(2024, 3, 1), 10, "America/New_York") == utc(2024, 3, 10, 5)
        assert monthly_due(date(2024, 3, 1), 11, "America/New_York") == utc(2024, 3, 11, 4)
        assert monthly_due(date(2024, 4, 1), 7, "Australia/Lord_Howe") == utc(2024, 4, 6, 13)
        assert monthly_due(date(2024, 4, 1), 8, "Australia/Lord_Howe") == utc(2024, 4, 7, 13, 30)
        assert monthly_due(date(2024, 4, 1), 1, "Antarctica/Troll") == utc(2024, 3, 31, 22)


class TestDayBegins:
    def test_where_the_clock_skips_midnight(self):
        # Havana goes from 00:00 to 01:00 on 10 March 2024.
        begins = day_begins(date(2024, 3, 10), "America/Havana")
        assert begins == utc(2024, 3, 10, 5)
        assert begins.astimezone(ZoneInfo("America/Havana")).hour == 1

    def test_where_midnight_comes_twice(self):
        # Havana goes from 01:00 back to 00:00 on 3 November 2024.
        assert day_begins(date(2024, 11, 3), "America/Havana") == utc(2024, 11, 3, 4)

    def test_where_the_day_is_skipped(self):
        # Apia had no 30 December 2011.
        begins = day_begins(date(2011, 12, 30), "Pacific/Apia")
        assert begins == day_begins(date(2011, 12, 31), "Pacific/Apia") == utc(2011, 12, 30, 10)

    def test_goes_forward_in_every_zone(self):
        for zone in sorted(available_timezones()):
            begins = [day_begins(FIRST + timedelta(days=n), zone) for n in range(366)]
            assert all(one < other for one, other in pairwise(begins)), zone


class TestFallsDue:
    @pytest.mark.parametrize("zone", ZONES)
    def test_is_by_the_settings_of_the_beginning_while_they_stay(self, zone):
        terms = version(None, 31, zone)
        for period in months(60):
            assert falls_due(period, [terms]) == (monthly_due(period, 31, zone), terms)

    def test_is_once_when_the_day_is_put_off_after_it_came(self):
        versions = [version(None, 5), version(utc(2024, 3, 10), 20)]
        dues = [falls_due(period, versions).at for period in months(3, date(2024, 2, 1))]
        assert dues == [utc(2024, 2, 5), utc(2024, 3, 5), utc(2024, 4, 20)]

    def test_is_at_the_change_when_the_day_is_moved_into_the_past(self):
        change = utc(2024, 3, 10, 15, 30)
        versions = [version(None, 20), version(change, 5)]
        dues = [falls_due(period, versions) for period in months(3, date(2024, 2, 1))]
        assert [due.at for due in dues] == [utc(2024, 2, 20), change, utc(2024, 4, 5)]
        assert [due.terms for due in dues] == [versions[0], versions[1], versions[1]]

    def test_is_by_the_new_settings_when_they_change_at_that_very_instant(self):
        versions = [version(None, 5), version(utc(2024, 3, 5), 5, "UTC")]
        assert falls_due(date(2024, 3, 1), versions) == (utc(2024, 3, 5), versions[1])

    def test_passes_over_a_version_that_never_was_in_force(self):
        change = utc(2024, 3, 10)
        versions = [version(None, 20), version(change, 1), version(change, 15)]
        assert falls_due(date(2024, 3, 1), versions) == (utc(2024, 3, 15), versions[2])

    @pytest.mark.parametrize("every", [timedelta(hours=7), timedelta(days=3), timedelta(days=40)])
    def test_is_exactly_once_and_in_order_however_zone_and_day_change(self, every):
        versions = [version(None)]
        for number in range(300):
            at = utc(2024, 1, 1) + number * every
            versions.append(version(at, number * 11 % 31 + 1, ZONES[number % len(ZONES)]))
        dues = [falls_due(period, versions) for period in months(60)]
        assert all(one.at <= other.at for one, other in pairwise(dues))
        for period, due in zip(months(60), dues, strict=True):
            in_force = [each for each in versions if (each.changed_at or utc(1, 1, 1)) <= due.at]
            assert due.terms == in_force[-1]
            assert due.at >= monthly_due(period, due.terms.monthly_day, due.terms.time_zone)


class TestPeriodOf:
    def test_is_the_month_that_the_clock_of_the_zone_shows(self):
        at = utc(2024, 2, 29, 23, 30)
        assert [period_of(at, zone).month for zone in ZONES] == [2, 2, 3, 3, 2]


class TestMonthsAfter:
    @pytest.mark.parametrize(
        ("number", "month"),
        [
            (0, date(2024, 1, 1)),
            (11, date(2024, 12, 1)),
            (12, date(2025, 1, 1)),
            (-1, date(2023, 12, 1)),
        ],
    )
    def test_counts_over_the_end_of_years(self, number, month):
        assert months_after(FIRST, number) == month
