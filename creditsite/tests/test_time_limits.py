"""Nobody waits for the database for ever."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, connections, transaction

from creditsite.tests.test_settings import PRODUCTION, manage
from ledger.models import CreditTransaction
from ledger.tests.api import as_user, poor_user, refused, wallet_id_of
from ledger.tests.books import award


def shown(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


@contextmanager
def limits(**milliseconds: int) -> Iterator[None]:
    """Let every connection of the test's own database have these limits."""
    options = connections.settings["default"]["OPTIONS"]
    before = options["options"]
    options["options"] = " ".join(f"-c {name}={ms}" for name, ms in milliseconds.items())
    connection.close()
    yield
    options["options"] = before


@contextmanager
def locked(wallet_id: int) -> Iterator[None]:
    """Have somebody else's transaction hold the lock of a wallet while the block runs."""
    has_it, done = Event(), Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT ledger_lock_wallet(%s)", [wallet_id])
            has_it.set()
            done.wait(30)
        connection.close()

    other = Thread(target=hold)
    other.start()
    assert has_it.wait(30)
    try:
        yield
    finally:
        done.set()
        other.join()


class TestTheLimits:
    @pytest.mark.django_db
    def test_are_those_of_every_connection(self) -> None:
        wanted = settings.DATABASE_TIMEOUTS_MS
        assert wanted["lock_timeout"] == 10_000
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, setting::int FROM pg_settings WHERE name = ANY (%s)", [[*wanted]]
            )
            assert dict(cursor.fetchall()) == wanted

    def test_leave_out_the_statements_of_commands(self) -> None:
        asked = "from django.conf import settings; print(settings.DATABASE_TIMEOUTS_MS)"
        shell = manage("shell", "--verbosity=0", "-c", asked, **PRODUCTION)
        assert "'statement_timeout': 0, 'lock_timeout': 10000" in shell.stdout


class TestWhoWaits:
    def test_for_a_lock_is_told_to_try_again(self, ledger_db: str) -> None:
        user = poor_user()
        award(wallet_id_of(user), 10)
        charge = {"amount": 3, "description": "A report"}
        with limits(lock_timeout=200), locked(wallet_id_of(user)):
            started = time.monotonic()
            answer = as_user(user).post("credits/deduct", charge, key="k")
            assert time.monotonic() - started < 5
        assert refused(answer) == (503, "unavailable")
        assert CreditTransaction.objects.filter(kind="usage").count() == 0
        assert as_user(user).post("credits/deduct", charge, key="k").status_code == 200

    def test_for_an_advisory_lock_is_told_as_well(self, ledger_db: str) -> None:
        with limits(lock_timeout=200):
            other = connections.create_connection("default")
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(1)")
            with (
                pytest.raises(OperationalError, match="lock timeout"),
                connection.cursor() as cursor,
            ):
                cursor.execute("SELECT pg_advisory_xact_lock(1)")
            other.close()

    def test_for_a_statement_is_freed_of_it(self, ledger_db: str) -> None:
        with (
            limits(statement_timeout=200),
            pytest.raises(OperationalError, match="statement timeout"),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_sleep(30)")

    def test_for_who_forgot_to_end_a_transaction_gets_the_lock(self, ledger_db: str) -> None:
        wallet = wallet_id_of(poor_user())
        with limits(idle_in_transaction_session_timeout=300, lock_timeout=10_000):
            idle = connections.create_connection("default")
            with idle.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT ledger_lock_wallet(%s)", [wallet])
            with connection.cursor() as cursor:
                cursor.execute("SELECT ledger_lock_wallet(%s)", [wallet])
                assert cursor.fetchone() == (True,)
            with pytest.raises(DatabaseError, match="idle"), idle.cursor() as cursor:
                cursor.execute("COMMIT")
