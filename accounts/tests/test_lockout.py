from datetime import UTC, datetime, timedelta

import pytest

from accounts.errors import SignInLocked
from accounts.models import KnownAddress, SignInFailures
from accounts.services import lockout
from creditsite.testing.races import race

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADA, HOME, AWAY = "ada@example.com", "192.0.2.1", "198.51.100.7"


def fail(times: int = 1, *, email: str = ADA, address: str | None = HOME, at: datetime = AT):
    for _ in range(times):
        lockout.count_failure(email=email, address=address, at=at)


def is_locked(*, email: str = ADA, address: str | None = HOME, at: datetime = AT) -> bool:
    try:
        lockout.refuse_if_locked(email=email, address=address, at=at)
    except SignInLocked:
        return True
    return False


def forgive(*, email: str = ADA, address: str | None = HOME, at: datetime = AT):
    lockout.forgive(email=email, address=address, at=at)


def fail_from_everywhere(times: int, *, email: str = ADA):
    for number in range(times):
        fail(email=email, address=f"203.0.113.{number}")


@pytest.mark.django_db
class TestRefuseIfLocked:
    def test_locks_an_account_from_an_address_after_five_wrong_sign_ins(self):
        fail(4)
        assert not is_locked()
        fail()
        assert is_locked()
        assert not is_locked(address=AWAY)
        assert not is_locked(email="bob@example.com")

    def test_locks_an_account_from_anywhere_after_twenty(self):
        fail_from_everywhere(19)
        assert not is_locked(address=AWAY)
        fail(address="203.0.113.19")
        assert is_locked(address=AWAY)
        assert not is_locked(email="bob@example.com", address=AWAY)

    def test_locks_an_address_over_all_accounts(self, settings):
        settings.SIGN_IN_LIMITS = {**settings.SIGN_IN_LIMITS, "address": 10}
        for number in range(10):
            assert not is_locked(email="bob@example.com")
            fail(email=f"user{number}@example.com")
        assert is_locked(email="bob@example.com")
        assert not is_locked(email="bob@example.com", address=AWAY)

    def test_leaves_the_address_that_the_account_is_known_by_open(self):
        forgive()
        fail_from_everywhere(20)
        assert (is_locked(), is_locked(address=AWAY)) == (False, True)
        fail(5)
        assert is_locked()

    def test_opens_again_when_the_window_ends(self):
        fail()
        fail(4, at=AT + timedelta(minutes=14))
        assert is_locked(at=AT + timedelta(minutes=15, microseconds=-1))
        assert not is_locked(at=AT + timedelta(minutes=15))
        fail(4, at=AT + timedelta(minutes=15))
        assert not is_locked(at=AT + timedelta(minutes=15))
        fail(at=AT + timedelta(minutes=15))
        assert is_locked(at=AT + timedelta(minutes=15))

    def test_says_in_how_many_seconds_to_try_again(self):
        fail(5)
        with pytest.raises(SignInLocked, match="in 1 minutes") as refusal:
            lockout.refuse_if_locked(email=ADA, address=HOME, at=AT + timedelta(seconds=870.5))
        assert (refusal.value.retry_after_seconds, refusal.value.status) == (30, 429)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("2001:db8::1", "2001:db8::ffff:1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::2%eth1"),
            ("", None),
        ],
    )
    def test_counts_addresses_of_one_client_together(self, one, other):
        fail(5, address=one)
        assert is_locked(address=other)
        assert not is_locked(address="2001:db8:0:1::1")

    def test_knows_an_account_however_its_address_is_written(self):
        fail(5, email=" ADA@Example.com")
        assert is_locked()

    def test_writes_nothing_and_keeps_nothing_that_can_be_read(self):
        assert not is_locked()
        assert not SignInFailures.objects.exists()
        fail()
        assert "ada" not in repr(list(SignInFailures.objects.values()))


@pytest.mark.django_db
class TestCountFailure:
    def test_counts_no_further_once_locked(self):
        fail(5)
        with pytest.raises(SignInLocked):
            fail(at=AT + timedelta(minutes=1))
        assert sorted(SignInFailures.objects.values_list("failures", flat=True)) == [5, 5, 5]

    def test_answers_no_more_of_thirty_at_once_than_the_limit(self, ledger_db):
        outcomes = race(*[fail] * 30)
        assert (outcomes.count("NoneType"), outcomes.count("SignInLocked")) == (5, 25)

    def test_holds_for_an_address_that_tries_many_accounts_at_once(self, ledger_db, settings):
        settings.SIGN_IN_LIMITS = {**settings.SIGN_IN_LIMITS, "address": 5}

        def guess(number: int):
            return lambda: fail(email=f"user{number}@example.com")

        outcomes = race(*[guess(number) for number in range(20)])
        assert (outcomes.count("NoneType"), outcomes.count("SignInLocked")) == (5, 15)


@pytest.mark.django_db
class TestForgive:
    def test_forgets_what_went_wrong_from_the_address(self):
        fail(4)
        fail(4, address=AWAY)
        forgive()
        fail(4)
        assert not is_locked()
        fail(address=AWAY)
        assert is_locked(address=AWAY)

    def test_lets_nothing_pass_that_was_overtaken_by_the_limit(self):
        fail(5)
        with pytest.raises(SignInLocked):
            forgive()
        assert is_locked()
        assert not KnownAddress.objects.exists()

    def test_writes_the_address_down_once_a_day_at_most(self):
        forgive()
        known = KnownAddress.objects.get().until
        forgive(at=AT + timedelta(hours=23))
        assert KnownAddress.objects.get().until == known
        forgive(at=AT + timedelta(hours=25))
        assert KnownAddress.objects.get().until == known + timedelta(hours=25)
        assert not SignInFailures.objects.exists()


@pytest.mark.django_db
class TestForgetting:
    def test_deletes_what_has_run_out(self):
        fail()
        forgive(address=AWAY)
        assert lockout.forget_expired(at=AT + timedelta(minutes=14)) == 0
        assert lockout.forget_expired(at=AT + timedelta(minutes=15)) == 3
        assert lockout.forget_expired(at=AT + timedelta(days=90)) == 1

    def test_deletes_what_is_kept_of_a_person(self):
        forgive()
        forgive(email="bob@example.com")
        fail_from_everywhere(20)
        lockout.forget_account(ADA)
        assert KnownAddress.objects.count() == 1
        assert not is_locked(address=AWAY)
