"""The transactions of a wallet, as its statement lists them, and one of them in full."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import Prefetch, QuerySet

from ledger.errors import TransactionNotFound
from ledger.models import CreditTransaction, Entry, Wallet
from ledger.services.posting import Posting

# Everywhere a transaction is shown, ``lines`` are its entries in burn-down order.
LINES = Prefetch("entries", queryset=Entry.objects.order_by("position"), to_attr="lines")


def transactions_of(
    wallet_id: int, *, since: datetime | None = None, until: datetime | None = None
) -> QuerySet[CreditTransaction]:
    """
    Return the transactions of a wallet recorded from ``since`` on and before ``until``.

    Instants become bounds of ``number``, so that the index of (wallet, number) serves both.
    """
    rows = CreditTransaction.objects.filter(wallet=wallet_id)
    if since is not None:
        rows = rows.filter(number__gte=first_number(wallet_id, since))
    if until is not None:
        rows = rows.filter(number__lt=first_number(wallet_id, until))
    return rows


def first_number(wallet_id: int, at: datetime) -> int:
    """Return the number of a wallet's first transaction recorded at ``at`` or later."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_first_number(%s, %s)", [wallet_id, at])
        return cursor.fetchone()[0]


def shown(rows: QuerySet[CreditTransaction]) -> QuerySet[CreditTransaction]:
    """Return ``rows`` with all that a transaction is shown with, in two queries for any number."""
    # The model declares ``lines`` as well, for transactions that no query made.
    return rows.select_related("wallet__team").prefetch_related(LINES)  # type: ignore[no-redef]


def transaction_named(transaction_id: UUID) -> CreditTransaction:
    """
    Return a transaction as it is shown.

    :raises TransactionNotFound: there is none of that id.
    """
    transaction = shown(CreditTransaction.objects.filter(pk=transaction_id)).first()
    if transaction is None:
        raise TransactionNotFound
    return transaction


def transaction_of(posted: Posting, wallet: Wallet, **columns: Any) -> CreditTransaction:
    """
    Return the transaction of a posting as it is shown: the first one, if it was a repeat.

    A new one is put together from the posting and the ``columns`` that were asked for, without a
    query.
    """
    if not posted.is_new:
        return transaction_named(cast("UUID", posted.transaction_id))
    amount = cast("int", posted.amount)
    columns |= {
        "id": posted.transaction_id,
        "debt": posted.debt,
        "balance_after": posted.balance_after,
        "recorded_at": posted.recorded_at,
    }
    transaction = CreditTransaction(wallet=wallet, amount=amount, **columns)
    sign = 1 if amount > 0 else -1
    lines = zip(
        posted.grant_ids or (), posted.credit_types or (), posted.amounts or (), strict=True
    )
    transaction.lines = [
        Entry(grant_id=grant, credit_type=credit_type, amount=sign * credits)
        for grant, credit_type, credits in lines
    ]
    return transaction
