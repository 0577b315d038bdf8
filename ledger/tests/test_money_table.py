"""The worked table of DESIGN 4, in USD cents and credits, step by step."""

import pytest

from ledger.models import CreditTransaction, Debt, Grant
from ledger.money_rule import deferred_minor, recognised_minor
from ledger.services import posting
from ledger.services.posting import Posting
from ledger.tests.books import (
    buy,
    claw_back,
    grant_of,
    header,
    kinds_of,
    new_wallet,
    reverse,
    shown,
    spend,
)


def money(wallet: int) -> dict[str, int]:
    """Return the wallet's deferred and recognised money, in cents."""
    total = {"deferred": 0, "recognised": 0}
    for grant in Grant.objects.filter(wallet=wallet):
        figures = {
            "paid_minor": grant.paid_minor - grant.carried_minor,
            "returned_minor": grant.returned_minor,
            "consumed": grant.consumed,
            "amount": grant.amount - grant.carried,
        }
        total["deferred"] += deferred_minor(**figures)
        total["recognised"] += recognised_minor(**figures)
    return total


def remaining(posted: Posting) -> int:
    return Grant.objects.get(pk=grant_of(posted)).remaining


@pytest.mark.django_db
class TestTheWorkedMoneyTable:
    @pytest.fixture
    def wallet(self) -> int:
        return new_wallet()

    @pytest.fixture
    def spent(self, wallet: int) -> tuple[Posting, Posting]:
        """Buys 100 for 10.00; spends 80."""
        a = buy(wallet, 100, 1000)
        assert money(wallet) == {"deferred": 1000, "recognised": 0}
        usage = spend(wallet, 80)
        assert remaining(a) == 20
        assert money(wallet) == {"deferred": 200, "recognised": 800}
        return a, usage

    @pytest.fixture
    def lost(self, wallet: int, spent: tuple[Posting, Posting]) -> Posting:
        """5.00 refunded in Stripe; then the chargeback of the other 5.00 is lost."""
        a, _ = spent
        claw_back(grant_of(a), 50, 500)
        assert kinds_of(wallet)[-1] == ("clawback", -20)
        assert (remaining(a), shown(wallet)["debt"]) == (0, 30)
        assert money(wallet) == {"deferred": 0, "recognised": 500}
        claw_back(grant_of(a), 100, 1000)
        assert kinds_of(wallet)[-1] == ("clawback", 0)
        assert shown(wallet)["debt"] == 80
        assert money(wallet) == {"deferred": 0, "recognised": 0}
        return a

    def test_the_next_purchase_repays_what_was_owed(self, wallet: int, lost: Posting) -> None:
        b = buy(wallet, 100, 1000)
        assert kinds_of(wallet)[-2:] == [("purchase", 100), ("debt_repayment", -80)]
        assert (remaining(b), shown(wallet)["debt"]) == (20, 0)
        assert money(wallet) == {"deferred": 200, "recognised": 800}

    def test_or_finance_writes_it_off(self, wallet: int, lost: Posting) -> None:
        posting.write_off(wallet=wallet, amount=80, header=header("write_off"))
        written_off = CreditTransaction.objects.filter(wallet=wallet).latest("number")
        assert (written_off.kind, written_off.amount, written_off.debt) == ("write_off", 0, -80)
        assert shown(wallet)["debt"] == 0
        assert money(wallet) == {"deferred": 0, "recognised": 0}

    def test_the_debt_names_the_grant_that_opened_it(self, wallet: int, lost: Posting) -> None:
        debt = Debt.objects.get(wallet=wallet)
        assert (debt.grant_id, debt.amount, debt.outstanding) == (grant_of(lost), 80, 80)

    def test_a_reversal_that_shrinks_a_debt_lowers_what_is_recognised(
        self, wallet: int, spent: tuple[Posting, Posting]
    ) -> None:
        a, usage = spent
        claw_back(grant_of(a), 50, 500)
        reverse(usage, 30)
        assert shown(wallet)["debt"] == 0
        assert money(wallet) == {"deferred": 0, "recognised": 500}
        reverse(usage, 10)
        assert remaining(a) == 10
        assert money(wallet) == {"deferred": 100, "recognised": 400}
