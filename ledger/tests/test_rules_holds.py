"""DESIGN 4, "Holds when something else happens", and what a hold is."""

import pytest

from ledger.errors import (
    ExceedsHold,
    HoldNotFound,
    HoldNotOpen,
    InsufficientCredits,
    NotYourHold,
    WalletClosed,
    WalletPaused,
)
from ledger.models import Grant, Hold
from ledger.services import posting
from ledger.tests.books import (
    HOUR,
    MICROSECOND,
    START,
    available,
    award,
    buy,
    claw_back,
    deduct,
    grant_of,
    header,
    hold,
    kinds_of,
    new_wallet,
    reverse,
    settle,
    shown,
    spend,
)

pytestmark = pytest.mark.django_db


class TestAHold:
    def test_reserves_without_moving_credits(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        hold(wallet, 4)
        assert shown(wallet)["award"] == 10
        assert available(wallet) == 6
        assert kinds_of(wallet) == [("award", 10)]

    def test_cannot_reserve_what_another_holds(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        hold(wallet, 8)
        with pytest.raises(InsufficientCredits) as refusal:
            hold(wallet, 3)
        assert (refusal.value.needed, refusal.value.available) == (3, 2)

    def test_pins_grants_in_burn_down_order(self) -> None:
        wallet = new_wallet()
        late, early = award(wallet, 5), award(wallet, 5, expires_at=START + HOUR)
        job = hold(wallet, 7)
        pins = Hold.objects.get(pk=job).allocations.order_by("position")
        assert list(pins.values_list("grant_id", "amount")) == [
            (grant_of(early), 5),
            (grant_of(late), 2),
        ]

    def test_captured_in_part_releases_the_rest(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 6)
        captured = settle(job, 4)
        assert (captured.amount, captured.held, captured.current) == (-4, 0, 6)
        row = Hold.objects.get(pk=job)
        assert (row.status, row.captured, row.released) == ("captured", 4, 2)

    def test_is_captured_whole_when_no_amount_is_said(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        assert settle(hold(wallet, 6), None).amount == -6

    def test_refuses_to_give_more_than_it_holds(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 6)
        with pytest.raises(ExceedsHold) as refusal:
            settle(job, 7)
        assert refusal.value.numbers == {"asked": 7, "held": 6}
        assert shown(wallet)["held"] == 6

    def test_ends_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 6)
        settle(job, 0)
        with pytest.raises(HoldNotOpen):
            settle(job, 6)
        assert shown(wallet)["award"] == 10

    def test_is_not_to_be_found_by_another_id(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        with pytest.raises(HoldNotFound):
            settle(grant_of(granted), 6)

    def test_is_ended_by_its_caller_or_staff_only(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 6)
        with pytest.raises(NotYourHold):
            posting.settle_hold(hold=job, capture=6, caller="key:2", header=header("usage"))
        posting.settle_hold(hold=job, capture=0, caller=None, header=header("usage"))
        assert shown(wallet)["held"] == 0


class TestAHoldsOwnTimeout:
    def test_releases_it(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 6, until=START + HOUR)
        assert posting.release_expired_holds(at=START + HOUR - MICROSECOND, limit=10) == 0
        assert posting.release_expired_holds(at=START + HOUR, limit=10) == 1
        assert Hold.objects.get(pk=job).status == "expired"
        assert available(wallet) == 10

    def test_ends_it_for_its_caller_though_nothing_has_released_it_yet(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 6, until=START + HOUR)
        with pytest.raises(HoldNotOpen):
            settle(job, 6, START + HOUR)

    def test_lets_what_expired_meanwhile_expire_at_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, expires_at=START + HOUR)
        hold(wallet, 6, until=START + HOUR)
        posting.release_expired_holds(at=START + HOUR, limit=10)
        assert kinds_of(wallet)[-1] == ("expiry", -10)


class TestAPausedWallet:
    def paused(self, status: str = "paused") -> int:
        wallet = new_wallet()
        award(wallet, 10)
        self.job = hold(wallet, 4)
        self.usage = spend(wallet, 1)
        posting.set_status(wallet=wallet, expected="active", status=status)
        return wallet

    def test_neither_spends_nor_holds(self) -> None:
        wallet = self.paused()
        with pytest.raises(WalletPaused):
            spend(wallet, 1)
        with pytest.raises(WalletPaused):
            hold(wallet, 1)

    def test_says_paused_before_it_says_too_little(self) -> None:
        with pytest.raises(WalletPaused):
            spend(self.paused(), 1000)

    def test_captures_and_releases(self) -> None:
        wallet = self.paused()
        assert settle(self.job, 3).amount == -3
        assert shown(wallet)["held"] == 0

    def test_takes_awards_deductions_and_reversals(self) -> None:
        wallet = self.paused()
        award(wallet, 5)
        deduct(wallet, 2)
        reverse(self.usage)
        assert shown(wallet)["award"] == 13

    def test_spends_again_once_resumed(self) -> None:
        wallet = self.paused()
        assert posting.set_status(wallet=wallet, expected="paused", status="active") is True
        assert spend(wallet, 1).amount == -1

    def test_is_not_moved_from_a_status_it_is_not_in(self) -> None:
        wallet = self.paused()
        assert posting.set_status(wallet=wallet, expected="active", status="closed") is False


class TestAClosedWallet:
    def test_takes_no_spends_holds_awards_or_sales(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        posting.set_status(wallet=wallet, expected="active", status="closed")
        for refused in (
            lambda: spend(wallet, 1),
            lambda: hold(wallet, 1),
            lambda: award(wallet, 1),
            lambda: buy(wallet, 1, 1),
        ):
            with pytest.raises(WalletClosed):
                refused()
        assert kinds_of(wallet) == [("award", 10)]

    def test_may_still_come_to_owe_after_a_clawback(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100)
        spend(wallet, 10)
        posting.set_status(wallet=wallet, expected="active", status="closed")
        claw_back(grant_of(bought), 10, 100)
        assert shown(wallet)["debt"] == 10


class TestADeduction:
    def test_takes_what_is_not_held_now_and_the_rest_when_the_hold_ends(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 7)
        assert deduct(wallet, 5).amount == -3
        settle(job, 4)
        assert kinds_of(wallet)[1:] == [("adjustment", -3), ("usage", -4), ("adjustment", -2)]
        assert shown(wallet)["award"] == 1

    def test_gets_no_more_than_the_hold_leaves(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        job = hold(wallet, 7)
        deduct(wallet, 8)
        settle(job, 6)
        assert kinds_of(wallet)[-1] == ("adjustment", -1)
        assert Grant.objects.get(pk=grant_of(granted)).pending == 0

    def test_ends_with_the_capture_of_what_it_waited_for(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100)
        job = hold(wallet, 4)
        posting.freeze(grants=[grant_of(bought)], frozen=True, at=START)
        assert deduct(wallet, 4).amount == 0
        settle(job, 4)
        assert kinds_of(wallet)[1:] == [("adjustment", 0), ("usage", -4)]

    def test_refuses_more_than_is_there_and_held(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        hold(wallet, 7)
        deduct(wallet, 5)
        with pytest.raises(InsufficientCredits):
            deduct(wallet, 6)

    def test_waits_for_holds_of_its_own_grant_only(self) -> None:
        wallet = new_wallet()
        first, _ = award(wallet, 10), award(wallet, 10)
        hold(wallet, 15)
        with pytest.raises(InsufficientCredits):
            deduct(wallet, 11, grant=grant_of(first))
        assert deduct(wallet, 10, grant=grant_of(first)).amount == 0

    def test_ends_with_nothing_pending_when_a_clawback_took_what_was_released(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100)
        first, second = hold(wallet, 5), hold(wallet, 5)
        deduct(wallet, 8)
        claw_back(grant_of(bought), 10, 100)
        settle(first, 0)
        assert Grant.objects.get(pk=grant_of(bought)).pending == 5
        settle(second, 0)
        assert shown(wallet)["purchase"] == 0
        assert shown(wallet)["debt"] == 0


class TestAClawback:
    def test_takes_what_is_not_held_now_and_the_rest_when_the_hold_ends(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 100)
        job = hold(wallet, 7)
        claw_back(grant_of(bought), 10, 100)
        assert shown(wallet) == {"award": 0, "partner": 0, "purchase": 7, "held": 7, "debt": 0}
        settle(job, 2)
        assert kinds_of(wallet)[1:] == [("clawback", -3), ("usage", -2), ("clawback", -5)]
        assert shown(wallet)["debt"] == 2
