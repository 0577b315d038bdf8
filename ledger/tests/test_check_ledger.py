import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from creditsite.testing import check_deferred, command_running
from ledger.invariants import CHECKS, all_checks, findings, violations
from ledger.models import CreditTransaction, Wallet
from ledger.services import posting
from ledger.services.charges import charge_for
from ledger.tests import books
from ledger.tests.factories import (
    AT,
    DAY,
    catalogue,
    place_hold,
    quantities,
    spend,
    wallet_with_credits,
)

# Statements that break the check, each by itself; %(w)s is the wallet of eventful_books().
BREAKS = {
    "A wallet's balances are the sums of its open grants": [
        "UPDATE ledger_wallet SET award = award + 1 WHERE id = %(w)s",
        "UPDATE ledger_wallet SET purchase = purchase + 1 WHERE id = %(w)s",
        "UPDATE ledger_wallet SET partner = partner + 1 WHERE id = %(w)s",
        "UPDATE ledger_wallet SET held = held - 1 WHERE id = %(w)s",
    ],
    "A wallet's balances are the sums of its entries": [
        "UPDATE ledger_wallet SET award = award + 1 WHERE id = %(w)s",
        "UPDATE ledger_entry SET amount = amount + 1 WHERE wallet_id = %(w)s AND position = 1",
        "DELETE FROM ledger_entry WHERE wallet_id = %(w)s AND credit_type = 'partner'",
    ],
    "A wallet's debt is the sum of its debts": [
        "UPDATE ledger_wallet SET debt = debt + 1 WHERE id = %(w)s",
        "UPDATE ledger_wallet SET debt = 0 WHERE id = %(w)s",
    ],
    "A wallet's transactions are numbered without a gap up to its version": [
        "UPDATE ledger_wallet SET version = version + 1 WHERE id = %(w)s",
        "UPDATE ledger_credittransaction SET number = number + 100 WHERE wallet_id = %(w)s",
        "UPDATE ledger_credittransaction SET number = -1 WHERE wallet_id = %(w)s AND number = 2",
    ],
    "A wallet is recounted no later than a grant stops being spendable": [
        "UPDATE ledger_wallet SET recount_at = NULL WHERE id = %(w)s",
        "UPDATE ledger_wallet SET recount_at = recount_at + interval '1 microsecond'"
        " WHERE id = %(w)s",
        "UPDATE ledger_grant SET is_frozen = true WHERE wallet_id = %(w)s AND remaining > held",
    ],
    "A transaction continues the balance and the clock of the one before": [
        "UPDATE ledger_credittransaction SET balance_after = balance_after + 1"
        " WHERE wallet_id = %(w)s AND number = 3",
        "UPDATE ledger_credittransaction SET recorded_at = recorded_at - interval '1 second'"
        " WHERE wallet_id = %(w)s AND number = 2",
    ],
    "A transaction's figures are the sums of its entries": [
        "UPDATE ledger_credittransaction SET award = award + 1, amount = amount + 1"
        " WHERE wallet_id = %(w)s AND number = 1",
        "UPDATE ledger_credittransaction SET award = award + 1, partner = partner - 1"
        " WHERE wallet_id = %(w)s AND number = 1",
        "DELETE FROM ledger_entry WHERE wallet_id = %(w)s AND credit_type = 'partner'",
    ],
    "A transaction's debt is the sum of its debt entries": [
        "UPDATE ledger_credittransaction SET debt = debt + 1"
        " WHERE wallet_id = %(w)s AND number = 1",
        "DELETE FROM ledger_debtentry WHERE wallet_id = %(w)s",
    ],
    "A transaction is of a known kind, and its sign fits": [
        "UPDATE ledger_credittransaction SET kind = 'gift' WHERE wallet_id = %(w)s AND number = 1",
        "UPDATE ledger_credittransaction SET kind = 'usage' WHERE wallet_id = %(w)s AND number = 1",
        "UPDATE ledger_credittransaction SET kind = 'award'"
        " WHERE wallet_id = %(w)s AND kind = 'usage'",
    ],
    "A transaction's text is what its digest was made of": [
        "UPDATE ledger_credittransaction SET description = 'A lettre'"
        " WHERE wallet_id = %(w)s AND description = 'A letter'",
        "UPDATE ledger_credittransaction SET metadata = '{}'"
        " WHERE wallet_id = %(w)s AND description = 'A letter'",
        "UPDATE ledger_credittransaction SET text_digest = NULL"
        " WHERE wallet_id = %(w)s AND description = 'A letter'",
        "UPDATE ledger_credittransaction SET text_salt = NULL"
        " WHERE wallet_id = %(w)s AND description = 'A letter'",
        "UPDATE ledger_credittransaction SET reference_id = 'r-1'"
        " WHERE wallet_id = %(w)s AND text_salt IS NULL",
        "UPDATE ledger_credittransaction SET metadata = '{}'"
        " WHERE wallet_id = %(w)s AND text_salt IS NULL",
    ],
    "A charge is its quantities at the prices it names, rounded up once": [
        "UPDATE ledger_featureprice SET unit_price = 2 WHERE unit_price = 1",
        "UPDATE ledger_credittransaction SET quantities = '{2001,1}'"
        " WHERE wallet_id = %(w)s AND feature = 'llm.input+llm.output'",
        "UPDATE ledger_credittransaction SET quantities = NULL"
        " WHERE wallet_id = %(w)s AND feature = 'llm.input+llm.output'",
        "UPDATE ledger_credittransaction SET price_ids = '{-1}' WHERE wallet_id = %(w)s"
        " AND feature = 'report'",
        # What a hold captured is no more than it was placed for.
        "UPDATE ledger_credittransaction SET quantities = '{0.5}' WHERE wallet_id = %(w)s"
        " AND feature = 'report' AND hold_id IS NOT NULL",
    ],
    "A grant's remaining credits are the sum of its entries": [
        "UPDATE ledger_grant SET remaining = remaining - 1 WHERE wallet_id = %(w)s"
        " AND credit_type = 'partner'",
        "UPDATE ledger_grant SET amount = amount + 1 WHERE wallet_id = %(w)s"
        " AND credit_type = 'partner'",
        "DELETE FROM ledger_entry WHERE wallet_id = %(w)s AND credit_type = 'partner'",
    ],
    "A grant's consumed credits are what use took, less what was given back": [
        "UPDATE ledger_grant SET consumed = consumed - 1 WHERE wallet_id = %(w)s AND consumed > 0",
        "UPDATE ledger_restoration SET amount = amount + 1 WHERE wallet_id = %(w)s",
        "UPDATE ledger_credittransaction SET kind = 'adjustment' WHERE wallet_id = %(w)s"
        " AND kind = 'expiry'",
    ],
    "What a grant carried over is in the grants that carry it on": [
        "UPDATE ledger_grant SET amount = amount + 1"
        " WHERE wallet_id = %(w)s AND source = 'carry_over'",
        "UPDATE ledger_grant SET carried_minor = carried_minor + 1 WHERE wallet_id = %(w)s"
        " AND carried > 0",
        "UPDATE ledger_grant SET carried_from_id = NULL WHERE wallet_id = %(w)s",
    ],
    "A grant's returned money is the sum of its returns": [
        "UPDATE ledger_grant SET returned_minor = returned_minor - 1 WHERE wallet_id = %(w)s"
        " AND returned_minor > 0",
        "UPDATE ledger_moneyreturn SET amount_minor = amount_minor + 1 WHERE wallet_id = %(w)s",
        "DELETE FROM ledger_moneyreturn WHERE wallet_id = %(w)s",
    ],
    "A grant's held credits are what open holds pin": [
        "UPDATE ledger_grant SET held = held + 1 WHERE wallet_id = %(w)s AND remaining > held",
        "UPDATE ledger_grant SET pending = held + 1 WHERE wallet_id = %(w)s AND remaining > held",
        "UPDATE ledger_grant SET clawback_target = held + clawed + 1 WHERE wallet_id = %(w)s"
        " AND remaining > held",
        "DELETE FROM ledger_holdallocation WHERE wallet_id = %(w)s AND pinned > 0",
    ],
    "A hold pins its amount while open, and nothing after": [
        "UPDATE ledger_holdallocation SET pinned = pinned - 1"
        " WHERE wallet_id = %(w)s AND pinned > 0",
        "UPDATE ledger_holdallocation SET pinned = 1 WHERE wallet_id = %(w)s AND pinned = 0",
        "UPDATE ledger_holdallocation SET amount = amount + 1 WHERE wallet_id = %(w)s",
        "DELETE FROM ledger_holdallocation WHERE wallet_id = %(w)s",
    ],
    "A hold's capture is its one transaction": [
        "UPDATE ledger_hold SET captured = captured - 1, released = released + 1"
        " WHERE wallet_id = %(w)s AND status = 'captured'",
        "UPDATE ledger_credittransaction SET hold_id = NULL WHERE wallet_id = %(w)s",
        "UPDATE ledger_credittransaction SET hold_id = (SELECT id FROM ledger_hold"
        " WHERE wallet_id = %(w)s AND status = 'open') WHERE wallet_id = %(w)s AND number = 1",
    ],
    "A debt is the sum of its entries": [
        "UPDATE ledger_debt SET outstanding = outstanding - 1 WHERE wallet_id = %(w)s",
        "DELETE FROM ledger_debtentry WHERE wallet_id = %(w)s",
    ],
    "What is given back never exceeds, line by line, what was taken": [
        "UPDATE ledger_restoration SET amount = amount + 1000 WHERE wallet_id = %(w)s",
        "UPDATE ledger_restoration SET position = 9 WHERE wallet_id = %(w)s",
    ],
    "An open grant that is voided is held": [
        "UPDATE ledger_grant SET voided_at = now() WHERE wallet_id = %(w)s AND remaining > held",
    ],
}


TABLES = [
    "wallet",
    "grant",
    "credittransaction",
    "entry",
    "restoration",
    "moneyreturn",
    "debt",
    "debtentry",
    "hold",
    "holdallocation",
    "featureprice",
]


def eventful_wallet() -> Wallet:
    """A wallet with something of everything in its books."""
    late = AT + 2 * DAY
    wallet = wallet_with_credits(award=100, expires_at=AT + DAY)
    letter = charge_for(quantities(llm_input=2_000, llm_output=350), at=AT)
    spent = spend(wallet, letter, description="A letter", metadata={"pages": 2})
    # What is left expires; what was spent is put back, and carried over for that.
    posting.expire(at=late, limit=10)
    books.reverse(spent, at=late)
    # Bought, used and charged back: a debt.
    bought = books.buy(wallet.pk, 100, 1_000, late)
    spend(wallet, charge_for(quantities(report=2), at=late), at=late)
    books.claw_back(books.grant_of(bought), 60, 600, late)
    # A hold that was captured in part, and an open one.
    books.award(wallet.pk, 50, late, expires_at=late + DAY)
    books.partner(wallet.pk, 30, late)
    report = place_hold(wallet, charge_for(quantities(report=1), at=late), at=late)
    books.settle(report.hold_id, 25, late)
    place_hold(wallet, 10, at=late)
    return wallet


def damage(statement: str, wallet: Wallet) -> None:
    """Do what only somebody with the rights of the database's owner can do to the books."""
    check_deferred()
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE ledger_{table} DISABLE TRIGGER USER")
        cursor.execute(statement, {"w": wallet.pk})
        assert cursor.rowcount > 0, "the statement damages nothing"


def found_by(check: str, *wallets: Wallet) -> list[str]:
    """Return what ``check`` finds, in these wallets or in all."""
    ids = [wallet.pk for wallet in wallets] or None
    return next(finding.violations for finding in findings(ids) if finding.check == check)


@pytest.fixture
def wallets():
    """Two wallets with something of everything in their books."""
    catalogue()
    return eventful_wallet(), eventful_wallet()


@pytest.mark.django_db
class TestFindings:
    def test_are_none_while_the_books_are_sound(self, wallets):
        assert [finding.violations for finding in findings()] == [[]] * len(all_checks())
        assert Wallet.objects.get(pk=wallets[0].pk).debt == 36
        assert Wallet.objects.get(pk=wallets[0].pk).held == 10

    @pytest.mark.parametrize("check", CHECKS)
    def test_tell_when_a_rule_is_broken(self, wallets, check):
        broken, sound = wallets
        for statement in BREAKS[check]:
            with transaction.atomic():
                damage(statement, broken)
                told = found_by(check)
                mine = [line for line in told if line.startswith(f"wallet {broken.pk}: ")]
                assert mine, statement
                assert sorted(found_by(check, broken)) == sorted(mine)
                if "featureprice" not in statement:  # Prices are everybody's.
                    assert told == mine
                    assert found_by(check, sound) == []
                assert f"{check}: {mine[0]}" in violations()
                transaction.set_rollback(True)

    def test_are_provoked_for_each_check(self):
        assert BREAKS.keys() == CHECKS.keys()


@pytest.mark.django_db
class TestCheckLedger:
    BREAK = "UPDATE ledger_wallet SET debt = debt + 1 WHERE id = %(w)s"

    def run(self, *arguments):
        out = StringIO()
        try:
            call_command("check_ledger", *arguments, stdout=out)
        except CommandError as error:
            return out.getvalue(), str(error), error.returncode
        return out.getvalue(), "", 0

    def test_tells_what_holds_and_how_much_it_looked_at(self, wallets):
        out, error, status = self.run()
        lines = out.splitlines()
        assert [line[:5] for line in lines[:-1]] == ["holds"] * len(all_checks())
        for line, check in zip(lines, all_checks(), strict=False):
            assert line.endswith(check)
        counted = "2 wallets, 10 grants and 20 transactions"
        assert lines[-1].startswith(f"{len(all_checks())} checks over {counted} in ")
        assert lines[-1].endswith(" s: 0 broken")
        assert (error, status) == ("", 0)

    @pytest.mark.breaks_the_books
    def test_tells_what_is_broken_and_exits_with_1(self, wallets):
        damage(self.BREAK, wallets[0])
        out, error, status = self.run()
        assert "broken" in out
        assert f"          wallet {wallets[0].pk}: 37, debts say 36\n" in out
        assert (error, status) == ("The books are broken in 1 places.", 1)

    @pytest.mark.breaks_the_books
    def test_looks_at_the_wallets_that_are_named(self, wallets):
        broken, sound = wallets
        damage(self.BREAK, broken)
        assert self.run(f"--wallet={sound.pk}")[2] == 0
        assert self.run(f"--wallet={broken.pk}")[2] == 1
        assert self.run(f"--wallet={sound.pk}", f"--wallet={broken.pk}")[2] == 1

    @pytest.mark.breaks_the_books
    def test_prints_one_json_document_when_asked(self, wallets):
        sound = json.loads(self.run("--json")[0])
        assert (sound["sound"], sound["wallets"], sound["grants"]) == (True, 2, 10)
        assert sound["transactions"] == CreditTransaction.objects.count()
        assert [check["check"] for check in sound["checks"]] == list(all_checks())
        damage(self.BREAK, wallets[0])
        out, _, status = self.run("--json")
        broken = json.loads(out)
        assert (broken["sound"], status) == (False, 1)
        assert [check["check"] for check in broken["checks"] if check["violations"]] == [
            "A wallet's debt is the sum of its debts"
        ]

    @pytest.mark.breaks_the_books
    def test_ends_its_process_with_1(self, ledger_db):
        wallet = wallet_with_credits(award=10)
        damage("UPDATE ledger_wallet SET version = 7 WHERE id = %(w)s", wallet)
        with command_running("check_ledger") as command:
            assert command.wait() == 1
            assert f"wallet {wallet.pk}: version 7, 1 transactions up to no. 1" in command.output
