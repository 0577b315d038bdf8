"""The state of wallets in the database and in the reference, in one shape."""

import json
from datetime import datetime
from typing import Any

from django.db import connection

from ledger.tests.reference import Grant, Wallet

STATE = """
SELECT w.id, json_build_object(
    'wallet', json_build_array(w.status, w.award, w.partner, w.purchase, w.held, w.debt, w.version),
    'visible', (SELECT json_build_array(v.award, v.partner, v.purchase)
                FROM ledger_visible(w.id, %(at)s) v),
    'is_cached', w.recount_at IS NULL OR w.recount_at > %(at)s,
    'grants', (
        SELECT coalesce(json_agg(json_build_array(
            g.id, g.credit_type, g.amount, g.remaining, g.held, g.consumed, g.carried,
            g.carried_minor, g.is_frozen, g.voided_at IS NOT NULL, g.clawback_target, g.clawed,
            g.pending, ledger_recognised(g.paid_minor - g.carried_minor, g.returned_minor,
                                         g.consumed, g.amount - g.carried),
            g.paid_minor - g.carried_minor - g.returned_minor) ORDER BY g.id), '[]')
        FROM ledger_grant g WHERE g.wallet_id = w.id),
    'holds', (
        SELECT coalesce(json_agg(json_build_array(h.id, h.status, h.amount, h.captured)
                                 ORDER BY h.id), '[]')
        FROM ledger_hold h WHERE h.wallet_id = w.id),
    'debts', (
        SELECT coalesce(json_agg(json_build_array(d.amount, d.outstanding) ORDER BY d.id), '[]')
        FROM ledger_debt d WHERE d.wallet_id = w.id),
    'transactions', (
        SELECT coalesce(json_agg(json_build_array(t.id, t.kind, t.amount, t.debt, t.balance_after,
            (SELECT coalesce(json_agg(json_build_array(e.grant_id, e.amount)
                                      ORDER BY e.position), '[]')
             FROM ledger_entry e WHERE e.transaction_id = t.id)) ORDER BY t.number), '[]')
        FROM ledger_credittransaction t
        WHERE t.wallet_id = w.id AND t.number > (%(seen)s::jsonb ->> w.id::text)::bigint))
FROM ledger_wallet w WHERE w.id = ANY (%(wallets)s) ORDER BY w.id
"""


def read_state(seen: dict[int, int], at: datetime) -> list[dict[str, Any]]:
    """Return the state of wallets, by id, with what is newer than their last seen number."""
    parameters = {"at": at, "wallets": list(seen), "seen": json.dumps(seen)}
    with connection.cursor() as cursor:
        cursor.execute(STATE, parameters)
        return [state for _, state in cursor.fetchall()]


def learn_ids(wallet: Wallet, state: dict[str, Any], seen: int) -> None:
    """Tell the reference how the database calls what both made."""
    for grant, row in zip(wallet.grants, state["grants"], strict=False):
        grant.id = row[0]
    for hold, row in zip(wallet.holds, state["holds"], strict=False):
        hold.id = row[0]
    for tx, row in zip(wallet.transactions[seen:], state["transactions"], strict=False):
        tx.id = row[0]


def state_of(wallet: Wallet, at: datetime, seen: int) -> dict[str, Any]:
    """Return what the database must hold of a wallet, shaped as ``STATE`` reads it."""
    balances = [wallet.balance(t) for t in ("award", "partner", "purchase")]
    held = sum(grant.held for grant in wallet.grants)
    return {
        "wallet": [wallet.status, *balances, held, wallet.debt, len(wallet.transactions)],
        "visible": [wallet.visible(t, at) for t in ("award", "partner", "purchase")],
        "grants": [grant_state(grant) for grant in wallet.grants],
        "holds": [[hold.id, hold.status, hold.amount, hold.captured] for hold in wallet.holds],
        "debts": [[debt.amount, debt.outstanding] for debt in wallet.debts],
        "transactions": [
            [
                tx.id,
                tx.kind,
                tx.amount,
                tx.debt,
                tx.balance,
                [[line.grant.id, line.amount] for line in tx.lines],
            ]
            for tx in wallet.transactions[seen:]
        ],
    }


def grant_state(grant: Grant) -> list[object]:
    recognised, deferred = grant.money()
    return [
        grant.id,
        grant.credit_type,
        grant.amount,
        grant.remaining,
        grant.held,
        grant.consumed,
        grant.carried,
        grant.carried_money,
        grant.is_frozen,
        grant.is_void,
        grant.target,
        grant.target - grant.waiting,
        grant.pending,
        recognised,
        recognised + deferred,
    ]
