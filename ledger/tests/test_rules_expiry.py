"""DESIGN 4, rule 6: an expired or frozen grant is not spendable, from the instant on."""

import pytest

from ledger.errors import InsufficientCredits
from ledger.models import Grant, Wallet
from ledger.services import posting
from ledger.tests.books import (
    DAY,
    HOUR,
    MICROSECOND,
    START,
    available,
    award,
    buy,
    grant_of,
    hold,
    kinds_of,
    new_wallet,
    partner,
    settle,
    shown,
    spend,
    void,
)

END = START + DAY
pytestmark = pytest.mark.django_db


class TestAnExpiredGrant:
    def test_is_spendable_until_one_microsecond_before(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        assert spend(wallet, 10, END - MICROSECOND).amount == -10

    def test_is_not_spendable_at_the_instant_though_no_sweep_has_run(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        with pytest.raises(InsufficientCredits) as refusal:
            spend(wallet, 1, END)
        assert (refusal.value.needed, refusal.value.available) == (1, 0)

    def test_is_not_shown_as_available_though_no_sweep_has_run(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        award(wallet, 5)
        assert available(wallet, END - MICROSECOND) == 15
        assert available(wallet, END) == 5
        assert spend(wallet, 1, END).current == 4

    def test_cannot_be_held(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        with pytest.raises(InsufficientCredits):
            hold(wallet, 1, END, until=END + HOUR)

    def test_is_booked_as_expiry_by_the_sweep_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        assert posting.expire(at=END - MICROSECOND, limit=10) == (0, 0)
        assert posting.expire(at=END, limit=10) == (1, 10)
        assert posting.expire(at=END, limit=10) == (0, 0)
        assert kinds_of(wallet) == [("award", 10), ("expiry", -10)]

    def test_counts_as_consumed(self) -> None:
        bought = buy(new_wallet(), 10, 500, expires_at=END)
        posting.expire(at=END, limit=10)
        assert Grant.objects.get(pk=grant_of(bought)).consumed == 10

    def test_keeps_what_is_held_until_the_hold_ends(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        job = hold(wallet, 4, until=END + HOUR)
        assert posting.expire(at=END, limit=10) == (1, 6)
        assert shown(wallet, END)["award"] == 4
        settle(job, 0, END)
        assert kinds_of(wallet)[-1] == ("expiry", -4)
        assert shown(wallet, END)["award"] == 0

    def test_can_be_captured_by_the_hold_that_pins_it(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        job = hold(wallet, 4, until=END + HOUR)
        assert settle(job, 3, END + MICROSECOND).amount == -3
        assert kinds_of(wallet)[-2:] == [("usage", -3), ("expiry", -7)]

    def test_is_swept_from_paused_and_closed_wallets_too(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=END)
        posting.set_status(wallet=wallet, expected="active", status="closed")
        assert posting.expire(at=END, limit=10) == (1, 10)

    def test_is_swept_no_more_of_at_a_time_than_asked(self) -> None:
        wallet = new_wallet()
        for _ in range(3):
            award(wallet, 10, expires_at=END)
        assert posting.expire(at=END, limit=2) == (2, 20)
        assert posting.expire(at=END, limit=2) == (1, 10)


class TestAFrozenGrant:
    def frozen(self, wallet: int, amount: int) -> None:
        bought = buy(wallet, amount, 100)
        posting.freeze(grants=[grant_of(bought)], frozen=True, at=START)

    def test_is_not_spendable_nor_shown_as_available(self) -> None:
        wallet = new_wallet()
        self.frozen(wallet, 10)
        award(wallet, 5)
        assert available(wallet) == 5
        with pytest.raises(InsufficientCredits) as refusal:
            spend(wallet, 6)
        assert refusal.value.available == 5

    def test_is_spendable_again_once_thawed(self) -> None:
        wallet = new_wallet()
        self.frozen(wallet, 10)
        grants = list(Grant.objects.filter(wallet=wallet).values_list("pk", flat=True))
        posting.freeze(grants=grants, frozen=False, at=START)
        assert available(wallet) == 10
        assert Wallet.objects.get(pk=wallet).recount_at is None
        assert spend(wallet, 10).amount == -10

    def test_can_be_captured_by_the_hold_that_pins_it(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100)
        job = hold(wallet, 4)
        posting.freeze(grants=[grant_of(bought)], frozen=True, at=START)
        assert settle(job, 4).amount == -4

    def test_gives_back_what_is_released_but_keeps_it_frozen(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100)
        job = hold(wallet, 4)
        posting.freeze(grants=[grant_of(bought)], frozen=True, at=START)
        settle(job, 0)
        assert (shown(wallet)["held"], available(wallet)) == (0, 0)

    def test_does_not_expire_in_the_books_before_it_is_thawed(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100, expires_at=END)
        posting.freeze(grants=[grant_of(bought)], frozen=True, at=START)
        assert posting.expire(at=END, limit=10) == (0, 0)
        posting.freeze(grants=[grant_of(bought)], frozen=False, at=END)
        assert available(wallet, END) == 0
        assert posting.expire(at=END, limit=10) == (1, 10)


class TestAVoidedGrant:
    def test_gives_what_is_left_and_not_held(self) -> None:
        wallet = new_wallet()
        partner(wallet, 10)
        award(wallet, 5)
        spend(wallet, 3, types=["partner"])
        voided = void(wallet)
        assert voided is not None
        assert voided.amount == -7
        assert shown(wallet) == {"award": 5, "partner": 0, "purchase": 0, "held": 0, "debt": 0}

    def test_gives_the_rest_when_the_hold_ends(self) -> None:
        wallet = new_wallet()
        partner(wallet, 10)
        job = hold(wallet, 4)
        void(wallet)
        settle(job, 1)
        assert kinds_of(wallet)[1:] == [("void", -6), ("usage", -1), ("void", -3)]

    def test_is_remembered_by_its_key_though_all_of_it_was_held(self) -> None:
        wallet = new_wallet()
        partner(wallet, 10)
        hold(wallet, 10)
        assert void(wallet, key="off") is not None
        partner(wallet, 5)
        again = void(wallet, key="off")
        assert again is not None
        assert not again.is_new
        assert shown(wallet)["partner"] == 15

    def test_is_none_when_there_is_nothing_to_void(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        assert void(wallet) is None
