"""DESIGN 4, rule 8: same caller, key and request: one effect; another request: refused."""

import pytest

from ledger import keys
from ledger.choices import CreditType
from ledger.errors import (
    IdempotencyKeyReused,
    InsufficientCredits,
    WalletPaused,
)
from ledger.services import posting
from ledger.tests.books import (
    DAY,
    HOUR,
    START,
    award,
    deduct,
    grant_of,
    header,
    hold,
    kinds_of,
    new_wallet,
    new_wallets,
    settle,
    shown,
    spend,
)

pytestmark = pytest.mark.django_db


class TestARepeat:
    def test_returns_the_first_transaction_and_todays_balance(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        first = spend(wallet, 4, key="job")
        award(wallet, 5)
        again = spend(wallet, 4, START + DAY, key="job")
        assert (first.is_new, again.is_new) == (True, False)
        same = ("transaction_id", "number", "amount", "balance_after", "recorded_at")
        assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
        assert again.current == 11
        assert kinds_of(wallet) == [("award", 10), ("usage", -4), ("award", 5)]

    def test_of_a_spend_that_emptied_the_own_wallet_does_not_land_on_the_pool(self) -> None:
        own, pool = new_wallets(2)
        award(own, 4)
        award(pool, 100)
        spend([own, pool], 4, key="job")
        again = spend([own, pool], 4, key="job")
        assert (again.wallet_id, again.is_new) == (own, False)
        assert shown(pool)["award"] == 100

    def test_of_a_spend_that_the_pool_paid_finds_it_there(self) -> None:
        own, pool = new_wallets(2)
        award(pool, 100)
        spend([own, pool], 4, key="job")
        award(own, 50)
        again = spend([own, pool], 4, key="job")
        assert (again.wallet_id, again.current) == (pool, 96)
        assert shown(own)["award"] == 50

    def test_is_recognised_before_the_wallets_status_is_looked_at(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        spend(wallet, 4, key="job")
        posting.set_status(wallet=wallet, expected="active", status="paused")
        assert not spend(wallet, 4, key="job").is_new
        with pytest.raises(WalletPaused):
            spend(wallet, 4)

    def test_of_a_refused_request_may_pass(self) -> None:
        wallet = new_wallet()
        with pytest.raises(InsufficientCredits):
            spend(wallet, 4, key="job")
        award(wallet, 10)
        assert spend(wallet, 4, key="job").is_new

    def test_of_a_grant_posts_nothing(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, key="gift")
        assert not award(wallet, 10, START + DAY, key="gift").is_new
        assert shown(wallet)["award"] == 10

    def test_of_a_hold_names_the_first_one(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        placing = header("usage", key="job")
        place = {"payers": [wallet], "amount": 4, "expires_at": START + HOUR, "header": placing}
        first, again = posting.place_hold(**place), posting.place_hold(**place)
        assert (first.hold_id, first.is_new) == (again.hold_id, not again.is_new)
        assert shown(wallet)["held"] == 4

    @pytest.mark.parametrize("capture", [0, 2, None])
    def test_of_the_end_of_a_hold_ends_nothing_more(self, capture: int | None) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 4)
        first = settle(job, capture, key="done")
        again = settle(job, capture, key="done")
        assert (again.is_new, again.hold_id) == (False, job)
        assert (again.transaction_id, again.current) == (first.transaction_id, first.current)

    def test_of_a_reversal_puts_back_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        usage = spend(wallet, 8)
        back = {"transaction": usage.transaction_id, "amount": 3}
        first = posting.restore(**back, header=header("reversal", key="oops"))
        again = posting.restore(**back, header=header("reversal", key="oops"))
        assert (again.transaction_id, again.is_new) == (first.transaction_id, False)
        assert shown(wallet)["award"] == 5


class TestAKeyUsedForAnotherRequest:
    def test_is_refused_for_another_amount(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        spend(wallet, 4, key="job")
        with pytest.raises(IdempotencyKeyReused):
            spend(wallet, 5, key="job")
        assert shown(wallet)["award"] == 6

    def test_is_refused_for_another_operation(self) -> None:
        """A key of any of these is not good for any other, on this wallet or on another."""
        wallet, other = new_wallets(2)
        granted, usage = award(wallet, 100), spend(award(wallet, 10).wallet_id, 10)
        job, done = hold(wallet, 5), hold(wallet, 5)
        place = {"payers": [wallet], "amount": 4, "expires_at": START + HOUR}
        operations = {
            "spend": lambda key: spend(wallet, 4, key=key),
            "award": lambda key: award(other, 10, key=key),
            "deduct": lambda key: deduct(wallet, 1, key=key),
            "hold": lambda key: posting.place_hold(
                **place, header=header("usage", key=key, request="hold")
            ),
            "release": lambda key: settle(done, 0, key=key),
            "capture": lambda key: settle(job, None, key=key),
            "restore": lambda key: posting.restore(
                transaction=usage.transaction_id, header=header("reversal", key=key)
            ),
            "take back": lambda key: posting.take_back(
                transaction=granted.transaction_id,
                partly=True,
                header=header("reversal", key=key, request="take back"),
            ),
            "claw back": lambda key: posting.claw_back(
                grant=grant_of(granted),
                target=1,
                returned_minor=0,
                header=header("clawback", key=key),
            ),
            "void": lambda key: posting.void(
                wallet=wallet, types=[CreditType.AWARD], header=header("void", key=key)
            ),
        }
        for name, operation in operations.items():
            operation(name)
        for used in operations:
            for name, operation in operations.items():
                if name != used:
                    with pytest.raises(IdempotencyKeyReused):
                        operation(used)

    def test_is_refused_on_another_wallet(self) -> None:
        first, second = new_wallets(2)
        award(first, 10, key="gift")
        with pytest.raises(IdempotencyKeyReused):
            award(second, 10, key="gift")
        assert shown(second)["award"] == 0

    def test_is_free_for_another_caller(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        for caller in ("key:1", "key:2"):
            own = header("usage")._replace(key=keys.digest(caller, "job"))
            assert posting.draw(payers=[wallet], amount=4, header=own).is_new
        assert shown(wallet)["award"] == 2
