"""What was paid for credits: how much of it is revenue, and how much is owed in credits still."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection


@dataclass(frozen=True, slots=True)
class Money:
    """
    What was paid in one currency, in its minor units, by DESIGN 4's rule.

    ``paid − returned = recognised + released + deferred``. ``unspent`` are the credits
    that are left of it and have not expired.
    """

    currency: str
    paid: int
    returned: int
    recognised: int
    released: int
    deferred: int
    unspent: int


# ledger.money_rule says the same of one grant in Python. Entries are read only of grants that are
# less than use and carry-over account for: of those, staff may have taken.
MONEY = """
    WITH figures AS (
        SELECT g.currency, g.paid_minor - g.carried_minor AS paid, g.returned_minor AS returned,
               g.consumed, g.remaining, g.amount - g.carried AS amount,
               coalesce(s.taken, 0) AS taken,
               CASE WHEN g.expires_at <= %(at)s THEN g.held ELSE g.remaining END AS unspent,
               ledger_recognised(g.paid_minor - g.carried_minor, g.returned_minor, g.consumed,
                                 g.amount - g.carried) AS recognised
        FROM ledger_grant g
        LEFT JOIN LATERAL (
            SELECT sum(-e.amount - coalesce(r.given_back, 0)) AS taken
            FROM ledger_entry e JOIN ledger_credittransaction t ON t.id = e.transaction_id
            LEFT JOIN LATERAL (
                SELECT sum(amount) AS given_back FROM ledger_restoration
                WHERE original_id = e.transaction_id AND position = e.position) r ON true
            WHERE g.amount - g.carried - g.remaining - g.consumed > 0
              AND e.grant_id = g.id AND e.amount < 0 AND t.kind IN ('adjustment', 'void')) s ON true
        WHERE g.paid_minor > 0
    ), sums AS (
        SELECT *, CASE WHEN taken = 0 THEN 0
                       WHEN remaining = 0 THEN paid - returned - recognised
                       ELSE least(paid - returned - recognised,
                                  floor(paid::numeric * taken / amount))
                  END::bigint AS released
        FROM figures
    )
    SELECT currency, sum(paid)::bigint, sum(returned)::bigint, sum(recognised)::bigint,
           sum(released)::bigint, sum(paid - returned - recognised - released)::bigint,
           sum(unspent)::bigint
    FROM sums GROUP BY currency ORDER BY currency
"""


def money_by_currency(at: datetime) -> Sequence[Money]:
    """Return what was paid for all grants, currency by currency; reads every paid grant."""
    with connection.cursor() as cursor:
        cursor.execute(MONEY, {"at": at})
        return [Money(*row) for row in cursor.fetchall()]
