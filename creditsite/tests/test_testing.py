import signal
import threading

import pytest
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from creditsite.testing import assert_rejected_at_commit, command_running, race
from creditsite.testing.databases import database_name


def add_row(key: str) -> Session:
    return Session.objects.create(session_key=key, expire_date=timezone.now())


def rows() -> set[str]:
    return set(Session.objects.values_list("session_key", flat=True))


class TestLedgerDb:
    def test_commits_where_other_threads_see_it(self, ledger_db):
        add_row("seen")
        seen: list[set[str]] = []

        def look() -> None:
            seen.append(rows())
            connections.close_all()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [{"seen"}]

    def test_begins_as_the_migrations_left_it(self, ledger_db):
        assert rows() == set()
        assert add_row("next").pk == "next"

    @pytest.mark.django_db
    def test_stands_in_for_the_database_of_a_marked_test(self, ledger_db):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            assert cursor.fetchone() == (ledger_db,)
        assert not connection.in_atomic_block

    @pytest.mark.django_db
    def test_leaves_the_test_database_as_it_was(self):
        assert database_name().endswith("_template") is False
        assert (rows(), connection.in_atomic_block) == (set(), True)


class TestRace:
    def test_names_results_and_refusals_in_order(self, ledger_db):
        add_row("taken")
        outcomes = race(
            lambda: Session.objects.get(pk="taken"),
            lambda: Session.objects.get(pk="missing"),
            lambda: None,
        )
        assert outcomes == ["Session", "DoesNotExist", "NoneType"]

    def test_lets_them_meet(self, ledger_db):
        meeting = threading.Barrier(8)
        assert race(*[lambda: meeting.wait(timeout=30)] * 8) == ["int"] * 8

    def test_leaves_no_connection_behind(self, ledger_db):
        race(*[lambda: rows()] * 4)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            assert cursor.fetchone()[0] <= 5  # Ours, and any that are just leaving.


@pytest.mark.django_db
class TestAssertRejectedAtCommit:
    @pytest.fixture
    def deferred(self):
        """A table whose constraint is looked at only at commit."""
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE late"
                " (n int CONSTRAINT late_once UNIQUE DEFERRABLE INITIALLY DEFERRED)"
            )
            yield cursor

    def test_accepts_what_commit_refuses_and_rolls_it_back(self, deferred):
        with assert_rejected_at_commit("late_once"):
            deferred.execute("INSERT INTO late VALUES (1), (1)")
        deferred.execute("SELECT count(*) FROM late")
        assert deferred.fetchone() == (0,)

    def test_fails_on_what_commit_takes(self, deferred):
        with (
            pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"),
            assert_rejected_at_commit("late_once"),
        ):
            deferred.execute("INSERT INTO late VALUES (1), (2)")

    def test_fails_on_what_is_refused_before(self, deferred):
        with (
            pytest.raises(DatabaseError, match="division by zero"),
            assert_rejected_at_commit("division by zero"),
        ):
            deferred.execute("SELECT 1 / 0")


class TestCommandRunning:
    def test_works_on_the_database_of_the_test(self, ledger_db):
        add_row("expired")
        with command_running("clearsessions") as command:
            assert (command.wait(), command.output) == (0, "")
        assert rows() == set()

    def test_is_killed_in_the_middle(self, ledger_db):
        add_row("locked")
        with transaction.atomic():
            Session.objects.select_for_update().get(pk="locked")
            with command_running("clearsessions") as command:
                command.kill_when(is_somebody_waiting)
                assert command.process.returncode == -signal.SIGKILL
        assert rows() == {"locked"}

    def test_says_what_a_command_said_that_ended_too_early(self, ledger_db):
        with (
            command_running("no_such_command") as command,
            pytest.raises(AssertionError, match="Unknown command"),
        ):
            command.kill_when(lambda: False)


def is_somebody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
