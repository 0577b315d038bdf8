import pytest

from ledger.choices import CreditType
from ledger.models import Grant
from ledger.money_rule import deferred_minor, recognised_minor, released_minor
from ledger.queries.liability import money_by_currency
from ledger.tests.books import (
    DAY,
    START,
    award,
    buy,
    claw_back,
    deduct,
    give,
    grant_of,
    new_wallet,
    reverse,
    spend,
)


@pytest.mark.django_db
class TestMoneyByCurrency:
    def test_is_nothing_where_nothing_was_paid(self):
        award(new_wallet(), 10)
        assert list(money_by_currency(START)) == []

    def test_follows_the_rule_grant_by_grant(self):
        wallet = new_wallet()
        # Each in its own: use, staff taking a part and all the rest, a reversal of that, a refund.
        used, taken, emptied, restored, refunded = (
            buy(wallet, 99, paid) for paid in (1_000, 777, 501, 333, 1_001)
        )
        spend(wallet, 34, grant=grant_of(used))
        spend(wallet, 10, grant=grant_of(taken))
        deduct(wallet, 20, grant=grant_of(taken))
        spend(wallet, 50, grant=grant_of(emptied))
        deduct(wallet, 49, grant=grant_of(emptied))
        reverse(deduct(wallet, 40, grant=grant_of(restored)), 30)
        spend(wallet, 80, grant=grant_of(refunded))
        claw_back(grant_of(refunded), 49, 500)
        grants = Grant.objects.filter(wallet=wallet)
        taken_of = {grant_of(taken): 20, grant_of(emptied): 49, grant_of(restored): 10}
        expected = {"recognised": 0, "released": 0, "deferred": 0}
        for grant in grants:
            figures = {
                "paid_minor": grant.paid_minor,
                "returned_minor": grant.returned_minor,
                "consumed": grant.consumed,
                "amount": grant.amount,
            }
            staff = {"remaining": grant.remaining, "taken": taken_of.get(grant.pk, 0)}
            expected["recognised"] += recognised_minor(**figures)
            expected["released"] += released_minor(**figures, **staff)
            expected["deferred"] += deferred_minor(**figures, **staff)
        (money,) = money_by_currency(START)
        assert (money.currency, money.paid, money.returned) == ("usd", 3_612, 500)
        assert {name: getattr(money, name) for name in expected} == expected
        assert money.released > 0
        assert money.unspent == sum(grant.remaining for grant in grants)

    def test_keeps_currencies_apart(self):
        for currency, paid in (("usd", 500), ("eur", 300), ("usd", 100)):
            money = {"paid_minor": paid, "currency": currency}
            give(new_wallet(), 10, CreditType.PURCHASE, "purchase", **money)
        assert [(each.currency, each.deferred) for each in money_by_currency(START)] == [
            ("eur", 300),
            ("usd", 600),
        ]

    def test_agrees_with_the_worked_table_after_the_chargeback_is_lost(self):
        wallet = new_wallet()
        bought = buy(wallet, 100, 1_000)
        spend(wallet, 80)
        claw_back(grant_of(bought), 50, 500)
        (money,) = money_by_currency(START)
        assert (money.deferred, money.recognised) == (0, 500)
        claw_back(grant_of(bought), 100, 1_000)
        (money,) = money_by_currency(START)
        assert (money.deferred, money.recognised, money.released) == (0, 0, 0)

    def test_counts_no_credits_that_have_expired(self):
        wallet = new_wallet()
        buy(wallet, 10, 100, expires_at=START + DAY)
        assert [each.unspent for each in money_by_currency(START + 2 * DAY)] == [0]
