"""DESIGN 4 on who pays with which grants, and how transactions are numbered."""

from datetime import datetime

import pytest
from django.db import IntegrityError, connection

from ledger.choices import CreditType
from ledger.errors import (
    BalanceTooLarge,
    InsufficientCredits,
    WalletNotFound,
)
from ledger.models import CreditTransaction
from ledger.services import posting
from ledger.tests.books import (
    DAY,
    HOUR,
    START,
    award,
    buy,
    grant_of,
    header,
    hold,
    new_wallet,
    new_wallets,
    partner,
    shown,
    spend,
    take_back,
    void,
)

pytestmark = pytest.mark.django_db


class TestBurnDown:
    def test_goes_by_priority_then_expiry_then_type_then_age(self) -> None:
        wallet = new_wallet()
        bought = buy(wallet, 1, 10)
        partnered = partner(wallet, 1)
        older = award(wallet, 1)
        newer = award(wallet, 1, START + HOUR)
        expiring = buy(wallet, 1, 10, START + HOUR, expires_at=START + 2 * DAY)
        sooner = buy(wallet, 1, 10, START + HOUR, expires_at=START + DAY)
        urgent = buy(wallet, 1, 10, START + HOUR, priority=50)
        for granted in (urgent, sooner, expiring, older, newer, partnered, bought):
            assert spend(wallet, 1, START + HOUR).grant_ids == [grant_of(granted)]

    def test_of_accepted_types_leaves_the_others_alone(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        bought = buy(wallet, 5, 10)
        assert spend(wallet, 3, types=[CreditType.PURCHASE]).grant_ids == [grant_of(bought)]
        with pytest.raises(InsufficientCredits) as refusal:
            spend(wallet, 3, types=[CreditType.PURCHASE])
        assert (refusal.value.needed, refusal.value.available) == (3, 2)

    def test_never_splits_a_charge_over_two_payers(self) -> None:
        own, pool = new_wallets(2)
        award(own, 3)
        award(pool, 5)
        with pytest.raises(InsufficientCredits) as refusal:
            spend([own, pool], 6)
        assert (refusal.value.needed, refusal.value.available) == (6, 5)
        assert spend([own, pool], 4).wallet_id == pool

    def test_of_what_is_there_comes_out_of_the_first_payer(self) -> None:
        own, pool = new_wallets(2)
        award(own, 3)
        award(pool, 5)
        taken = spend([own, pool], 6, short="take")
        assert (taken.wallet_id, taken.amount) == (own, -3)
        assert spend([own, pool], 6, short="debt").owed == 6
        assert shown(pool)["award"] == 5

    @pytest.mark.parametrize("amount", [0, -5])
    def test_of_less_than_one_credit_is_refused(self, amount: int) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        with pytest.raises(IntegrityError, match="one credit at the least"):
            spend(wallet, amount)


class TestAPosting:
    def test_beyond_the_largest_balance_is_refused(self) -> None:
        wallet = new_wallet()
        award(wallet, 8)
        with pytest.raises(BalanceTooLarge) as refusal:
            award(wallet, 3, largest=10)
        assert refusal.value.numbers == {"largest": 10}
        assert award(wallet, 2, largest=10).award == 10

    def test_to_or_from_an_unknown_wallet_is_refused(self) -> None:
        for refused in (
            lambda: award(0, 1),
            lambda: spend(0, 1),
            lambda: hold(0, 1),
            lambda: void(0),
            lambda: posting.write_off(wallet=0, amount=1, header=header("write_off")),
        ):
            with pytest.raises(WalletNotFound):
                refused()

    def test_numbers_the_wallets_transactions_without_a_gap(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        with pytest.raises(InsufficientCredits):
            spend(wallet, 100)
        spend(wallet, 1)
        take_back(award(wallet, 1))
        numbers = CreditTransaction.objects.filter(wallet=wallet).order_by("number")
        assert list(numbers.values_list("number", flat=True)) == [1, 2, 3, 4]

    def test_is_never_recorded_before_the_one_before(self) -> None:
        wallet = new_wallet()
        award(wallet, 10, START + HOUR)
        assert spend(wallet, 1, START).recorded_at == START + HOUR

    def test_is_found_by_the_first_number_since_an_instant(self) -> None:
        wallet = new_wallet()
        for hour in (0, 1, 1, 3):
            award(wallet, 1, START + hour * HOUR)
        with_first = {-1: 1, 0: 1, 1: 2, 2: 4, 3: 4, 4: 5}
        for hour, number in with_first.items():
            assert first_number(wallet, START + hour * HOUR) == number


def first_number(wallet: int, at: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_first_number(%s, %s)", [wallet, at])
        return cursor.fetchone()[0]
