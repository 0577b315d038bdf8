from dataclasses import replace
from datetime import timedelta

import pytest

from accounts.tests.factories import TeamFactory
from ledger.errors import WalletNotFound
from ledger.queries.balances import balance_after, balance_of, balances_of, held_by_type
from ledger.services import posting
from ledger.tests import books
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    HOUR,
    SECOND,
    CustomerFactory,
    open_hold,
    place_hold,
    spend,
    wallet_with_credits,
)

MICROSECOND = timedelta(microseconds=1)


def shown(wallet, at=AT):
    """award, partner, purchase, held, available"""
    b = balance_of(wallet.pk, at)
    assert b.current == b.award + b.partner + b.purchase == b.available + b.held
    return b.award, b.partner, b.purchase, b.held, b.available


@pytest.mark.django_db
class TestBalanceOf:
    def test_tells_everything_of_the_wallet_of_a_user(self):
        user = CustomerFactory()
        wallet = wallet_with_credits(user, award=30, partner=20, purchase=50)
        open_hold(wallet, 40)
        balance = balance_of(wallet.pk, AT)
        assert (balance.wallet_id, balance.user_id, balance.team_id) == (wallet.pk, user.pk, None)
        assert (balance.status, balance.version, balance.changed_at) == ("active", 3, AT)
        assert (balance.award, balance.partner, balance.purchase) == (30, 20, 50)
        assert (balance.current, balance.held, balance.available, balance.debt) == (100, 40, 60, 0)

    def test_tells_of_an_organisation_by_its_public_id(self):
        team = TeamFactory()
        balance = balance_of(wallet_with_credits(team, award=5).pk, AT)
        assert (balance.user_id, balance.team_id, balance.award) == (None, team.public_id, 5)

    def test_tells_the_debt(self):
        wallet = wallet_with_credits()
        bought = books.buy(wallet.pk, 100, 1_000, AT)
        spend(wallet, 80)
        books.claw_back(books.grant_of(bought), 50, 500, AT)
        assert (shown(wallet), balance_of(wallet.pk, AT).debt) == ((0, 0, 0, 0, 0), 30)

    @pytest.mark.parametrize("expires_at", [None, AT + DAY])
    def test_is_one_query_however_long_the_history(self, django_assert_num_queries, expires_at):
        wallet = wallet_with_credits(award=100, expires_at=expires_at)
        for _ in range(3):
            spend(wallet, 1)
        for at in (AT, AT + 2 * DAY):
            with django_assert_num_queries(1):
                balance_of(wallet.pk, at)

    def test_leaves_credits_out_from_the_instant_they_expire(self):
        wallet = wallet_with_credits(award=30, purchase=50, expires_at=AT + DAY)
        assert shown(wallet, AT + DAY - MICROSECOND) == (30, 0, 50, 0, 80)
        assert shown(wallet, AT + DAY) == (0, 0, 0, 0, 0)

    def test_keeps_what_is_held_of_expired_credits_and_no_more(self):
        wallet = wallet_with_credits(award=30, expires_at=AT + DAY)
        place_hold(wallet, 20, expires_in=2 * DAY)
        assert shown(wallet, AT + DAY) == (20, 0, 0, 20, 0)

    def test_is_the_same_before_and_after_the_sweep(self):
        wallet = wallet_with_credits(award=30, expires_at=AT + DAY)
        place_hold(wallet, 20, expires_in=2 * DAY)
        before = shown(wallet, AT + DAY)
        assert posting.expire(at=AT + DAY, limit=10) == (1, 10)
        assert shown(wallet, AT + DAY) == before == (20, 0, 0, 20, 0)

    def test_leaves_frozen_credits_out_but_for_what_is_held(self):
        wallet = wallet_with_credits(award=5)
        grant = books.grant_of(books.buy(wallet.pk, 100, 1_000, AT))
        open_hold(wallet, 45)
        posting.freeze(grants=[grant], frozen=True, at=AT)
        assert shown(wallet) == (5, 0, 40, 45, 0)
        posting.freeze(grants=[grant], frozen=False, at=AT)
        assert shown(wallet) == (5, 0, 100, 45, 60)

    def test_refuses_a_wallet_that_is_none(self):
        with pytest.raises(WalletNotFound):
            balance_of(999_999, AT)


@pytest.mark.django_db
class TestBalancesOf:
    def test_tells_of_many_in_one_query(self, django_assert_num_queries):
        wallets = [wallet_with_credits(award=n) for n in (1, 2)]
        expiring = wallet_with_credits(award=3, expires_at=AT + SECOND)
        ids = [wallet.pk for wallet in [*wallets, expiring]]
        with django_assert_num_queries(1):
            balances = balances_of([*ids, 999_999], AT + HOUR)
        assert {pk: balance.award for pk, balance in balances.items()} == dict(
            zip(ids, [1, 2, 0], strict=True)
        )


@pytest.mark.django_db
class TestHeldByType:
    def test_tells_what_open_holds_pin(self):
        wallet = wallet_with_credits(award=30, partner=20, purchase=50)
        hold_id = open_hold(wallet, 10)
        open_hold(wallet, 45)
        assert held_by_type(wallet.pk) == {"award": 30, "partner": 20, "purchase": 5}
        settle = {"hold": hold_id, "capture": 0, "caller": CALLER}
        posting.settle_hold(**settle, header=books.header("usage", AT))
        assert held_by_type(wallet.pk) == {"award": 20, "partner": 20, "purchase": 5}


@pytest.mark.django_db
class TestBalanceAfter:
    def test_is_what_reading_the_balance_would_say(self):
        user = CustomerFactory()
        wallet = wallet_with_credits(user, award=30, purchase=50, expires_at=AT + DAY)
        place_hold(wallet, 10, expires_in=2 * DAY)
        for amount, key in ((25, "once"), (5, "then"), (25, "once")):
            posted = spend(wallet, amount, key=key)
            balance = balance_after(posted, user_id=user.pk, team_id=None)
            assert balance == replace(balance_of(wallet.pk, AT), version=None)
