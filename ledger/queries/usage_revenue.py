"""
Revenue recognised by use, line by line: from which use of which grant it comes.

DESIGN 4's money rule says what a grant has recognised, of all its uses together. Here its uses
stand in the order in which they were booked, each with as much as the rule says of it and all
before it, less what it says of those before it. So they add up to what the grant has recognised, to
the smallest coin, whatever was given back or returned meanwhile: money that went back is taken from
the credits that were used last.
"""

from datetime import date
from typing import Any

# Tables of a WITH clause that ends in ``use_revenue``: each use, and each debt repaid (``kind``),
# of every paid grant that moved in a month, with the revenue of it at the month's end and before
# the month, in minor units. The month is locked: ``ledger_grantday`` knows all of it. What is given
# back counts from the day on which it was; ``recorded_at`` is that of the use.
USE_REVENUE = """
    stretch AS MATERIALIZED (
        SELECT * FROM ledger_stretches()
    ), paid_grant AS MATERIALIZED (
        SELECT g.id, g.wallet_id, g.currency,
               g.paid_minor - n.carried_minor AS paid, n.returned_minor AS returned,
               g.amount - n.carried AS amount,
               g.paid_minor - coalesce(b.carried_minor, 0) AS paid_before,
               coalesce(b.returned_minor, 0) AS returned_before,
               g.amount - coalesce(b.carried, 0) AS amount_before
        FROM (SELECT DISTINCT ON (grant_id) * FROM ledger_grantday
              WHERE day >= %(month)s AND day < %(next_month)s
              ORDER BY grant_id, day DESC) n
        JOIN ledger_grant g ON g.id = n.grant_id
        LEFT JOIN LATERAL (
            SELECT * FROM ledger_grantday x WHERE x.grant_id = n.grant_id AND x.day < %(month)s
            ORDER BY x.day DESC LIMIT 1) b ON true
    ), use_line AS (
        SELECT g.*, e.position, t.number, t.kind, t.actor_id, t.feature, t.price_ids, t.quantities,
               t.recorded_at, -e.amount - coalesce(r.amount, 0) AS taken,
               CASE WHEN d.day < %(month)s THEN -e.amount - coalesce(r.before, 0) ELSE 0 END
                   AS taken_before
        FROM paid_grant g
        JOIN ledger_entry e ON e.grant_id = g.id AND e.amount < 0
        JOIN ledger_credittransaction t
            ON t.id = e.transaction_id AND t.kind IN ('usage', 'debt_repayment')
        JOIN stretch s ON t.recorded_at >= s.since AND t.recorded_at < s.until
        CROSS JOIN LATERAL (
            SELECT greatest((t.recorded_at AT TIME ZONE s.time_zone)::date, s.first_day) AS day) d
        LEFT JOIN LATERAL (
            SELECT sum(x.amount) AS amount, sum(x.amount) FILTER (WHERE x.day < %(month)s) AS before
            FROM (SELECT z.amount, greatest((y.recorded_at AT TIME ZONE v.time_zone)::date,
                                            v.first_day) AS day
                  FROM ledger_restoration z
                  JOIN ledger_credittransaction y ON y.id = z.transaction_id
                  JOIN stretch v ON y.recorded_at >= v.since AND y.recorded_at < v.until
                  WHERE z.original_id = e.transaction_id AND z.position = e.position) x
            WHERE x.day < %(next_month)s) r ON true
        WHERE d.day < %(next_month)s
    ), use_to AS (
        SELECT *, sum(taken) OVER uses AS upto, sum(taken_before) OVER uses AS upto_before
        FROM use_line
        WINDOW uses AS (PARTITION BY id ORDER BY number, position ROWS UNBOUNDED PRECEDING)
    ), use_revenue AS MATERIALIZED (
        SELECT wallet_id, currency, kind, actor_id, feature, price_ids, quantities, recorded_at,
               ledger_recognised(paid, returned, upto::bigint, amount)
               - ledger_recognised(paid, returned, (upto - taken)::bigint, amount) AS minor,
               ledger_recognised(paid_before, returned_before, upto_before::bigint, amount_before)
               - ledger_recognised(paid_before, returned_before,
                                   (upto_before - taken_before)::bigint, amount_before)
                   AS minor_before
        FROM use_to
    )
"""


def month_of_use(month: date) -> dict[str, Any]:
    """Return the parameters of ``USE_REVENUE`` for the month that begins on ``month``."""
    return {"month": month, "next_month": first_of_next(month)}


def first_of_next(month: date) -> date:
    year, number = divmod(month.year * 12 + month.month, 12)
    return date(year, number + 1, 1)
