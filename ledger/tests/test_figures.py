"""Figures by day and the reports made of them, against plain Python over the rows of the books."""

import csv
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from io import StringIO
from itertools import pairwise
from random import Random
from time import sleep
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Sum
from structlog.testing import capture_logs

from creditsite.csvfiles import csv_lines
from creditsite.money import digits_of
from creditsite.testing import race
from ledger import tasks
from ledger.choices import CreditType, GrantSource
from ledger.models import (
    CreditSettings,
    CreditTransaction,
    DailyCredits,
    DailyMoney,
    Grant,
    GrantDay,
    LockedMonth,
    MoneyReturn,
    Rollup,
)
from ledger.queries.figures import (
    FIGURES,
    business_day,
    given_by_day,
    money_moved,
    recognised,
    spent_by_day,
)
from ledger.queries.liability import money_by_currency
from ledger.reports import REPORTS
from ledger.reports.shapes import Period, Report
from ledger.services import figures, posting, rollups
from ledger.tests import test_state_machine
from ledger.tests.books import (
    DAY,
    HOUR,
    MICROSECOND,
    START,
    award,
    buy,
    claw_back,
    deduct,
    give,
    grant_of,
    header,
    new_wallet,
    partner,
    reinstate,
    reverse,
    spend,
)
from ledger.tests.factories import finance, set_credit_settings
from ledger.tests.figures import RawBooks, deferred
from ledger.tests.test_daily_caps import NOW_IN_THIS_DATABASE
from ledger.tests.test_state_machine import LedgerMachine

HISTORIES = int(os.environ.get("FIGURES_HISTORIES", 3))
STEPS = 160
# What at least one of the histories must come to; "refunded" has a test of its own.
EVERYTHING = [
    *("brought_in", "sold", "granted", "spent", "expired", "clawed_back", "adjusted", "reversed"),
    *("voided", "debt_repaid", "paid", "returned", "used", "breakage", "released"),
    *("used and given back", "carried over with money"),
]
LEAST, MOST = UUID(int=0), UUID(int=2**128 - 1)
ZONES = ["UTC", "America/New_York", "Pacific/Auckland", "Pacific/Pago_Pago", "Australia/Lord_Howe"]
PERIOD_REPORTS = [
    "liability",
    "revenue",
    "free-credits",
    *("consumption-by-feature", "consumption-by-day", "consumption-by-user"),
]


def roll_to(upper: UUID | None = None) -> None:
    """Add up what has an id below ``upper``, or all, whoever else is at work on the server."""
    upper = upper or UUID(int=CreditTransaction.objects.latest("pk").pk.int + 1)
    rollup, _ = Rollup.objects.get_or_create(
        name=FIGURES, defaults={"before": LEAST, "next_before": LEAST, "next_xid": 0}
    )
    if upper > rollup.before:
        figures._add_up(rollup.before, upper)
        Rollup.objects.filter(name=FIGURES).update(before=upper, next_before=upper)


def differences() -> list[str]:
    return [each for finding in figures.findings(START) for each in finding.violations]


def build(slug: str, first: date, last: date, at: datetime) -> Report:
    return REPORTS[slug].build(Period(first, last), at)


def rows_of(report: Report) -> list[dict[str, Any]]:
    names = [column.name for column in report.columns]
    return [dict(zip(names, row, strict=True)) for row in report.rows]


def as_csv(report: Report) -> str:
    """Return all of a report, totals too, as the bytes of its file would say."""
    names = [column.name for column in report.columns]
    return "".join(csv_lines(names, [*report.rows, *report.totals]))


class History(LedgerMachine):
    """What the state machine does, over months, in two currencies and under changing settings."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random

    def ask(self, name: str, kind: str, model: Any, engine: Any, *args: Any, **more: Any) -> None:
        feature = self.random.choice(["report", "llm.input", ""])
        if kind == "usage":
            asked = engine
            engine = lambda header: asked(header._replace(feature=feature))  # noqa: E731
        super().ask(name, kind, model, engine, *args, **more)

    def change_settings(self) -> None:
        self.at += MICROSECOND  # What was added up already was before it.
        set_credit_settings(
            changed_at=self.at,
            time_zone=self.random.choice(ZONES),
            recovery_cost=Decimal(self.random.choice(["0.0183", "0.333333", "1.5"])),
            recovery_currency=self.random.choice(["ZAR", "JPY"]),
        )


@pytest.fixture
def histories(db, monkeypatch) -> Iterator[History]:
    """Machines whose time passes in days, and whose purchases differ in currency and source."""
    monkeypatch.setattr(test_state_machine, "SECONDS", [1, 7_200, 86_400, 5 * 86_400, 12 * 86_400])
    post_grant, random = posting.post_grant, Random("figures")

    def post_in_some_currency(**asked: Any):
        if asked["paid_minor"]:
            asked["currency"] = random.choice(["usd", "eur"])
            asked["source"] = random.choice([GrantSource.PACKAGE, GrantSource.OPENING])
        return post_grant(**asked)

    monkeypatch.setattr(posting, "post_grant", post_in_some_currency)

    def machines() -> Iterator[History]:
        for number in range(HISTORIES):
            random.seed(f"figures {number}")
            machine = History(random)
            yield machine
            machine.teardown()

    return machines()


def check_credits(books: RawBooks, first: date, last: date, at: datetime) -> None:
    report = build("liability", first, last, at)
    expected = books.roll_forward(first, last)
    total: dict[str, int] = {}
    for row in rows_of(report):
        line = expected.pop(row.pop("credits"), {})
        assert row == {name: line.get(name, 0) for name in row}
        total = {name: total.get(name, 0) + row[name] for name in row}
    assert not any(any(line.values()) for line in expected.values())
    assert list(report.totals[0][1:]) == list(total.values())
    outstanding = build("outstanding", last, last, at)
    assert dict(list(outstanding.rows)) == {row[0]: row[-1] for row in report.rows}


def check_money(books: RawBooks, first: date, last: date, at: datetime) -> None:
    report = build("revenue", first, last, at)
    before = books.money(first - timedelta(days=1))
    after = books.money(last)
    assert {row[1] for row in report.totals} == set(after)
    for _, currency, opening, *movements, closing in report.totals:
        assert opening == deferred(before[currency])
        assert closing == deferred(after[currency])
        assert movements == [
            after[currency][name] - before[currency][name]
            for name in ("brought_in", "paid", "returned", "used", "breakage", "released")
        ]
    opened = {row[1]: row[2] for row in report.totals}
    for row in rows_of(report):
        month, currency = row["month"], row["currency"]
        to = min(last, (month + timedelta(days=31)).replace(day=1) - timedelta(days=1))
        since = books.money(max(first, month) - timedelta(days=1))[currency]
        until = books.money(to)[currency]
        assert (row["opening"], row["closing"]) == (opened[currency], deferred(until))
        assert all(row[name] == until[name] - since[name] for name in until)
        opened[currency] = row["closing"]
    present = build("deferred", last, last, at)
    assert {row["currency"]: row["deferred"] for row in rows_of(present)} == {
        currency: deferred(line) for currency, line in after.items()
    }


def check_use(books: RawBooks, first: date, last: date, at: datetime) -> None:
    report = build("free-credits", first, last, at)
    expected = books.used_free(first, last)
    lines = {
        (row["month"], row["credits"], row["unit_cost"], row["currency"]): row["used"]
        for row in rows_of(report)
    }
    assert lines == expected
    for *_, currency, used, cost in report.totals:
        mine = {key: credits for key, credits in expected.items() if key[3] == currency}
        exact = sum(key[2] * credits for key, credits in mine.items())
        assert used == sum(mine.values())
        assert cost == exact.scaleb(digits_of(currency)).to_integral_value(ROUND_HALF_UP)
        assert cost == sum(row[5] for row in report.rows if row[3] == currency)
    by_feature, by_day, by_user = (
        build(f"consumption-by-{name}", first, last, at) for name in ("feature", "day", "user")
    )
    assert by_feature.totals[0][1:] == by_day.totals[0][1:] == by_user.totals[0][1:]
    for report, by in ((by_feature, "feature"), (by_day, "day")):
        found = books.consumption(first, last, by)
        for row in rows_of(report):
            line = found.pop("" if row[by] == "(none)" else row.pop(by), {})
            row.pop(by, None)
            assert row == {name: line.get(name, 0) for name in row}
        assert not any(any(line.values()) for line in found.values())
    users = books.consumption(first, last, "wallet")
    assert [row["net"] for row in rows_of(by_user)] == sorted(
        (line["net"] for line in users.values()), reverse=True
    )


class TestRandomHistories:
    def test_say_in_every_report_what_plain_python_says(self, histories: Iterator[History]) -> None:
        moved: set[str] = set()
        for history in histories:
            random = history.random
            for step in range(STEPS):
                history.step(random.randbytes(6))
                if random.random() < 0.04:
                    history.change_settings()
                ids = list(CreditTransaction.objects.order_by("pk").values_list("pk", flat=True))
                if ids and random.random() < 0.1:
                    roll_to(random.choice([*ids, None]))
                if step % (STEPS // 2) == STEPS // 2 - 1:
                    self.check(history)
            assert differences() == []
            roll_to()
            self.check(history)
            self.check_each_order(random)
            moved |= self.moved(history.at)
        assert moved >= {*EVERYTHING}

    def moved(self, at: datetime) -> set[str]:
        """Return what was not zero at least once, so that it was really compared."""
        everything = (date(2026, 1, 1), date(2027, 12, 31), at)
        lines = [*rows_of(build("liability", *everything)), *rows_of(build("revenue", *everything))]
        if DailyCredits.objects.filter(source="", reverses="usage", feature="report").exists():
            lines.append({"used and given back": 1})
        if GrantDay.objects.filter(carried_minor__gt=0).exists():
            lines.append({"carried over with money": 1})
        return {name for line in lines for name, figure in line.items() if figure}

    def check(self, history: History) -> None:
        books, at = RawBooks(), history.at
        today = business_day(at)
        days = sorted({*books.days.values(), today})
        first, last = sorted(history.random.choices(days, k=2))
        for start, end in {(first, last), (first.replace(day=1), today), (days[0], first)}:
            check_credits(books, start, end, at)
            check_money(books, start, end, at)
            check_use(books, start, end, at)
        report = build("liability", first, last, at)
        earlier = build("liability", days[0], first - timedelta(days=1), at)
        assert [row[1] for row in report.rows] == [row[-1] for row in earlier.rows]
        now = build("outstanding", today, today, at)
        left = Grant.objects.aggregate(left=Sum("remaining", default=0))["left"]
        assert now.totals == [("All", left)]
        assert {
            row["currency"]: row["deferred"] for row in rows_of(build("deferred", today, today, at))
        } == {each.currency: each.deferred for each in money_by_currency(at)}

    def check_each_order(self, random: Random) -> None:
        """Whatever is added up first, the figures are the same."""
        for model in (DailyCredits, GrantDay, DailyMoney):
            model.objects.all().delete()
        ids = list(CreditTransaction.objects.order_by("pk").values_list("pk", flat=True))
        cuts = [LEAST, *sorted(random.sample(ids, min(5, len(ids)))), MOST]
        slices = list(pairwise(cuts))
        random.shuffle(slices)
        for lower, upper in slices:
            figures._add_up(lower, upper)
        assert differences() == []


def eventful_month(month: datetime) -> int:
    """Do something of everything with a wallet in a month, and return the wallet."""
    wallet = new_wallet()
    award(wallet, 50, month, expires_at=month + 2 * DAY)
    spent = spend(wallet, 20, month + HOUR)
    posting.expire(at=month + 3 * DAY, limit=10)
    reverse(spent, at=month + 3 * DAY)
    partner(wallet, 30, month + 4 * DAY)
    bought = buy(wallet, 99, 1_000, month + 5 * DAY)
    spend(wallet, 75, month + 6 * DAY)
    claw_back(grant_of(bought), 40, 404, month + 7 * DAY)
    reinstate(grant_of(bought), 20, 202, month + 8 * DAY)
    deduct(wallet, 3, month + 9 * DAY)
    spend(wallet, 60, month + 10 * DAY, short="debt")
    return wallet


@pytest.mark.django_db
class TestALockedMonth:
    def test_never_changes_again(self) -> None:
        january, february = START, START + 31 * DAY
        set_credit_settings(time_zone="Pacific/Auckland")
        month = START.date().replace(day=1), START.date().replace(day=31)

        def said() -> list[str]:
            return [as_csv(build(slug, *month, at)) for slug in PERIOD_REPORTS]

        wallet = eventful_month(january + 12 * HOUR)
        at = datetime(2026, 1, 31, 12, tzinfo=UTC)  # 1 February in Auckland
        before = said()
        assert all(line.count("\n") > 2 for line in before)
        roll_to()
        assert said() == before
        # Another zone in which it is January still, another cost, and use of January told late.
        actor = finance()
        set_credit_settings(
            changed_at=at, time_zone="Pacific/Pago_Pago", recovery_cost=9, changed_by=actor
        )
        award(wallet, 1_000, at + HOUR)
        usage = header("usage", at + HOUR, feature="report", occurred_at=january + 5 * DAY)
        posting.draw(payers=[wallet], amount=25, header=usage)
        reverse(spend(wallet, 9, at + HOUR), at=at + 2 * HOUR)
        eventful_month(february + DAY)
        assert said() == before
        roll_to()
        assert said() == before
        assert differences() == []

    def test_is_locked_when_a_day_has_passed_and_all_is_added_up(self) -> None:
        eventful_month(START)
        second = START + 32 * DAY
        roll_to(CreditTransaction.objects.latest("pk").pk)
        assert figures.lock_months(at=second) == []
        roll_to()
        assert figures.lock_months(at=second - MICROSECOND) == []
        assert figures.lock_months(at=second) == [date(2026, 1, 1)]
        assert figures.lock_months(at=second) == []
        eventful_month(START + 31 * DAY)
        roll_to()
        assert figures.lock_months(at=START + 95 * DAY) == [date(2026, 2, 1), date(2026, 3, 1)]
        assert differences() == []

    def test_tells_when_it_has_changed(self) -> None:
        eventful_month(START)
        roll_to()
        figures.lock_months(at=START + 40 * DAY)
        award(new_wallet(), 1, START)
        roll_to()
        assert differences() == ["2026-01 has changed since it was locked"]

    def test_is_never_locked_anew(self) -> None:
        eventful_month(START)
        roll_to()
        figures.lock_months(at=START + 40 * DAY)
        for change in (
            LockedMonth.objects.all().delete,
            lambda: LockedMonth.objects.update(digest=""),
        ):
            with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
                change()


@pytest.mark.django_db
class TestBusinessDay:
    def test_is_that_of_utc_until_settings_say_otherwise(self) -> None:
        assert business_day(START - MICROSECOND) == date(2025, 12, 31)
        assert business_day(START) == date(2026, 1, 1)

    def test_follows_the_zone_through_its_changes_of_clock(self) -> None:
        set_credit_settings(time_zone="America/New_York")
        for month, hours in ((1, 5), (7, 4)):
            midnight = datetime(2026, month, 2, hours, tzinfo=UTC)
            assert business_day(midnight - MICROSECOND) == date(2026, month, 1)
            assert business_day(midnight) == date(2026, month, 2)

    def test_never_comes_back_when_the_zone_changes(self) -> None:
        noon = datetime(2026, 3, 31, 12, tzinfo=UTC)
        set_credit_settings(time_zone="Pacific/Auckland")
        set_credit_settings(changed_at=noon, time_zone="Pacific/Pago_Pago")
        set_credit_settings(changed_at=noon + HOUR, time_zone="UTC")
        days = [business_day(noon + number * HOUR) for number in (-1, 0, 1, 13, 36)]
        assert days == [date(2026, 4, 1)] * 4 + [date(2026, 4, 2)]

    def test_is_of_the_last_version_of_an_instant(self) -> None:
        set_credit_settings(changed_at=START, time_zone="Pacific/Auckland")
        set_credit_settings(changed_at=START, time_zone="UTC")
        assert business_day(START + 23 * HOUR) == date(2026, 1, 1)

    def test_and_cost_default_to_what_settings_default_to(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT time_zone, unit_cost, cost_currency FROM ledger_stretches()")
            (row,) = cursor.fetchall()
        settings = CreditSettings()
        assert row == (
            settings.time_zone,
            settings.recovery_cost,
            settings.recovery_currency.lower(),
        )


@pytest.mark.django_db
class TestReports:
    FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)

    def test_say_nothing_of_empty_books(self) -> None:
        for kind in REPORTS.values():
            report = kind.build(Period(self.FIRST, self.LAST), START)
            rows = [value for row in report.rows for value in row if type(value) is int]
            assert not any(rows)

    def test_count_a_refund_of_a_dispute_apart_from_reversals(self) -> None:
        wallet = new_wallet()
        award(wallet, 100)
        for kind, amount in (("refund", 10), ("reversal", 7)):
            spent = spend(wallet, 20)
            assert spent.transaction_id
            posting.restore(transaction=spent.transaction_id, amount=amount, header=header(kind))
        (awards, *_) = rows_of(build("liability", self.FIRST, self.LAST, START))
        assert (awards["spent"], awards["refunded"], awards["reversed"]) == (-40, 10, 7)
        (feature,) = rows_of(build("consumption-by-feature", self.FIRST, self.LAST, START))
        assert (feature["uses"], feature["given_back"], feature["net"]) == (2, 17, 23)

    def test_carry_the_cost_of_what_is_given_back_at_what_it_was_counted_at(self) -> None:
        wallet, later = new_wallet(), START + 10 * DAY
        award(wallet, 100)
        spent = spend(wallet, 60)
        set_credit_settings(changed_at=START + DAY, recovery_cost=1, recovery_currency="ZAR")
        spend(wallet, 3, later)
        reverse(spent, 50, later)
        rows = rows_of(build("free-credits", self.FIRST, self.LAST, later))
        assert [(row["unit_cost"], row["used"], row["cost"]) for row in rows] == [
            (Decimal("0.0183"), 10, 18),
            (Decimal(1), 3, 300),
        ]

    def test_split_revenue_into_use_and_breakage(self) -> None:
        wallet = new_wallet()
        buy(wallet, 3, 100, expires_at=START + DAY)
        spend(wallet, 1)
        posting.expire(at=START + 2 * DAY, limit=10)
        (row,) = rows_of(build("revenue", self.FIRST, self.LAST, START + 2 * DAY))
        assert (row["used"], row["breakage"], row["closing"]) == (33, 67, 0)
        assert recognised(self.FIRST, self.LAST) == {"usd": 100}
        days = money_moved("day", first=self.FIRST, last=self.LAST)
        assert [(row["day"].day, row["used"], row["breakage"]) for row in days] == [
            (1, 33, 0),
            (3, 0, 67),
        ]

    def test_begin_months_in_the_time_zone_of_business(self) -> None:
        set_credit_settings(time_zone="Pacific/Auckland")
        new_year = datetime(2025, 12, 31, 11, tzinfo=UTC)
        wallet = new_wallet()
        buy(wallet, 10, 500, new_year - MICROSECOND)
        spend(wallet, 4, new_year)
        (row,) = rows_of(build("revenue", self.FIRST, self.LAST, START))
        assert (row["opening"], row["paid"], row["used"]) == (500, 0, 200)
        paid = rows_of(build("liability", self.FIRST, self.LAST, START))[2]
        assert (paid["opening"], paid["spent"]) == (10, -4)

    def test_count_what_is_carried_over_as_paid_for_however_little_it_was(self) -> None:
        wallet = new_wallet()
        buy(wallet, 100, 1, expires_at=START + DAY)
        spent = spend(wallet, 10)
        posting.expire(at=START + DAY, limit=10)
        for amount in (5, 2):  # The first takes the cent along.
            reverse(spent, amount, START + DAY)
        carried = Grant.objects.filter(is_open=True).order_by("id")
        assert list(carried.values_list("amount", "paid_minor")) == [(5, 1), (2, 0)]
        paid, unfunded = rows_of(build("liability", self.FIRST, self.LAST, START))[2:]
        assert (paid["closing"], unfunded["closing"]) == (7, 0)
        roll_to()
        assert differences() == []

    def test_show_months_in_which_nothing_moved(self) -> None:
        buy(new_wallet(), 10, 500)
        rows = rows_of(build("revenue", self.FIRST, date(2026, 3, 31), START))
        assert [(row["month"].month, row["opening"], row["closing"]) for row in rows] == [
            (1, 0, 500),
            (2, 500, 500),
            (3, 500, 500),
        ]

    def test_tell_what_is_brought_in_apart_from_sales(self) -> None:
        money: dict[str, Any] = {"paid_minor": 300, "currency": "usd"}
        money["source"] = GrantSource.OPENING
        give(new_wallet(), 30, CreditType.PURCHASE, "purchase", **money)
        line = rows_of(build("liability", self.FIRST, self.LAST, START))[2]
        assert (line["brought_in"], line["sold"]) == (30, 0)
        (row,) = rows_of(build("revenue", self.FIRST, self.LAST, START))
        assert (row["brought_in"], row["paid"]) == (300, 0)

    def test_tell_what_was_spent_and_given_on_each_day(self) -> None:
        wallet = new_wallet()
        award(wallet, 100)
        buy(wallet, 50, 500, START + DAY)
        reverse(spend(wallet, 30, START + DAY), 10, START + 2 * DAY)
        first, second, third = (self.FIRST + timedelta(days=number) for number in range(3))
        assert given_by_day(first, third) == {first: 100, second: 50}
        assert spent_by_day(first, third) == {second: 30, third: -10}

    def test_read_a_person_s_share_in_pieces(self, monkeypatch) -> None:
        monkeypatch.setattr("ledger.reports.consumption.ROWS_AT_A_TIME", 2)
        for amount in (5, 1, 3, 2, 4):
            wallet = new_wallet()
            award(wallet, 10)
            spend(wallet, amount)
        with transaction.atomic():  # Whoever asks may end their transaction before they read.
            report = build("consumption-by-user", self.FIRST, self.LAST, START)
        assert [row["net"] for row in rows_of(report)] == [5, 4, 3, 2, 1]
        assert report.totals[0][7] == 15


class TestAddUp:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        """Add up what moved a moment ago, not only what moved a minute ago."""
        monkeypatch.setattr(rollups, "LONGEST_WAIT", timedelta(0))
        monkeypatch.setattr(rollups, "NOW", NOW_IN_THIS_DATABASE)

    def add_all_up(self) -> None:
        for _ in range(3):
            sleep(0.002)
            tasks.add_up_figures()

    def test_adds_up_all_there_is_in_slices(self, ledger_db, monkeypatch) -> None:
        monkeypatch.setattr(figures, "TRANSACTIONS_AT_A_TIME", 4)
        added: list[int] = []
        add = figures._add_up

        def add_and_tell(lower: UUID, upper: UUID) -> int:
            added.append(add(lower, upper))
            return added[-1]

        monkeypatch.setattr(figures, "_add_up", add_and_tell)
        eventful_month(START)
        transactions = CreditTransaction.objects.count()
        self.add_all_up()
        assert max(added) == 4
        assert sum(added) == transactions
        assert (
            DailyCredits.objects.aggregate(Sum("transactions"))["transactions__sum"] == transactions
        )
        assert differences() == []

    def test_counts_once_what_is_added_up_by_two_at_once(self, ledger_db) -> None:
        for _ in range(3):
            eventful_month(START)
            sleep(0.002)
            race(*[figures.add_up] * 4)
        self.add_all_up()
        assert differences() == []

    def test_leaves_figures_as_they_are_for_whoever_reads_meanwhile(self, ledger_db, monkeypatch):
        monkeypatch.setattr(figures, "TRANSACTIONS_AT_A_TIME", 1)
        eventful_month(START)
        period = (date(2026, 1, 1), date(2026, 1, 31), START + 40 * DAY)

        def said() -> str:
            return as_csv(build("liability", *period)) + as_csv(build("revenue", *period))

        before, seen = said(), set()
        race(self.add_all_up, lambda: seen.update(said() for _ in range(40)))
        assert GrantDay.objects.exists()
        assert seen == {before}

    def test_changes_nothing_when_it_is_cut_short(self, ledger_db, monkeypatch) -> None:
        figures.add_up()
        eventful_month(START)
        sleep(0.002)
        figures.add_up()
        before = list(Rollup.objects.values())
        with monkeypatch.context() as broken:
            broken.setattr(figures, "ADD_MONEY", "SELECT 1 / 0, %s, %s")
            with pytest.raises(DatabaseError):
                figures.add_up()
        assert list(Rollup.objects.values()) == before
        assert not DailyCredits.objects.exists()
        self.add_all_up()
        assert DailyCredits.objects.exists()
        assert differences() == []


@pytest.mark.django_db
class TestVerifyFigures:
    DAMAGES = (
        lambda: DailyCredits.objects.filter(kind="usage").update(credits=-1),
        lambda: DailyCredits.objects.filter(kind="award").delete(),
        lambda: GrantDay.objects.update(used=1_000),
        lambda: DailyMoney.objects.update(breakage=1),
        lambda: DailyMoney.objects.all().delete(),
    )

    def run(self) -> tuple[str, str, int]:
        out = StringIO()
        try:
            call_command("verify_figures", stdout=out)
        except CommandError as error:
            return out.getvalue(), str(error), error.returncode
        return out.getvalue(), "", 0

    @pytest.fixture(autouse=True)
    def added_up(self) -> None:
        eventful_month(START)
        roll_to()

    def test_ends_well_when_all_is_as_the_ledger_says(self) -> None:
        out, error, status = self.run()
        assert [line[:5] for line in out.splitlines()] == ["is so"] * len(figures.CHECKS)
        assert (error, status) == ("", 0)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_tells_what_differs(self, damage) -> None:
        damage()
        out, error, status = self.run()
        assert "differs" in out
        assert "is told, the ledger says" in out
        assert error.startswith("Figures differ in ")
        assert status == 1

    def test_by_night_logs_what_differs_and_locks_nothing(self) -> None:
        with capture_logs() as logs:
            tasks.verify_figures()
        assert logs == []
        assert LockedMonth.objects.filter(month="2026-01-01").exists()
        locked = LockedMonth.objects.count()
        DailyMoney.objects.filter(day__month=1).update(paid=7)
        with capture_logs() as logs:
            tasks.verify_figures()
        assert {each["event"] for each in logs} == {"ledger.figures_differ"}
        assert LockedMonth.objects.count() == locked


class TestMigration:
    def test_takes_the_money_returned_before_from_the_grants(self, ledger_db, monkeypatch) -> None:
        executor = MigrationExecutor(connection)
        executor.migrate([("ledger", "0010_awards")])
        # The settings had fewer columns then.
        monkeypatch.setattr(posting, "_grace", lambda at: timedelta(days=30))
        wallet = new_wallet()
        bought = buy(wallet, 100, 1_000)
        other = buy(wallet, 10, 500)
        claw_back(grant_of(bought), 50, 500)
        claw_back(grant_of(other), 10, 500)
        spend(wallet, 1)
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
        returned = MoneyReturn.objects.order_by("transaction_id")
        assert list(returned.values_list("grant_id", "amount_minor")) == [
            (grant_of(bought), 500),
            (grant_of(other), 500),
        ]
        assert {each.transaction.kind for each in returned} == {"clawback"}
        claw_back(grant_of(bought), 60, 600)
        assert list(returned.values_list("amount_minor", flat=True)) == [500, 500, 100]
        assert differences() == []


def test_the_csv_of_a_report_reads_back(db) -> None:
    eventful_month(START)
    report = build("revenue", date(2026, 1, 1), date(2026, 1, 31), START + 20 * DAY)
    lines = list(csv.reader(StringIO(as_csv(report))))
    assert lines[0][:3] == ["month", "currency", "opening"]
    assert lines[1][:2] == ["2026-01-01", "usd"]
