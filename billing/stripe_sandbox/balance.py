"""Movements of the account's balance: what charges bring, refunds and disputes take."""

import stripe

from billing.stripe_sandbox.clock import DAY
from billing.stripe_sandbox.money import share
from billing.stripe_sandbox.routes import listing, retrieve
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object

DISPUTE_FEE = 1_500


def move(
    sandbox: Sandbox, source: Object, amount: int, type: str, *, fee: int = 0, category: str = ""
) -> Object:
    """Book ``amount``, in the smallest unit and with its sign, for what ``source`` did."""
    now = sandbox.now_of(source.get("customer"))
    detail = {"amount": fee, "application": None, "description": "Stripe processing fees"}
    return sandbox.add(
        stripe.BalanceTransaction,
        "txn",
        amount=amount,
        available_on=now + 2 * DAY,
        balance_type="payments",
        created=now,
        currency=source["currency"],
        fee=fee,
        fee_details=[{**detail, "currency": source["currency"], "type": "stripe_fee"}]
        if fee
        else [],
        net=amount - fee,
        reporting_category=category or type,
        source=source["id"],
        status="pending",
        type=type,
    )


def fee_of(amount: int) -> int:
    """Return Stripe's fee of a charge: 2.9 % and 30, whatever the currency."""
    return share(amount, 29, 1_000) + 30


retrieve("balance_transaction", "/v1/balance_transactions", "BalanceTransactionRetrieveParams")
listing(
    "balance_transaction",
    "/v1/balance_transactions",
    "BalanceTransactionListParams",
    "type source currency",
)
