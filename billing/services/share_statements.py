"""
Saying, once for each month that is over, what agents and partners earned in it.

A month is one statement of SQL over the books as they were locked: how many uses it had is of no
account for memory. What a use earns depends on what was in force when it was booked; what is given
back or returned later is taken off again in the month in which it was.
"""

import json
from datetime import date, datetime
from typing import Any

from django.db import connection, transaction

from audit import services as audit
from billing.errors import FiguresDiffer, MonthNotOver
from billing.models import ShareMonth, ShareStatement
from billing.services.share_mail import tell_made
from ledger.models import LockedMonth
from ledger.queries.figures import money_moved
from ledger.queries.usage_revenue import USE_REVENUE, first_of_next, month_of_use

LOCK = int.from_bytes(b"share", "big")

MAKE = f"""
    WITH {USE_REVENUE}, percent AS MATERIALIZED (
        SELECT since, lead(since, 1, 'infinity') OVER (ORDER BY since) AS until, agent, partner
        FROM (SELECT '-infinity'::timestamptz AS since, 0::numeric AS agent, 0::numeric AS partner
              UNION ALL
              (SELECT DISTINCT ON (changed_at) changed_at, agent_revenue_share, partner_revenue_share
               FROM ledger_creditsettings ORDER BY changed_at, id DESC)) version
    ), spent AS (                        -- by use, with what was in force and whose credits they were
        SELECT u.*, p.agent, p.partner, w.user_id
        FROM use_revenue u
        JOIN percent p ON u.recorded_at >= p.since AND u.recorded_at < p.until
        JOIN ledger_wallet w ON w.id = u.wallet_id
        WHERE u.kind = 'usage' AND (u.minor <> 0 OR u.minor_before <> 0)
    ), of_agents AS (
        SELECT t.payee_id, 'agent' AS kind, s.currency, s.user_id, NULL::bigint AS feature_id,
               s.agent AS percent, s.minor - s.minor_before AS basis
        FROM spent s
        JOIN accounts_user u ON u.id = s.user_id
        LEFT JOIN billing_erasedreferral e ON e.user_id = u.id
        JOIN billing_shareterm t ON t.payee_id = coalesce(e.referrer_id, u.referrer_id)
            AND t.feature_id IS NULL AND s.recorded_at >= t.since
            AND (t.until IS NULL OR s.recorded_at < t.until)
        WHERE s.agent > 0 AND t.payee_id <> s.user_id AND t.payee_id IS DISTINCT FROM s.actor_id
    ), of_features AS (                  -- of several features: by what each of them cost
        SELECT s.*, feature AS code, s.minor - s.minor_before AS basis
        FROM spent s WHERE partner > 0 AND feature <> '' AND strpos(feature, '+') = 0
        UNION ALL
        SELECT s.*, c.code,
               floor(round(s.minor * c.upto / c.total, 6))
               - floor(round(s.minor * (c.upto - c.cost) / c.total, 6))
               - floor(round(s.minor_before * c.upto / c.total, 6))
               + floor(round(s.minor_before * (c.upto - c.cost) / c.total, 6))
        FROM spent s CROSS JOIN LATERAL (
            SELECT code, cost, sum(cost) OVER (ORDER BY place) AS upto, sum(cost) OVER () AS total
            FROM (SELECT x.code, x.place, CASE WHEN p.is_flat THEN p.unit_price
                                               ELSE p.unit_price * x.quantity / p.per END AS cost
                  FROM unnest(string_to_array(s.feature, '+'), s.price_ids, s.quantities)
                       WITH ORDINALITY AS x(code, price_id, quantity, place)
                  JOIN ledger_featureprice p ON p.id = x.price_id) part) c
        WHERE s.partner > 0 AND strpos(s.feature, '+') > 0 AND c.total > 0
    ), of_partners AS (
        SELECT t.payee_id, 'partner' AS kind, s.currency, NULL::bigint AS user_id, f.id AS feature_id,
               s.partner AS percent, s.basis
        FROM of_features s
        JOIN ledger_feature f ON f.code = s.code
        JOIN billing_shareterm t ON t.feature_id = f.id AND s.recorded_at >= t.since
            AND (t.until IS NULL OR s.recorded_at < t.until)
        WHERE t.payee_id IS DISTINCT FROM s.user_id AND t.payee_id IS DISTINCT FROM s.actor_id
    ), line AS (
        SELECT payee_id, kind, currency, user_id, feature_id, percent, sum(basis)::bigint AS basis
        FROM (SELECT * FROM of_agents UNION ALL SELECT * FROM of_partners) AS share
        GROUP BY payee_id, kind, currency, user_id, feature_id, percent HAVING sum(basis) <> 0
    ), earned AS MATERIALIZED (          -- rounded once a statement: lines are what its sum grows by
        SELECT *, (round(sum(basis * percent) OVER lines / 100)
                   - round((sum(basis * percent) OVER lines - basis * percent) / 100))::bigint AS earned
        FROM line
        WINDOW lines AS (PARTITION BY payee_id, kind, currency ORDER BY percent, user_id, feature_id
                         ROWS UNBOUNDED PRECEDING)
    ), made AS (
        INSERT INTO billing_sharestatement (payee_id, kind, currency, month, previous_id,
                                            opening_minor, earned_minor, made_at)
        SELECT e.payee_id, e.kind, e.currency, %(month)s, p.id, coalesce(p.closing, 0), e.earned,
               %(at)s
        FROM (SELECT payee_id, kind, currency, sum(earned)::bigint AS earned FROM earned
              GROUP BY payee_id, kind, currency) e
        LEFT JOIN LATERAL (
            SELECT s.id, s.opening_minor + s.earned_minor - coalesce(o.amount_minor, 0) AS closing
            FROM billing_sharestatement s LEFT JOIN billing_sharepayout o ON o.statement_id = s.id
            WHERE (s.payee_id, s.kind, s.currency) = (e.payee_id, e.kind, e.currency)
            ORDER BY s.month DESC LIMIT 1) p ON true
        ORDER BY e.kind, e.currency, e.payee_id
        RETURNING id, payee_id, kind, currency
    ), lines AS (
        INSERT INTO billing_shareline (statement_id, user_id, feature_id, percent, basis_minor,
                                       earned_minor)
        SELECT m.id, e.user_id, e.feature_id, e.percent, e.basis, e.earned
        FROM earned e JOIN made m USING (payee_id, kind, currency)
        ORDER BY m.id, e.percent, e.user_id, e.feature_id
    )
    SELECT coalesce(jsonb_object_agg(currency, to_jsonb(f) - 'currency'), '{{}}')::text
    FROM (SELECT currency, sum(used)::bigint AS used, coalesce(sum(repaid), 0)::bigint AS repaid,
                 coalesce(sum(agents), 0)::bigint AS agents,
                 coalesce(sum(agents_earned), 0)::bigint AS agents_earned,
                 coalesce(sum(partners), 0)::bigint AS partners,
                 coalesce(sum(partners_earned), 0)::bigint AS partners_earned
          FROM (SELECT currency, sum(minor - minor_before) AS used,
                       sum(minor - minor_before) FILTER (WHERE kind = 'debt_repayment') AS repaid,
                       0 AS agents, 0 AS agents_earned, 0 AS partners, 0 AS partners_earned
                FROM use_revenue GROUP BY currency
                UNION ALL
                SELECT currency, 0, 0,
                       sum(basis) FILTER (WHERE kind = 'agent'),
                       sum(earned) FILTER (WHERE kind = 'agent'),
                       sum(basis) FILTER (WHERE kind = 'partner'),
                       sum(earned) FILTER (WHERE kind = 'partner')
                FROM earned GROUP BY currency) AS sums
          GROUP BY currency) AS f
"""


def make_due_statements(*, at: datetime, until: date | None = None) -> list[ShareMonth]:
    """
    Make the statements of each locked month that has none yet, the earliest first.

    Each month is a transaction of its own: whoever is killed leaves the rest to the next.

    :param until: the first day of the last month wanted; all that are due when left out.
    :raises MonthNotOver: that one is not locked yet.
    :raises FiguresDiffer: see :func:`make_statements`.
    """
    if until and not LockedMonth.objects.filter(month=until).exists():
        raise MonthNotOver(until)
    due = LockedMonth.objects.exclude(month__in=ShareMonth.objects.values("month"))
    if until:
        due = due.filter(month__lte=until)
    months = list(due.order_by("month").values_list("month", flat=True))
    return [made for month in months if (made := make_statements(month, at=at))]


@transaction.atomic
def make_statements(month: date, *, at: datetime) -> ShareMonth | None:
    """
    Make the statements of a locked month, the next one in turn; ``None`` if somebody has.

    :raises FiguresDiffer: what was recognised by use is not what the report says. None is made.
    """
    alone()
    if ShareMonth.objects.filter(month=month).exists():
        return None
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(MAKE, {**month_of_use(month), "at": at})
        figures = json.loads(cursor.fetchone()[0])
    refuse_what_does_not_tie(month, figures)
    made = ShareMonth.objects.create(month=month, figures=figures, made_at=at)
    audit.record("billing.share.made", actor=None, target=made, at=at, after=figures)
    statements = ShareStatement.objects.filter(month=month).select_related("payee").order_by("pk")
    for statement in statements.iterator(chunk_size=1_000):
        tell_made(statement)
    return made


def refuse_what_does_not_tie(month: date, figures: dict[str, Any]) -> None:
    """:raises FiguresDiffer: the report of the month says something else."""
    rows = money_moved("month", "currency", first=month, last=first_of_next(month))
    reported = {row["currency"]: row["used"] for row in rows if row["month"] == month}
    found = {currency: line["used"] for currency, line in figures.items()}
    for currency in sorted(reported.keys() | found.keys()):
        told, said = found.get(currency, 0), reported.get(currency, 0)
        if told != said:
            raise FiguresDiffer(month, currency, told, said)


def alone() -> None:
    """Let nobody else make or pay statements, or change who earns, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
