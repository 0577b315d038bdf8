"""What a wallet has, as anyone is shown it."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from ledger.errors import WalletNotFound
from ledger.services.posting import Posting


@dataclass(frozen=True, slots=True)
class Balance:
    """
    A wallet's credits at an instant, in whole credits.

    An expired or frozen grant counts for what open holds pin of it and no more, so that
    ``award + partner + purchase = current = available + held``.
    """

    wallet_id: int
    user_id: int | None
    team_id: int | None
    status: str
    award: int
    partner: int
    purchase: int
    held: int
    debt: int
    version: int
    changed_at: datetime | None

    @property
    def current(self) -> int:
        return self.award + self.partner + self.purchase

    @property
    def available(self) -> int:
        return self.current - self.held


BALANCE = """
    SELECT w.id, w.user_id, w.team_id, w.status, coalesce(v.award, w.award), coalesce(v.partner, w.partner),
           coalesce(v.purchase, w.purchase), w.held, w.debt, w.version, w.changed_at
    FROM ledger_wallet w LEFT JOIN LATERAL (
        SELECT seen.* FROM ledger_visible(w.id, %(at)s) AS seen WHERE w.recount_at <= %(at)s) v ON true
    WHERE w.id = %(wallet)s
"""


def balance_of(wallet_id: int, at: datetime) -> Balance:
    """
    Return the balance of a wallet at ``at``, in one query that does not grow with its history.

    :raises WalletNotFound: there is no wallet of that id.
    """
    with connection.cursor() as cursor:
        cursor.execute(BALANCE, {"wallet": wallet_id, "at": at})
        row = cursor.fetchone()
    if row is None:
        raise WalletNotFound
    return Balance(*row)


def held_by_type(wallet_id: int) -> dict[str, int]:
    """Return what open holds pin of a wallet, by credit type."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credit_type, sum(held)::bigint FROM ledger_grant WHERE wallet_id = %s AND is_open GROUP BY 1",
            [wallet_id],
        )
        return dict(cursor.fetchall())


def balance_after(posted: Posting, *, user_id: int | None, team_id: int | None) -> Balance:
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
        version=posted.number or 0,
        changed_at=posted.changed_at,
    )
