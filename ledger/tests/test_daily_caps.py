"""What a service key may spend in a day: counted behind the spends, and never wrong for long."""

from datetime import date, datetime, timedelta
from threading import Event, Thread
from time import sleep
from uuid import uuid4

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.utils import timezone

from accounts.models import ApiKey, User
from creditsite.testing.races import race
from ledger.models import DailySpending, Rollup
from ledger.services import daily_caps, posting, rollups
from ledger.services.daily_caps import add_up, counts, spent_today
from ledger.tests.api import Caller, as_service, as_user, poor_user, refused, wallet_id_of
from ledger.tests.books import MICROSECOND, award, header, new_wallet
from ledger.tests.factories import priced_feature

KEY = "key:7"


@pytest.fixture
def user(db) -> User:
    """Somebody with 1,000 credits."""
    user = poor_user()
    award(wallet_id_of(user), 1_000)
    return user


@pytest.fixture
def service(db) -> Caller:
    """A service that may spend 50 credits a day."""
    return as_service(daily_cap=50)


def deduct(service: Caller, user: User, amount: int, key: str | None = None):
    body = {"user_id": user.pk, "amount": amount, "description": "A test"}
    return service.post("credits/deduct", body, key=key or str(uuid4()))


def hold(service: Caller, user: User, amount: int, key: str | None = None):
    body = {"user_id": user.pk, "amount": amount, "description": "A test"}
    return service.post("credits/holds", body, key=key or str(uuid4()))


@pytest.mark.django_db
class TestDailyCap:
    def test_refuses_what_goes_beyond_it_and_says_until_when(self, service, user):
        assert [deduct(service, user, amount).status_code for amount in (30, 20)] == [200, 200]
        midnight = daily_caps.midnight_after(timezone.now())
        response = deduct(service, user, 1)
        assert refused(response) == (429, "daily_cap_reached")
        assert response.json()["daily_cap"] == 50
        wait = int(response["Retry-After"])
        assert abs(midnight - timezone.now() - timedelta(seconds=wait)) < timedelta(seconds=5)

    def test_lets_less_pass_where_more_was_refused(self, service, user):
        statuses = [deduct(service, user, amount).status_code for amount in (51, 40, 11, 10)]
        assert statuses == [429, 200, 429, 200]

    def test_counts_what_other_processes_spent(self, service, user):
        deduct(service, user, 50)
        counts.forget()
        assert deduct(service, user, 1).status_code == 429

    def test_answers_a_repeat(self, service, user):
        first = [deduct(service, user, 30, key="a"), hold(service, user, 20, key="b")]
        again = [deduct(service, user, 30, key="a"), hold(service, user, 20, key="b")]
        assert [each["Idempotent-Replayed"] for each in again] == ["true", "true"]
        assert again[0].json()["transaction"] == first[0].json()["transaction"]
        assert again[1].json()["id"] == first[1].json()["id"]
        assert deduct(service, user, 31, key="a").status_code == 422

    def test_counts_what_is_held_and_never_refuses_a_capture(self, service, user):
        held = hold(service, user, 40).json()["id"]
        counts.forget()
        assert refused(hold(service, user, 11)) == (429, "daily_cap_reached")
        assert refused(deduct(service, user, 11)) == (429, "daily_cap_reached")
        assert deduct(service, user, 10).status_code == 200
        path = f"credits/holds/{held}/capture"
        assert service.post(path, {"amount": 15}, key="done").status_code == 200
        counts.forget()
        assert [deduct(service, user, amount).status_code for amount in (26, 25)] == [429, 200]

    def test_refuses_single_events_of_a_batch(self, service, user):
        priced_feature("report", 20)
        events = [
            {"idempotency_key": f"e{n}", "user_id": user.pk, "feature": "report", "quantity": 1}
            for n in range(3)
        ]
        results = service.post("credits/usage/batch", {"events": events}).json()["results"]
        assert [result["status"] for result in results] == ["charged", "charged", "refused"]
        assert results[2]["code"] == "daily_cap_reached"
        again = service.post("credits/usage/batch", {"events": events}).json()["results"]
        assert [result["status"] for result in again] == ["replayed", "replayed", "refused"]

    def test_is_of_one_key_alone(self, service, user):
        deduct(service, user, 50)
        assert deduct(as_service(daily_cap=50), user, 50).status_code == 200
        assert deduct(as_service(), user, 51).status_code == 200
        body = {"amount": 51, "description": "A test"}
        assert as_user(user).post("credits/deduct", body).status_code == 200

    def test_begins_again_at_midnight(self, service, user):
        deduct(service, user, 50)
        key = ApiKey.objects.get()
        tomorrow = daily_caps.midnight_after(timezone.now())
        assert spent_today(caller=f"key:{key.pk}", at=tomorrow - timedelta(seconds=1)) == 50
        assert spent_today(caller=f"key:{key.pk}", at=tomorrow) == 0
        with time_machine.travel(tomorrow):
            assert deduct(service, user, 50).status_code == 200

    def test_costs_a_spend_no_query_of_its_own(self, service, user, django_assert_max_num_queries):
        deduct(service, user, 1)
        with django_assert_max_num_queries(100) as capped:
            deduct(service, user, 1)
        number = len(capped)  # The next request forgets them.
        free = as_service()
        deduct(free, user, 1)
        with django_assert_max_num_queries(100) as uncapped:
            deduct(free, user, 1)
        assert number == len(uncapped) > 0


# As rollups.NOW, but blind to who else is at work on the server, such as tests beside this one.
NOW_IN_THIS_DATABASE = """
    SELECT clock_timestamp(), coalesce((
        SELECT min(transactionid::text::bigint) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
          AND datname = current_database()
    ), newest), newest
    FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS newest) AS snapshot
"""


class TestAddUp:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        """Add up what was spent a moment ago, not only what was spent a minute ago."""
        monkeypatch.setattr(rollups, "LONGEST_WAIT", timedelta(0))
        monkeypatch.setattr(rollups, "NOW", NOW_IN_THIS_DATABASE)

    def spend(self, wallet: int, amount: int, at: datetime | None = None, caller: str = KEY):
        at = at or timezone.now()
        posting.draw(payers=[wallet], amount=amount, header=header("usage", at, caller=caller))

    def spent(self) -> int:
        return spent_today(caller=KEY, at=timezone.now())

    def rolled_up(self) -> list[tuple[date, int]]:
        days = DailySpending.objects.filter(caller=KEY).order_by("day")
        return list(days.values_list("day", "spent"))

    def add_all_up(self) -> None:
        """Add up until what was spent before is older than a millisecond, and one time more."""
        for _ in range(3):
            sleep(0.002)
            assert add_up()

    def test_counts_every_spend_once_wherever_it_stands(self, ledger_db):
        wallet, today = new_wallet(), timezone.now().date()
        award(wallet, 1_000, timezone.now())
        for number in range(1, 6):
            self.spend(wallet, 10)
            self.spend(wallet, 10, caller="user:7")
            add_up()
            assert self.spent() == 10 * number
        self.add_all_up()
        assert (self.rolled_up(), self.spent()) == ([(today, 50)], 50)
        self.spend(wallet, 10)
        assert self.spent() == 60
        self.add_all_up()
        assert (self.rolled_up(), self.spent()) == ([(today, 60)], 60)
        assert not DailySpending.objects.exclude(caller=KEY).exists()

    def test_skips_nothing_that_commits_late(self, ledger_db):
        wallets, today = [new_wallet(), new_wallet()], timezone.now().date()
        for wallet in wallets:
            award(wallet, 100, timezone.now())
        spent, committed, may_commit = Event(), Event(), Event()

        def spend_slowly() -> None:
            with transaction.atomic():
                self.spend(wallets[0], 7)
                spent.set()
                may_commit.wait(30)
            connections.close_all()
            committed.set()

        add_up()
        Thread(target=spend_slowly, daemon=True).start()
        assert spent.wait(30)
        self.spend(wallets[1], 5)
        for _ in range(3):
            sleep(0.002)
            add_up()
            assert self.spent() == 5
        may_commit.set()
        assert committed.wait(30)
        assert self.spent() == 12
        self.add_all_up()
        assert (self.rolled_up(), self.spent()) == ([(today, 12)], 12)

    def test_waits_for_nobody_who_is_doing_it(self, ledger_db):
        add_up()
        with transaction.atomic():
            Rollup.objects.select_for_update(no_key=True).get()

            def another() -> None:
                with connection.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '100ms'")
                assert not add_up()

            assert race(another) == ["NoneType"]

    def test_adds_up_each_day_by_itself(self, ledger_db):
        wallet, now = new_wallet(), timezone.now()
        midnight = daily_caps.midnight_after(now) - timedelta(days=1)
        award(wallet, 1_000, now - timedelta(days=2))
        for at, amount in [(midnight - timedelta(hours=24), 3), (midnight - MICROSECOND, 4)]:
            self.spend(wallet, amount, at)
        self.spend(wallet, 5, midnight)
        assert self.spent() == 5
        self.add_all_up()
        assert self.rolled_up() == [((midnight - MICROSECOND).date(), 7), (now.date(), 5)]

    def test_knows_of_every_transaction_that_has_not_ended(self, ledger_db, monkeypatch):
        monkeypatch.undo()

        def oldest() -> int:
            with connection.cursor() as cursor:
                cursor.execute(rollups.NOW)
                return cursor.fetchone()[1]

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text::bigint")
            (number,) = cursor.fetchone()
            seen = []

            def look() -> None:
                seen.append(oldest())

            race(look)
        assert seen[0] <= number
