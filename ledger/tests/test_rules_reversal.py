"""DESIGN 4, "Where a reversal puts credits back", by the state of the grant they came from."""

import pytest

from ledger.errors import (
    AlreadyReversed,
    ExceedsTaken,
    NothingToRestore,
    NotReversible,
    PartlySpent,
    TransactionNotFound,
)
from ledger.models import CreditSettings, Grant
from ledger.services import posting
from ledger.tests.books import (
    DAY,
    HOUR,
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
    left_of,
    new_wallet,
    partner,
    reinstate,
    reverse,
    shown,
    spend,
    take_back,
    void,
)

END = START + DAY
pytestmark = pytest.mark.django_db


class TestAReversal:
    def test_into_a_live_grant_goes_there(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        usage = spend(wallet, 4)
        assert reverse(usage).amount == 4
        assert left_of(granted) == 10

    def test_into_a_used_up_grant_goes_there(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        reverse(spend(wallet, 10))
        assert left_of(granted) == 10
        assert Grant.objects.get(pk=grant_of(granted)).consumed == 0

    def test_into_an_expired_grant_is_carried_over_with_days_of_grace(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10, expires_at=END)
        usage = spend(wallet, 4)
        posting.expire(at=END, limit=10)
        reverse(usage, at=END)
        carried = Grant.objects.get(carried_from=grant_of(granted))
        assert carried.expires_at - END == CreditSettings().grace_days * DAY
        assert (carried.credit_type, carried.remaining, carried.priority) == ("award", 4, 100)
        assert left_of(granted) == 0
        assert spend(wallet, 4, END).amount == -4

    def test_into_an_expired_grant_takes_their_money_along(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 1000, expires_at=END)
        usage = spend(wallet, 4)
        posting.expire(at=END, limit=10)
        reverse(usage, at=END)
        old = Grant.objects.get(pk=grant_of(bought))
        new = Grant.objects.get(carried_from=old)
        assert (new.paid_minor, new.currency) == (400, "usd")
        assert (old.carried, old.carried_minor, old.consumed) == (4, 400, 6)

    def test_into_an_expired_grant_that_is_frozen_stays_frozen(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 10, 1000, expires_at=END)
        usage = spend(wallet, 10)
        posting.freeze(grants=[grant_of(bought)], frozen=True, at=END)
        reverse(usage, at=END)
        assert available(wallet, END) == 0
        posting.freeze(grants=[grant_of(bought)], frozen=False, at=END)
        assert available(wallet, END) == 10

    def test_into_a_voided_grant_is_refused_and_says_so(self) -> None:
        wallet = new_wallet()
        partner(wallet, 10)
        usage = spend(wallet, 10)
        void(wallet)
        with pytest.raises(NothingToRestore):
            reverse(usage)
        assert kinds_of(wallet) == [("partner", 10), ("usage", -10), ("void", 0)]

    def test_into_a_voided_grant_and_others_restores_the_others(self) -> None:
        wallet = new_wallet()
        partner(wallet, 10)
        award(wallet, 5)
        usage = spend(wallet, 15)
        void(wallet)
        assert reverse(usage).available == 5
        assert shown(wallet) == {"award": 5, "partner": 0, "purchase": 0, "held": 0, "debt": 0}

    def test_of_part_puts_the_last_taken_back_first(self) -> None:
        wallet = new_wallet()
        first, last = award(wallet, 5, expires_at=END), award(wallet, 5)
        usage = spend(wallet, 10)
        reverse(usage, 6)
        assert (left_of(first), left_of(last)) == (1, 5)

    def test_never_gives_back_more_than_was_taken(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        usage = spend(wallet, 6)
        reverse(usage, 4)
        with pytest.raises(ExceedsTaken) as refusal:
            reverse(usage, 3)
        assert refusal.value.numbers == {"asked": 3, "open": 2}
        reverse(usage, 2)
        with pytest.raises(AlreadyReversed):
            reverse(usage)
        assert shown(wallet)["award"] == 10

    def test_of_an_expiry_gives_days_of_grace(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10, expires_at=END)
        spend(wallet, 4, END - HOUR)
        posting.expire(at=END, limit=10)
        expiry = Grant.objects.get(pk=grant_of(granted)).entries.get(amount=-6)
        posting.restore(transaction=expiry.transaction_id, header=header("reversal", END + DAY))
        assert available(wallet, END + DAY) == 6

    def test_of_a_deduction_puts_back_what_it_took(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        reverse(deduct(wallet, 4))
        assert shown(wallet)["award"] == 10

    @pytest.mark.parametrize("kind", ["award", "partner", "clawback", "void", "reversal"])
    def test_of_what_took_no_use_is_refused(self, kind: str) -> None:
        wallet = new_wallet()
        posted = {
            "award": lambda: award(wallet, 10),
            "partner": lambda: partner(wallet, 10),
            "clawback": lambda: claw_back(grant_of(buy(wallet, 10, 100)), 5, 50),
            "void": lambda: partner(wallet, 10) and void(wallet),
            "reversal": lambda: award(wallet, 10) and reverse(spend(wallet, 1)),
        }[kind]()
        with pytest.raises(NotReversible):
            reverse(posted)

    def test_of_an_unknown_transaction_is_refused(self) -> None:
        granted = award(new_wallet(), 10)
        with pytest.raises(TransactionNotFound):
            posting.restore(transaction=grant_of(granted), header=header("reversal"))
        with pytest.raises(TransactionNotFound):
            posting.take_back(transaction=grant_of(granted), partly=True, header=header("reversal"))


class TestAReversalIntoAClawedBackGrant:
    def test_shrinks_its_debt_first(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        usage = spend(wallet, 80)
        claw_back(grant_of(bought), 100, 1000)
        reversed_ = reverse(usage, 30)
        assert (reversed_.amount, reversed_.debt, reversed_.available) == (0, -30, 30)
        assert shown(wallet)["debt"] == 50

    def test_reverses_repayments_next_into_the_grants_that_made_them(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        usage = spend(wallet, 80)
        claw_back(grant_of(bought), 100, 1000)
        payer = buy(wallet, 50, 500)
        assert (left_of(payer), shown(wallet)["debt"]) == (0, 30)
        reverse(usage, 50)
        assert (left_of(payer), left_of(bought), shown(wallet)["debt"]) == (20, 0, 0)

    def test_refills_it_last_up_to_amount_less_target_less_consumed(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        usage = spend(wallet, 80)
        claw_back(grant_of(bought), 50, 500)
        payer = buy(wallet, 100, 1000)
        assert left_of(payer) == 70
        reverse(usage)
        assert (left_of(payer), left_of(bought)) == (100, 50)

    def test_may_come_to_one_repayment_by_two_ways(self) -> None:
        """A and B are charged back, B's credits had repaid A's debt, and C has repaid B's."""
        wallet = new_wallet()
        a, b = buy(wallet, 100, 1000), buy(wallet, 100, 1000)
        usage = spend(wallet, 110)
        claw_back(grant_of(a), 100, 1000)
        assert (left_of(b), shown(wallet)["debt"]) == (0, 10)
        claw_back(grant_of(b), 100, 1000)
        assert shown(wallet)["debt"] == 110
        c = buy(wallet, 200, 2000)
        assert (left_of(c), shown(wallet)["debt"]) == (90, 0)
        reverse(usage)
        assert (left_of(a), left_of(b), left_of(c)) == (0, 0, 200)

    def test_may_shrink_one_debt_by_two_ways(self) -> None:
        wallet = new_wallet()
        a, b = buy(wallet, 100, 1000), buy(wallet, 100, 1000)
        usage = spend(wallet, 110)
        claw_back(grant_of(a), 100, 1000)
        claw_back(grant_of(b), 100, 1000)
        reverse(usage)
        assert shown(wallet)["debt"] == 0
        assert (left_of(a), left_of(b)) == (0, 0)


class TestAReinstatement:
    def test_gives_back_what_was_clawed_back(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        spend(wallet, 80)
        claw_back(grant_of(bought), 100, 1000)
        reinstate(grant_of(bought))
        assert shown(wallet)["debt"] == 0
        assert left_of(bought) == 20

    def test_of_part_shrinks_the_debt_first(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000)
        spend(wallet, 80)
        claw_back(grant_of(bought), 100, 1000)
        reinstate(grant_of(bought), 50, 500)
        assert shown(wallet)["debt"] == 30
        assert left_of(bought) == 0

    def test_gives_nothing_back_for_what_expired_unspent(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000, expires_at=END)
        posting.expire(at=END, limit=10)
        claw_back(grant_of(bought), 100, 1000, END)
        reinstate(grant_of(bought), at=END)
        assert available(wallet, END) == 0

    def test_does_not_bring_back_what_staff_deducted(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000, expires_at=END)
        deduct(wallet, 30)
        posting.expire(at=END, limit=10)
        claw_back(grant_of(bought), 100, 1000, END)
        reinstate(grant_of(bought), at=END)
        assert available(wallet, END) == 0
        assert shown(wallet, END)["debt"] == 0

    def test_into_an_expired_grant_is_carried_over(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 100, 1000, expires_at=END)
        claw_back(grant_of(bought), 100, 1000)
        reinstate(grant_of(bought), at=END)
        assert available(wallet, END) == 100

    def test_into_a_grant_that_waits_to_be_clawed_back_is_taken_at_once(self) -> None:
        wallet = new_wallet()
        a = buy(wallet, 100, 1000)
        spend(wallet, 100)
        b = buy(wallet, 100, 1000)
        job = hold(wallet, 60)
        claw_back(grant_of(a), 100, 1000)
        assert shown(wallet)["debt"] == 60
        claw_back(grant_of(b), 70, 700)
        assert shown(wallet)["debt"] == 70
        reinstate(grant_of(a))
        assert shown(wallet)["debt"] == 0
        assert available(wallet) == 0
        posting.settle_hold(hold=job, capture=0, caller=None, header=header("usage"))
        assert available(wallet) == 30


class TestTakingAGrantBack:
    def test_takes_all_of_it(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        assert take_back(granted).amount == -10
        with pytest.raises(AlreadyReversed):
            take_back(granted)

    def test_refuses_one_that_is_partly_spent(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        spend(wallet, 3)
        with pytest.raises(PartlySpent) as refusal:
            take_back(granted)
        assert refusal.value.numbers == {"available": 7}
        assert left_of(granted) == 7

    def test_takes_what_is_left_if_staff_choose_to(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        spend(wallet, 3)
        hold(wallet, 2)
        assert take_back(granted, partly=True).amount == -5

    def test_refuses_when_nothing_is_left(self) -> None:
        wallet = new_wallet()
        granted = award(wallet, 10)
        spend(wallet, 10)
        with pytest.raises(NothingToRestore):
            take_back(granted, partly=True)

    def test_refuses_what_was_paid_for(self) -> None:
        with pytest.raises(NotReversible):
            take_back(buy(new_wallet(), 10, 100))

    def test_refuses_what_posted_nothing(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        with pytest.raises(NotReversible):
            take_back(spend(wallet, 1))
