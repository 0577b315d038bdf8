"""DESIGN 4 on debt: who opens it, who repays it and in which order, and what is let go."""

import pytest

from ledger.choices import CreditType, GrantSource
from ledger.errors import ExceedsDebt, GrantNotFound, InvalidAmount
from ledger.models import CreditTransaction, Debt, Grant
from ledger.services import posting
from ledger.services.posting import Posting
from ledger.tests.books import (
    DAY,
    START,
    award,
    buy,
    claw_back,
    give,
    grant_of,
    header,
    hold,
    kinds_of,
    left_of,
    new_wallet,
    reinstate,
    reverse,
    shown,
    spend,
)

END = START + DAY
pytestmark = pytest.mark.django_db


def owe(wallet: int, amount: int) -> Posting:
    """Let the wallet owe ``amount`` for a purchase that was spent and charged back."""
    bought = buy(wallet, amount, 100)
    spend(wallet, amount, types=[CreditType.PURCHASE])
    claw_back(grant_of(bought), amount, 100)
    return bought


def owe_twice(wallet: int) -> tuple[Posting, Posting]:
    """Let the wallet owe 20 and, from a day later on, 30 for an earlier purchase."""
    earlier, later = buy(wallet, 30, 100), buy(wallet, 20, 100)
    spend(wallet, 50)
    claw_back(grant_of(later), 20, 100)
    claw_back(grant_of(earlier), 30, 100, START + DAY)
    return later, earlier


def owed(wallet: int) -> list[tuple[object, int]]:
    debts = Debt.objects.filter(wallet=wallet).order_by("opened_at")
    return list(debts.values_list("grant_id", "outstanding"))


class TestADebt:
    def test_is_repaid_by_the_next_paid_purchase(self) -> None:
        wallet = new_wallet()
        owe(wallet, 30)
        bought = buy(wallet, 100, 1000)
        assert kinds_of(wallet)[-2:] == [("purchase", 100), ("debt_repayment", -30)]
        assert (shown(wallet)["debt"], left_of(bought)) == (0, 70)
        assert Grant.objects.get(pk=grant_of(bought)).consumed == 30

    def test_is_never_repaid_by_awards_or_unfunded_purchases(self) -> None:
        wallet = new_wallet()
        owe(wallet, 30)
        award(wallet, 100)
        give(wallet, 100, CreditType.PURCHASE, "purchase", source=GrantSource.MANUAL)
        assert shown(wallet) == {"award": 100, "partner": 0, "purchase": 100, "held": 0, "debt": 30}

    def test_is_repaid_as_far_as_the_purchase_goes(self) -> None:
        wallet = new_wallet()
        owe(wallet, 30)
        buy(wallet, 20, 100)
        assert shown(wallet) == {"award": 0, "partner": 0, "purchase": 0, "held": 0, "debt": 10}

    def test_is_repaid_the_oldest_first(self) -> None:
        wallet = new_wallet()
        older, newer = owe_twice(wallet)
        buy(wallet, 25, 100, START + DAY)
        assert owed(wallet) == [(grant_of(older), 0), (grant_of(newer), 25)]

    def test_of_a_clawback_is_repaid_at_once_by_other_unheld_paid_credits(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 30, 100)
        spend(wallet, 30)
        other = buy(wallet, 40, 100)
        hold(wallet, 25)
        claw_back(grant_of(bought), 30, 100)
        assert kinds_of(wallet)[-2:] == [("clawback", 0), ("debt_repayment", -15)]
        assert (left_of(other), shown(wallet)["debt"]) == (25, 15)

    def test_of_a_clawback_is_not_repaid_by_awards_or_frozen_credits(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 30, 100)
        spend(wallet, 30)
        award(wallet, 50)
        frozen = buy(wallet, 40, 100)
        posting.freeze(grants=[grant_of(frozen)], frozen=True, at=START)
        claw_back(grant_of(bought), 30, 100)
        assert shown(wallet)["debt"] == 30

    def test_is_opened_by_an_overrun_too(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        overrun = spend(wallet, 25, short="debt")
        assert (overrun.amount, overrun.debt, overrun.owed) == (-10, 15, 15)
        buy(wallet, 20, 100)
        assert shown(wallet) == {"award": 0, "partner": 0, "purchase": 5, "held": 0, "debt": 0}

    def test_of_an_overrun_shrinks_before_credits_are_put_back(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        overrun = spend(wallet, 25, short="debt")
        reverse(overrun, 20)
        assert shown(wallet) == {"award": 5, "partner": 0, "purchase": 0, "held": 0, "debt": 0}

    def test_of_an_overrun_that_was_repaid_goes_back_to_the_payer(self) -> None:
        wallet = new_wallet()
        overrun = spend(wallet, 25, short="debt")
        payer = buy(wallet, 20, 100)
        reverse(overrun)
        assert (left_of(payer), shown(wallet)["debt"]) == (20, 0)


class TestAClawback:
    def test_of_a_bonus_leaves_no_debt(self) -> None:
        wallet = new_wallet()
        bonus = award(wallet, 30)
        spend(wallet, 20)
        claw_back(grant_of(bonus), 30)
        assert shown(wallet) == {"award": 0, "partner": 0, "purchase": 0, "held": 0, "debt": 0}

    def test_lets_go_what_expired_unspent(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000, expires_at=END)
        spend(wallet, 40)
        posting.expire(at=END, limit=10)
        claw_back(grant_of(bought), 100, 1000, END)
        assert shown(wallet, END)["debt"] == 40

    def test_owes_the_same_in_one_step_or_in_two(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000, expires_at=END)
        spend(wallet, 40)
        posting.expire(at=END, limit=10)
        for target in (50, 80, 100):
            claw_back(grant_of(bought), target, target * 10, END)
        assert shown(wallet, END)["debt"] == 40

    def test_said_again_changes_nothing(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        claw_back(grant_of(bought), 50, 500)
        assert claw_back(grant_of(bought), 50, 500).outcome == "nothing"
        assert kinds_of(wallet) == [("purchase", 100), ("clawback", -50)]

    def test_is_remembered_by_its_key_though_no_credit_could_move(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        hold(wallet, 100)
        first = header("clawback", key="re_1", request=50)
        claw = {"grant": grant_of(bought), "target": 50, "returned_minor": 500}
        posting.claw_back(**claw, header=first)
        claw_back(grant_of(bought), 100, 1000)
        assert not posting.claw_back(**claw, header=first).is_new
        assert Grant.objects.get(pk=grant_of(bought)).clawback_target == 100

    def test_is_of_what_the_grant_gave_at_the_most(self) -> None:
        bought = buy(new_wallet(), 100, 1000)
        with pytest.raises(InvalidAmount):
            claw_back(grant_of(bought), 101, 1000)

    def test_of_an_unknown_grant_is_refused(self) -> None:
        with pytest.raises(GrantNotFound):
            claw_back(award(new_wallet(), 1).transaction_id, 1)

    def test_leaves_to_the_other_grant_what_was_carried_over(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000, expires_at=END)
        usage = spend(wallet, 100)
        reverse(usage, 60, END)
        with pytest.raises(InvalidAmount):
            claw_back(grant_of(bought), 41, 400, END)
        claw_back(grant_of(bought), 40, 400, END)
        carried = Grant.objects.get(carried_from=grant_of(bought))
        assert (carried.remaining, carried.consumed) == (20, 40)

    def test_does_not_open_again_what_was_written_off_and_then_won(self) -> None:
        wallet = new_wallet()
        bought = owe(wallet, 30)
        posting.write_off(wallet=wallet, amount=30, header=header("write_off"))
        reinstate(grant_of(bought))
        claw_back(grant_of(bought), 30, 100)
        assert shown(wallet)["debt"] == 0


class TestAWriteOff:
    def test_strikes_the_oldest_debt_off_first_and_moves_no_credit(self) -> None:
        wallet = new_wallet()
        older, newer = owe_twice(wallet)
        posting.write_off(wallet=wallet, amount=40, header=header("write_off", START + DAY))
        last = CreditTransaction.objects.filter(wallet=wallet).latest("number")
        assert (last.amount, last.debt) == (0, -40)
        assert owed(wallet) == [(grant_of(older), 0), (grant_of(newer), 10)]

    def test_of_more_than_is_owed_is_refused(self) -> None:
        wallet = new_wallet()
        owe(wallet, 30)
        with pytest.raises(ExceedsDebt) as refusal:
            posting.write_off(wallet=wallet, amount=31, header=header("write_off"))
        assert refusal.value.numbers == {"asked": 31, "owed": 30}
