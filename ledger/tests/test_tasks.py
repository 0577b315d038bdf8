from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from structlog.testing import capture_logs

from creditsite.testing import race
from ledger import tasks
from ledger.choices import HoldStatus
from ledger.models import Grant, Hold
from ledger.tests.factories import (
    DAY,
    HOUR,
    MINUTE,
    available,
    balances_of,
    moves_of,
    open_hold,
    wallet_with_credits,
)
from ledger.tests.test_check_ledger import damage


@pytest.fixture
def yesterday():
    return timezone.now() - DAY


def expired_wallet(yesterday, **credits):
    """A wallet whose credits have expired an hour ago and are not booked yet."""
    expires_at = timezone.now() - HOUR
    return wallet_with_credits(**(credits or {"award": 10}), at=yesterday, expires_at=expires_at)


@pytest.mark.django_db
class TestExpireGrants:
    def test_books_what_has_expired_and_nothing_else(self, yesterday):
        over = expired_wallet(yesterday, award=10, purchase=20)
        later = wallet_with_credits(award=5, at=yesterday, expires_at=timezone.now() + HOUR)
        never = wallet_with_credits(award=5, at=yesterday)
        tasks.expire_grants()
        assert moves_of(over)[2:] == [("expiry", -10), ("expiry", -20)]
        assert [len(moves_of(wallet)) for wallet in (later, never)] == [1, 1]
        assert not Grant.objects.filter(wallet=over, is_open=True).exists()

    @pytest.mark.parametrize("number", [4, 5])
    def test_goes_on_until_none_is_left(self, yesterday, monkeypatch, number):
        monkeypatch.setattr(tasks, "GRANTS_AT_A_TIME", 2)
        wallets = [expired_wallet(yesterday) for _ in range(number)]
        tasks.expire_grants()
        assert {tuple(moves_of(w)) for w in wallets} == {(("award", 10), ("expiry", -10))}

    def test_books_nothing_twice(self, yesterday):
        wallet = expired_wallet(yesterday)
        tasks.expire_grants()
        tasks.expire_grants()
        assert len(moves_of(wallet)) == 2

    def test_books_nothing_twice_when_two_run_at_once(self, ledger_db, yesterday):
        wallets = [expired_wallet(yesterday) for _ in range(20)]
        assert race(tasks.expire_grants, tasks.expire_grants) == ["NoneType", "NoneType"]
        assert {tuple(moves_of(w)) for w in wallets} == {(("award", 10), ("expiry", -10))}

    def test_leaves_what_is_held_until_its_hold_ends(self, yesterday):
        wallet = expired_wallet(yesterday)
        open_hold(wallet, 7, at=yesterday, expires_in=2 * DAY)
        tasks.expire_grants()
        tasks.expire_grants()
        assert moves_of(wallet)[1:] == [("expiry", -3)]
        assert balances_of(wallet, timezone.now())["award"] == 7


@pytest.mark.django_db
class TestReleaseExpiredHolds:
    def test_releases_what_has_timed_out_and_nothing_else(self):
        start = timezone.now() - HOUR
        wallet = wallet_with_credits(award=100, at=start)
        over = open_hold(wallet, 30, at=start, expires_in=HOUR - MINUTE)
        running = open_hold(wallet, 20, at=start, expires_in=2 * HOUR)
        tasks.release_expired_holds()
        assert Hold.objects.get(pk=over).status == HoldStatus.EXPIRED
        assert Hold.objects.get(pk=running).status == HoldStatus.OPEN
        assert available(wallet, timezone.now()) == 80
        assert moves_of(wallet) == [("award", 100)]

    @pytest.mark.parametrize("number", [4, 5])
    def test_goes_on_until_none_is_left(self, monkeypatch, number):
        monkeypatch.setattr(tasks, "HOLDS_AT_A_TIME", 2)
        start = timezone.now() - HOUR
        wallet = wallet_with_credits(award=100, at=start)
        for _ in range(number):
            open_hold(wallet, 10, at=start, expires_in=MINUTE)
        tasks.release_expired_holds()
        assert available(wallet, timezone.now()) == 100
        tasks.release_expired_holds()
        assert Hold.objects.filter(status=HoldStatus.EXPIRED).count() == number

    def test_books_at_once_what_expired_meanwhile(self, yesterday):
        wallet = expired_wallet(yesterday)
        open_hold(wallet, 7, at=yesterday, expires_in=timedelta(hours=23, minutes=30))
        tasks.expire_grants()
        tasks.release_expired_holds()
        assert moves_of(wallet)[1:] == [("expiry", -3), ("expiry", -7)]


@pytest.mark.django_db
class TestCheckLedger:
    @pytest.mark.breaks_the_books
    def test_logs_each_break_as_an_error(self):
        wallet = wallet_with_credits(award=10)
        with capture_logs() as logs:
            tasks.check_ledger()
        assert logs == []
        damage("UPDATE ledger_wallet SET debt = 1 WHERE id = %(w)s", wallet)
        with capture_logs() as logs:
            tasks.check_ledger()
        assert logs == [
            {
                "event": "ledger.invariant_broken",
                "log_level": "error",
                "violation": "A wallet's debt is the sum of its debts:"
                f" wallet {wallet.pk}: 1, debts say 0",
            }
        ]

    def test_gives_its_connection_back_with_the_timeout_it_had(self):
        def timeout():
            with connection.cursor() as cursor:
                cursor.execute("SHOW statement_timeout")
                return cursor.fetchone()[0]

        before = timeout()
        tasks.check_ledger()
        assert timeout() == before != "0"
