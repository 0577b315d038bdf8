"""
What is given every month: once for each rule, wallet and period, whatever happens.

``AWARDS=whole`` drives every day of the month through sixty months and five time zones.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from itertools import product

import pytest
from django.core.management import call_command
from django.db import transaction

from accounts.choices import JobStatus
from accounts.models import Job, JobChunk, User
from accounts.services import jobs
from accounts.services.users import change_partner
from accounts.tasks import run_job
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, NotPermitted
from creditsite.testing import command_running, race
from ledger import tasks
from ledger.choices import AwardRule, GrantSource, SignUpFrequency
from ledger.models import AwardRun, CreditTransaction, Grant, Wallet
from ledger.periods import monthly_due, months_after, period_of
from ledger.queries.awards import due_awards, figures_of, next_due
from ledger.queries.wallets import wallet_of
from ledger.services import award_runs, backfill, posting
from ledger.services.award_runs import CHUNK, preview_award, run_due_awards
from ledger.tests.factories import (
    DAY,
    CustomerFactory,
    bulk_created,
    close,
    finance,
    moves_of,
    set_credit_settings,
)
from ledger.tests.test_backfill import somebody_waits_for_us
from ledger.tests.test_periods import ZONES, utc

WHOLE = os.environ.get("AWARDS") == "whole"
JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in (1, 2, 3, 4))
JOINED = utc(2025, 12, 20)
MONTHLY = {"sign_up_credits": 40, "sign_up_frequency": SignUpFrequency.MONTHLY}
MINUTES = timedelta(minutes=10)


def beat(at: datetime) -> list[str]:
    """Do what the worker does every ten minutes, jobs included; return what was run."""
    runs = run_due_awards(actor=None, at=at)
    for run in runs:
        assert jobs.run_job(run.job, clock=lambda: at).status == JobStatus.DONE
    return [str(run) for run in runs]


def person(at: datetime = JOINED, **fields) -> User:
    return CustomerFactory(date_joined=at, **fields)


def given_to(user: User) -> list[tuple[str, int]]:
    """Return what the user was given, as reference and credits."""
    given = CreditTransaction.objects.filter(wallet__user=user).exclude(reference_id="")
    return list(given.order_by("number").values_list("reference_id", "amount"))


def from_january(*, day: int = 5, **terms) -> None:
    """Let these settings be in force from the end of December on; before, nothing was given."""
    set_credit_settings(changed_at=utc(2025, 12, 25), monthly_day=day, **terms)


@pytest.mark.django_db
class TestRunDueAwards:
    def test_gives_nothing_by_default(self):
        person(is_partner=True)
        assert beat(utc(2026, 6, 1)) == []
        assert not Job.objects.exists()

    def test_gives_partners_their_allotment_from_the_instant_it_is_due(self):
        partner, other = person(is_partner=True), person()
        from_january(partner_allotment=200)
        assert beat(utc(2026, 1, 5) - timedelta(microseconds=1)) == []
        assert beat(utc(2026, 1, 5)) == ["Partner allotment for 2026-01"]
        assert given_to(partner) == [("partner_allotment:2026-01", 200)]
        assert given_to(other) == []
        grant = Grant.objects.get(wallet__user=partner)
        assert (grant.credit_type, grant.source) == ("partner", GrantSource.PARTNER_ALLOTMENT)
        booked = CreditTransaction.objects.get(wallet__user=partner)
        assert (booked.kind, booked.description) == ("partner", "Partner allotment for 2026-01")
        assert (booked.actor, booked.caller, booked.recorded_at) == (
            None,
            "system",
            utc(2026, 1, 5),
        )

    def test_gives_once_however_often_the_beat_fires(self):
        user = person(is_partner=True)
        from_january(partner_allotment=200, **MONTHLY)
        for _ in range(3):
            beat(utc(2026, 1, 5))
            beat(utc(2026, 1, 9))
        assert Counter(given_to(user)) == {
            ("sign_up:2026-01", 40): 1,
            ("partner_allotment:2026-01", 200): 1,
        }

    def test_catches_up_with_each_missed_period_the_oldest_first(self):
        user = person()
        from_january(**MONTHLY)
        assert beat(utc(2026, 3, 20)) == [
            f"Sign-up credits for 2026-0{month}" for month in (1, 2, 3)
        ]
        assert given_to(user) == [(f"sign_up:2026-0{month}", 40) for month in (1, 2, 3)]

    def test_catches_up_with_twelve_periods_at_the_most(self):
        user = person(utc(2023, 1, 1))
        set_credit_settings(**MONTHLY)
        beat(utc(2026, 1, 1))
        expected = [months_after(JANUARY, -number) for number in range(11, -1, -1)]
        assert [reference for reference, _ in given_to(user)] == [
            f"sign_up:{period:%Y-%m}" for period in expected
        ]

    def test_owes_nothing_for_a_period_in_which_the_rule_was_off(self):
        user = person(is_partner=True)
        from_january(partner_allotment=200)
        set_credit_settings(changed_at=utc(2026, 2, 1), partner_allotment=0)
        set_credit_settings(changed_at=utc(2026, 2, 20), partner_allotment=300)
        beat(utc(2026, 3, 20))
        assert given_to(user) == [
            ("partner_allotment:2026-01", 200),
            ("partner_allotment:2026-03", 300),
        ]

    def test_goes_by_the_settings_in_force_when_it_was_due(self):
        user = person()
        from_january(**MONTHLY, award_expiry_days=20)
        set_credit_settings(changed_at=utc(2026, 1, 6), sign_up_credits=90, award_expiry_days=None)
        beat(utc(2026, 2, 10))
        assert given_to(user) == [("sign_up:2026-01", 40), ("sign_up:2026-02", 90)]
        grants = Grant.objects.filter(wallet__user=user).order_by("pk")
        assert [grant.expires_at for grant in grants] == [utc(2026, 2, 10) + 20 * DAY, None]

    def test_gives_no_period_twice_and_skips_none_when_the_day_is_moved(self):
        user = person()
        from_january(day=20, **MONTHLY)
        beat(utc(2026, 1, 20))
        # Moved into the past on the 10th: due with the change. Then put off after it was run.
        set_credit_settings(changed_at=utc(2026, 2, 10), monthly_day=3)
        assert beat(utc(2026, 2, 10)) == ["Sign-up credits for 2026-02"]
        beat(utc(2026, 3, 3))
        set_credit_settings(changed_at=utc(2026, 3, 4), monthly_day=28)
        beat(utc(2026, 3, 28))
        beat(utc(2026, 4, 28))
        assert given_to(user) == [(f"sign_up:2026-0{month}", 40) for month in (1, 2, 3, 4)]

    def test_passes_over_staff_the_inactive_and_closed_wallets(self):
        from_january(**MONTHLY)
        staff, inactive, closed = person(is_staff=True), person(is_active=False), person()
        close(wallet_of(closed))
        beat(utc(2026, 1, 5))
        assert [given_to(user) for user in (staff, inactive, closed)] == [[], [], []]
        assert figures_of(Job.objects.get()) == {"users": 0, "credits": 0}

    def test_opens_wallets_of_users_made_in_bulk(self):
        (user,) = bulk_created(1, role=None, date_joined=JOINED)
        from_january(**MONTHLY)
        beat(utc(2026, 1, 5))
        assert given_to(user) == [("sign_up:2026-01", 40)]

    def test_gives_to_who_is_a_partner_when_the_run_comes(self):
        before, after = person(is_partner=True), person()
        from_january(partner_allotment=200)
        change = {"actor": StaffFactory(), "reason": "agreed with them", "at": utc(2026, 1, 6)}
        change_partner(user=before, is_partner=False, **change)
        change_partner(user=after, is_partner=True, **change)
        beat(utc(2026, 1, 7))
        assert (given_to(before), given_to(after)) == ([], [("partner_allotment:2026-01", 200)])

    def test_works_in_chunks(self):
        first = person(pk=1_000_000)
        others = [person(pk=1_000_000 + n * CHUNK) for n in (1, 2)]
        from_january(**MONTHLY)
        beat(utc(2026, 1, 5))
        assert [given_to(user) for user in (first, *others)] == [[("sign_up:2026-01", 40)]] * 3
        assert JobChunk.objects.count() == 3
        assert Job.objects.get().result == {"users": 3, "credits": 120}

    @pytest.mark.parametrize("number", [1, 30])
    def test_takes_two_statements_however_many_users(self, number, django_assert_num_queries):
        users = bulk_created(number, date_joined=JOINED)
        from_january(**MONTHLY)
        (run,) = run_due_awards(actor=None, at=utc(2026, 1, 5))
        with django_assert_num_queries(3):  # and one for what the run is
            result = award_runs.award_chunk(
                job=run.job, lower=users[0].pk, upper=users[-1].pk + 1, at=utc(2026, 1, 5)
            )
        assert result == {"users": number, "credits": number * 40}

    def test_refuses_a_member_of_staff_who_may_not(self):
        from_january(**MONTHLY)
        with pytest.raises(NotPermitted):
            run_due_awards(actor=StaffFactory(groups="Support"), at=utc(2026, 1, 5))
        assert not AwardRun.objects.exists()

    def test_says_so_to_staff_where_nothing_is_due(self):
        with pytest.raises(Conflict, match="Nothing is due"):
            run_due_awards(actor=finance(), at=utc(2026, 1, 5))

    def test_records_who_asked_and_what_was_given(self):
        actor = finance()
        person()
        from_january(**MONTHLY)
        (run,) = run_due_awards(actor=actor, at=utc(2026, 1, 5), reason="cannot wait")
        jobs.run_job(run.job, clock=lambda: utc(2026, 1, 5, 1))
        asked, given = AuditEvent.objects.order_by("pk")
        assert (asked.action, asked.actor_id, asked.reason) == (
            "ledger.awards.started",
            actor.pk,
            "cannot wait",
        )
        assert (given.action, given.actor_id, given.at) == (
            "ledger.awards.given",
            None,
            utc(2026, 1, 5, 1),
        )
        assert given.after == {"amount": 40, "status": "done", "users": 1, "credits": 40}
        assert str(given) == "The system gave Sign-up credits for 2026-01"
        assert CreditTransaction.objects.get().actor is None

    def test_records_what_was_given_before_it_was_cancelled(self):
        person()
        from_january(**MONTHLY)
        (run,) = run_due_awards(actor=None, at=utc(2026, 1, 5))
        now = {"actor": StaffFactory(), "reason": "not this month", "at": utc(2026, 1, 6)}
        jobs.cancel_job(job=run.job, **now)
        given = AuditEvent.objects.get(action="ledger.awards.given")
        assert given.after == {"amount": 40, "status": "cancelled", "users": 0, "credits": 0}
        assert beat(utc(2026, 1, 7)) == []


@pytest.mark.django_db
class TestWhoRegisteredInTheMonth:
    """They had theirs when they registered; a run for that month gives them nothing."""

    def test_is_given_once_for_that_month_and_then_every_month(self):
        from_january(day=15, **MONTHLY)
        early, late = person(utc(2026, 1, 3)), person(utc(2026, 1, 20))
        for day in (16, 47):
            beat(utc(2026, 1, 1) + day * DAY)
        both = [("sign_up:2026-01", 40), ("sign_up:2026-02", 40)]
        assert (given_to(early), given_to(late)) == (both, both)

    def test_who_registers_at_the_due_instant_is_in_and_later_is_not(self):
        from_january(partner_allotment=200)
        due = utc(2026, 1, 5)
        users = [person(due + n * timedelta(microseconds=1), is_partner=True) for n in (-1, 0, 1)]
        beat(utc(2026, 1, 8))
        given = [("partner_allotment:2026-01", 200)]
        assert [given_to(user) for user in users] == [given, given, []]

    def test_is_given_nothing_again_under_another_address(self):
        from_january(day=15, **MONTHLY)
        user = person(utc(2026, 1, 3))
        user.email = "somebody.else@example.com"
        user.save()
        beat(utc(2026, 1, 15))
        assert given_to(user) == [("sign_up:2026-01", 40)]
        beat(utc(2026, 2, 15))
        assert given_to(user) == [("sign_up:2026-01", 40), ("sign_up:2026-02", 40)]

    def test_nor_is_who_has_the_address_now(self):
        from_january(day=15, **MONTHLY)
        first = person(utc(2026, 1, 3), email="ada@example.com")
        first.email = "lovelace@example.com"
        first.save()
        (second,) = bulk_created(1, role=None, date_joined=JOINED, email="ada@example.com")
        beat(utc(2026, 1, 15))
        assert given_to(second) == []

    def test_is_given_nothing_again_when_once_becomes_monthly_meanwhile(self):
        from_january(day=15, sign_up_credits=40)
        user = person(utc(2026, 1, 3))
        set_credit_settings(changed_at=utc(2026, 1, 10), **MONTHLY)
        beat(utc(2026, 2, 15))
        assert given_to(user) == [("sign_up:2026-01", 40), ("sign_up:2026-02", 40)]

    @pytest.mark.parametrize(
        ("zone", "month"), [("UTC", "2026-01"), ("Pacific/Chatham", "2026-02")]
    )
    def test_months_are_those_of_the_business_time_zone(self, zone, month):
        from_january(time_zone=zone, **MONTHLY)
        user = person(utc(2026, 1, 31, 23))
        assert given_to(user) == [(f"sign_up:{month}", 40)]

    def test_a_changed_zone_gives_no_month_twice_and_skips_none(self):
        """They register in January, which the zone of before calls February, or the other way."""
        for before, after in product(["Etc/GMT+12", "Etc/GMT-14"], repeat=2):
            with transaction.atomic():
                from_january(day=1, time_zone=before, **MONTHLY)
                user = person(utc(2026, 1, 31, 11))
                set_credit_settings(changed_at=utc(2026, 1, 31, 11, 30), time_zone=after)
                for hours in range(0, 24 * 65, 24):
                    beat(utc(2026, 1, 31, 11, 30) + timedelta(hours=hours))
                references = [reference for reference, _ in given_to(user)]
                first = "2026-02" if before == "Etc/GMT-14" else "2026-01"
                expected = [first, "2026-02", "2026-03", "2026-04"]
                assert references == [f"sign_up:{each}" for each in dict.fromkeys(expected)]
                transaction.set_rollback(True)

    def test_a_backfill_in_the_month_counts_as_registering(self):
        from_january(day=15, **MONTHLY)
        (user,) = bulk_created(1, date_joined=JOINED)
        job = backfill.create_backfill(role=None, actor=None, at=utc(2026, 1, 10))
        jobs.run_job(job, clock=lambda: utc(2026, 1, 10))
        beat(utc(2026, 1, 15))
        assert moves_of(wallet_of(user)) == [("award", 350), ("award", 40)]


@pytest.mark.django_db
class TestDueAwards:
    def test_is_what_the_preview_counts_and_the_run_gives(self):
        from_january(**MONTHLY)
        users = [person(), person(utc(2026, 1, 7)), person(is_staff=True)]
        (award,) = due_awards(utc(2026, 1, 8))
        assert (award.rule, award.period, award.at) == (AwardRule.SIGN_UP, JANUARY, utc(2026, 1, 5))
        assert preview_award(award) == 1
        beat(utc(2026, 1, 8))
        assert [len(given_to(user)) for user in users] == [1, 1, 0]
        assert due_awards(utc(2026, 1, 8)) == []
        assert preview_award(award) == 0


@pytest.mark.django_db
class TestNextDue:
    def test_is_the_next_period_of_the_settings_in_force(self):
        from_january(day=31)
        assert next_due(utc(2026, 2, 10)) == (FEBRUARY, utc(2026, 2, 28))
        assert next_due(utc(2026, 2, 28)) == (MARCH, utc(2026, 3, 31))
        set_credit_settings(changed_at=utc(2026, 3, 1), monthly_day=1, time_zone="Etc/GMT-14")
        assert next_due(utc(2026, 3, 2)) == (APRIL, utc(2026, 3, 31, 10))


THINNED = [(1, "Pacific/Chatham"), (29, "America/New_York"), (31, "Antarctica/Troll")]
COMBINATIONS = list(product(range(1, 32), ZONES)) if WHOLE else THINNED
MONTHS = 60 if WHOLE else 6


def ticks(first: date, day: int, zone: str) -> Iterator[datetime]:
    """
    Yield when the beat fires: thrice at and around each due instant.

    In every fourth month it falls silent a day before that, for forty days.
    """
    silent_until = utc(2000, 1, 1)
    for number in range(MONTHS + 1):
        due = monthly_due(months_after(first, number), day, zone)
        if number % 4 == 2:
            silent_until = due - DAY + 40 * DAY
        for at in (due - timedelta(seconds=1), due, due + MINUTES, due + 12 * DAY):
            if at >= silent_until:
                yield from [at] * 3


@pytest.mark.django_db
class TestProof:
    """Every day of the month in every zone: one award for each rule, wallet and period."""

    @pytest.mark.parametrize(("day", "zone"), COMBINATIONS)
    def test_one_award_for_each_rule_wallet_and_period(self, day, zone):
        set_credit_settings(monthly_day=day, time_zone=zone, partner_allotment=7, **MONTHLY)
        begins = monthly_due(JANUARY, 1, zone)
        offsets = [timedelta(0), 20 * DAY + MINUTES, 40 * DAY, 40 * DAY]
        users = [person(begins + offset, is_partner=True) for offset in offsets]
        last = begins
        for at in ticks(JANUARY, day, zone):
            last = at
            beat(at)
        for user in users:
            first = period_of(user.date_joined, zone)
            expected = [("sign_up", first)]
            for number in range(MONTHS + 2):
                period = months_after(JANUARY, number)
                if user.date_joined <= monthly_due(period, day, zone) <= last:
                    expected.append(("partner_allotment", period))
                    if period != first:
                        expected.append(("sign_up", period))
            given = sorted(reference for reference, _ in given_to(user))
            assert given == sorted(f"{rule}:{period:%Y-%m}" for rule, period in expected)


@pytest.mark.django_db
class TestWhateverIsKilled:
    def test_beats_that_race_start_one_run(self, ledger_db):
        users = bulk_created(20, date_joined=JOINED)
        from_january(**MONTHLY)
        outcomes = race(*[lambda: beat(utc(2026, 1, 5)) for _ in range(4)])
        assert outcomes == ["list"] * 4
        assert AwardRun.objects.count() == Job.objects.count() == 1
        assert [given_to(user) for user in users] == [[("sign_up:2026-01", 40)]] * 20

    def test_a_run_that_is_killed_gives_to_everyone_exactly_once(self, ledger_db):
        # Three chunks of two users each, by their ids.
        ids = [1_000_000 + chunk * CHUNK + n for chunk in range(3) for n in range(2)]
        users = [user for pk in ids for user in bulk_created(1, pk=pk, date_joined=JOINED)]
        last_month = datetime.now(UTC).replace(day=1) - DAY
        set_credit_settings(changed_at=last_month, partner_allotment=0, **MONTHLY)
        opened = wallet_of(users[3])
        with transaction.atomic():
            # The second chunk has opened its other wallet when it comes to wait for this lock.
            posting.lock_wallet(opened.pk)
            with command_running("run_awards") as command:
                command.kill_when(somebody_waits_for_us)
        with transaction.atomic():
            # Its connection outlives it for a moment; it has the chunk locked as long.
            chunks = list(JobChunk.objects.select_for_update().order_by("lower"))
        assert [chunk.done_at is not None for chunk in chunks] == [True, False, False]
        assert list(Wallet.objects.filter(user__in=users[2:])) == [opened]

        out = StringIO()
        call_command("run_awards", stdout=out)
        run = AwardRun.objects.get()
        assert run.job.status == JobStatus.DONE
        given = [(f"sign_up:{run.period:%Y-%m}", 40)]
        assert [given_to(user) for user in users] == [given] * 6
        assert run.job.result == {"users": 6, "credits": 240}


@pytest.mark.django_db
class TestCommand:
    @pytest.fixture(autouse=True)
    def last_month(self, time_machine):
        person()
        from_january(**MONTHLY)
        time_machine.move_to(utc(2026, 1, 10), tick=False)

    def call(self, *arguments: str) -> list[list[str]]:
        out = StringIO()
        call_command("run_awards", *arguments, stdout=out)
        return [line.split() for line in out.getvalue().splitlines()]

    def test_says_what_it_gave_and_what_comes_next(self):
        said = self.call()
        assert said[1] == ["Sign-up", "credits", "for", "2026-01", "2026-01-05", "00:00", "1", "40"]
        assert said[2] == ["Next:", "2026-02,", "due", "2026-02-05", "00:00", "UTC."]
        assert len(self.call()) == 2
        assert CreditTransaction.objects.count() == 1

    def test_says_in_a_dry_run_what_it_would_give(self):
        assert self.call("--dry-run")[1][-2:] == ["1", "40"]
        assert not AwardRun.objects.exists()
        assert self.call()[1][-2:] == ["1", "40"]


@pytest.mark.django_db
class TestTask:
    def test_starts_what_is_due_and_wakes_a_worker(
        self, time_machine, monkeypatch, django_capture_on_commit_callbacks
    ):
        woken = []
        monkeypatch.setattr(run_job, "delay", lambda **given: woken.append(given))
        from_january(**MONTHLY)
        time_machine.move_to(utc(2026, 1, 10), tick=False)
        with django_capture_on_commit_callbacks(execute=True):
            tasks.run_awards()
            tasks.run_awards()
        assert woken == [{"job_id": AwardRun.objects.get().job_id}]
