import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from creditsite.testing import check_deferred, command_running
from ledger.invariants import CHECKS, findings, violations
from ledger.models import CreditTransaction, Wallet
from ledger.services import posting
from ledger.services.charges import charge_for
from ledger.tests import books
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    catalogue,
    open_hold,
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
        "UPDATE ledger_wallet SET recount_at = recount_at + interval '1 microsecond' WHERE id = %(w)s",
        "UPDATE ledger_grant SET is_frozen = true WHERE wallet_id = %(w)s AND remaining > held",
    ],
    "A transaction continues the balance and the clock of the one before": [
        "UPDATE ledger_credittransaction SET balance_after = balance_after + 1"
        " WHERE wallet_id = %(w)s AND number = 3",
        "UPDATE ledger_credittransaction SET recorded_at = recorded_at - interval '1 second'"
        " WHERE wallet_id = %(w)s AND number = 3",
    ],
    "A transaction's figures are the sums of its entries": [
        "UPDATE ledger_credittransaction SET award = award + 1, amount = amount + 1"
        " WHERE wallet_id = %(w)s AND number = 1",
        "UPDATE ledger_credittransaction SET award = award + 1, partner = partner - 1"
        " WHERE wallet_id = %(w)s AND number = 1",
        "DELETE FROM ledger_entry WHERE wallet_id = %(w)s AND credit_type = 'partner'",
    ],
    "A transaction's debt is the sum of its debt entries": [
        "UPDATE ledger_credittransaction SET debt = debt + 1 WHERE wallet_id = %(w)s AND number = 1",
        "DELETE FROM ledger_debtentry WHERE wallet_id = %(w)s",
    ],
    "A transaction is of a known kind, and its sign fits": [
        "UPDATE ledger_credittransaction SET kind = 'gift' WHERE wallet_id = %(w)s AND number = 1",
        "UPDATE ledger_credittransaction SET kind = 'usage' WHERE wallet_id = %(w)s AND number = 1",
        "UPDATE ledger_credittransaction SET kind = 'award' WHERE wallet_id = %(w)s AND kind = 'usage'",
    ],
    "A transaction's text is what its digest was made of": [
        f"UPDATE ledger_credittransaction SET {change} WHERE wallet_id = %(w)s AND {of}"
        for of, change in [
            ("description = 'A letter'", "description = 'A lettre'"),
            ("description = 'A letter'", "metadata = '{}'"),
            ("description = 'A letter'", "text_digest = NULL"),
            ("description = 'A letter'", "text_salt = NULL"),
            ("text_salt IS NULL", "reference_id = 'r-1'"),
            ("text_salt IS NULL", "metadata = '{}'"),
        ]
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
        "UPDATE ledger_grant SET amount = amount + 1 WHERE wallet_id = %(w)s AND source = 'carry_over'",
        "UPDATE ledger_grant SET carried_minor = carried_minor + 1 WHERE wallet_id = %(w)s"
        " AND carried > 0",
        "UPDATE ledger_grant SET carried_from_id = NULL WHERE wallet_id = %(w)s",
    ],
    "A grant's held credits are what open holds pin": [
        "UPDATE ledger_grant SET held = held + 1 WHERE wallet_id = %(w)s AND remaining > held",
        "UPDATE ledger_grant SET pending = held + 1 WHERE wallet_id = %(w)s AND remaining > held",
        "UPDATE ledger_grant SET clawback_target = held + clawed + 1 WHERE wallet_id = %(w)s"
        " AND remaining > held",
        "DELETE FROM ledger_holdallocation WHERE wallet_id = %(w)s AND pinned > 0",
    ],
    "A hold pins its amount while open, and nothing after": [
        "UPDATE ledger_holdallocation SET pinned = pinned - 1 WHERE wallet_id = %(w)s AND pinned > 0",
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


def eventful_books() -> Wallet:
    """A wallet with something of everything in its books, and its neighbour of the same kind."""
    catalogue()
    eventful_wallet()
    return eventful_wallet()


def eventful_wallet() -> Wallet:
    late = AT + 2 * DAY
    wallet = wallet_with_credits(award=100, partner=30, expires_at=AT + DAY)
    letter = charge_for(quantities(llm_input=2_000, llm_output=350), at=AT)
    spent = spend(wallet, letter, description="A letter", metadata={"pages": 2})
    spend(wallet, 6)
    # Expired, booked, and put back into what carries it on.
    posting.expire(at=late, limit=10)
    books.reverse(spent, at=late)
    # Bought and charged back: a debt.
    bought = books.buy(wallet.pk, 100, 1_000, late)
    spend(wallet, charge_for(quantities(report=2), at=late), at=late)
    books.claw_back(books.grant_of(bought), 50, 500, late)
    # Bought, used, and put back partly.
    books.give(wallet.pk, 300, "award", "award", late, expires_at=late + DAY) if False else None
    return wallet
