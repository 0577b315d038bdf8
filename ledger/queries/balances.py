"""What a wallet has, as anyone is shown it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from ledger.errors import WalletNotFound
from ledger.services.posting import Posting


@dataclass(frozen=True, slots=True)
class Balance:
    """
    A wallet's credits at an instant, in whole credits; ``team_id`` is the team's ``public_id``.

    An expired or frozen grant counts for what open holds pin of it and no more, so that
    ``award + partner + purchase = current = available + held``. ``version`` is ``None`` where a
    posting told the rest.
    """

    wallet_id: int
    user_id: int | None
    team_id: UUID | None
    status: str
    award: int
    partner: int
    purchase: int
    held: int
    debt: int
    version: int | None
    changed_at: datetime | None

    @property
    def current(self) -> int:
        return self.award + self.partner + self.purchase

    @property
    def available(self) -> int:
        return self.current - self.held


# Without OFFSET 0, PostgreSQL would read the grants first, and then see whether that was needed.
BALANCE = """
    SELECT w.id, w.user_id, t.public_id, w.status, coalesce(v.award, w.award),
           coalesce(v.partner, w.partner), coalesce(v.purchase, w.purchase), w.held, w.debt,
           w.version, w.changed_at
    FROM ledger_wallet w LEFT JOIN accounts_team t ON t.id = w.team_id LEFT JOIN LATERAL (
        SELECT seen.* FROM ledger_visible(w.id, %(at)s) AS seen
        WHERE w.recount_at <= %(at)s OFFSET 0) v ON true
    WHERE w.id = ANY (%(wallets)s)
"""


def balance_of(wallet_id: int, at: datetime) -> Balance:
    """
    Return the balance of a wallet at ``at``, in one query that does not grow with its history.

    :raises WalletNotFound: there is no wallet of that id.
    """
    balances = balances_of([wallet_id], at)
    if not balances:
        raise WalletNotFound
    return balances[wallet_id]


def balances_of(wallet_ids: Iterable[int], at: datetime) -> dict[int, Balance]:
    """Return the balance at ``at`` of each of these wallets that exists, by id, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(BALANCE, {"wallets": list(wallet_ids), "at": at})
        return {row[0]: Balance(*row) for row in cursor.fetchall()}


def held_by_type(wallet_id: int) -> dict[str, int]:
    """Return what open holds pin of a wallet, by credit type."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credit_type, sum(held)::bigint FROM ledger_grant"
            " WHERE wallet_id = %s AND is_open GROUP BY 1",
            [wallet_id],
        )
        return dict(cursor.fetchall())


def balance_after(posted: Posting, *, user_id: int | None, team_id: UUID | None) -> Balance:
    """Return the balance that a single posting answered with, without another query."""
    return Balance(
        wallet_id=posted.wallet_id,
        user_id=user_id,
        team_id=team_id,
        status=posted.status or "",
        award=posted.award or 0,
        partner=posted.partner or 0,
        purchase=posted.purchase or 0,
        held=posted.held or 0,
        debt=posted.owed or 0,
        version=None,
        changed_at=posted.changed_at,
    )
