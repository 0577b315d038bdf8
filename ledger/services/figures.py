"""
Keeping the figures of each day behind the ledger, comparing them with it, and locking months.

What ``ledger/sql/figures.sql`` says of transactions is added to rows of a day: no report reads
the whole ledger, and whatever a row says can be computed anew.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from time import perf_counter

from django.db import connection, transaction

from ledger.invariants import Finding
from ledger.models import CreditTransaction
from ledger.queries.figures import FIGURES, TAIL, business_day
from ledger.queries.liability import MONEY
from ledger.services.rollups import roll_up

TRANSACTIONS_AT_A_TIME = 50_000
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# A month is locked when its figures cannot change any more, and a day has passed in which
# somebody may look into what went wrong.
DAYS_UNTIL_LOCKED = 1

CREDITS = "credits, transactions, debt"
GROUPS = "day, kind, credit_type, is_funded, source, feature, reverses, unit_cost, cost_currency"
STATE = (
    "used, expired, taken, remaining, carried, carried_minor, returned_minor, used_minor,"
    " breakage_minor, released_minor"
)
MONEYS = "paid, brought_in, returned, used, breakage, released"
NEW_MONEYS = ", ".join(f"sum(new_{name})::bigint AS {name}" for name in MONEYS.split(", "))


def _added(names: str) -> str:
    return ", ".join(f"{name} = known.{name} + excluded.{name}" for name in names.split(", "))


ADD_CREDITS = f"""
    INSERT INTO ledger_dailycredits AS known ({GROUPS}, {CREDITS})
    SELECT {GROUPS}, {CREDITS} FROM ledger_credit_moves(%s, %s)
    ON CONFLICT ({GROUPS}) DO UPDATE SET {_added(CREDITS)}
"""
ADD_MONEY = f"""
    WITH moved AS MATERIALIZED (
        SELECT * FROM ledger_money_moves(%s, %s)
    ), days AS (
        INSERT INTO ledger_grantday (grant_id, day, {STATE})
        SELECT grant_id, day, {STATE} FROM moved
        ON CONFLICT (grant_id, day) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in STATE.split(", "))}
    )
    INSERT INTO ledger_dailymoney AS known (day, currency, {MONEYS})
    SELECT day, currency, {NEW_MONEYS} FROM moved GROUP BY day, currency
    ON CONFLICT (day, currency) DO UPDATE SET {_added(MONEYS)}
"""

# All that is added up, computed anew.
ALL = f"""
    '00000000-0000-0000-0000-000000000000',
    coalesce((SELECT before FROM ledger_rollup WHERE name = '{FIGURES}'),
             '00000000-0000-0000-0000-000000000000')
"""
# What a month says, whatever the order and the types of the rows that say it.
DIGEST = """
    encode(sha256(convert_to(coalesce((
        SELECT string_agg(line, E'\\n' ORDER BY line COLLATE "C") FROM (
            SELECT concat_ws('|', to_char(day, 'YYYY-MM-DD'), kind, credit_type, is_funded, source,
                             feature, reverses, unit_cost, cost_currency, credits, transactions,
                             debt) AS line
            FROM ledger_dailycredits WHERE day >= month AND day < month + interval '1 month'
            UNION ALL
            SELECT concat_ws('|', to_char(day, 'YYYY-MM-DD'), currency, paid, brought_in, returned,
                             used, breakage, released)
            FROM ledger_dailymoney WHERE day >= month AND day < month + interval '1 month'
        ) AS lines), ''), 'UTF8')), 'hex')
"""
LOCK = f"""
    INSERT INTO ledger_lockedmonth (month, digest, locked_at)
    SELECT month, {DIGEST}, %(at)s
    FROM (SELECT generate_series(date_trunc('month', min(day)), %(last)s::date, '1 month')::date
                 AS month FROM ledger_dailycredits) AS months
    WHERE month + interval '1 month' <= %(last)s
      AND month NOT IN (SELECT month FROM ledger_lockedmonth)
      AND NOT EXISTS (SELECT 1 FROM ledger_credit_moves({TAIL}) AS tail
                      WHERE tail.day < month + interval '1 month')
    ORDER BY month
    RETURNING month
"""


def _differences(told: str, said: str, keys: str, values: str) -> str:
    """Return a query for the rows by ``keys`` whose ``values`` are not the same in both."""
    first = keys.split(", ")[0]
    return f"""
        SELECT concat_ws(' ', {keys}) || ': ' || coalesce(told.row::text, 'nothing')
               || ' is told, the ledger says ' || coalesce(said.row::text, 'nothing')
        FROM (SELECT {keys}, ROW({values}) AS row FROM {told}) AS told
        FULL JOIN (SELECT {keys}, ROW({values}) AS row FROM {said}) AS said USING ({keys})
        WHERE told.row IS DISTINCT FROM said.row ORDER BY {first}
    """


CHECKS = {
    "What is added up of credits is what the ledger says": _differences(
        "ledger_dailycredits", f"ledger_credit_moves({ALL}) AS m", GROUPS, CREDITS
    ),
    "What is known of paid grants is what the ledger says": _differences(
        "ledger_grantday", f"ledger_money_moves({ALL}, true) AS m", "grant_id, day", STATE
    ),
    "What is added up of money is what the ledger says": _differences(
        "ledger_dailymoney",
        f"""(SELECT day, currency, {NEW_MONEYS} FROM ledger_money_moves({ALL}, true) AS m
             GROUP BY day, currency) AS m""",
        "day, currency",
        MONEYS,
    ),
    "The credits of all days are those that grants have left": _differences(
        f"""(SELECT credit_type, is_funded, sum(credits)::bigint AS credits FROM (
                SELECT credit_type, is_funded, credits FROM ledger_dailycredits UNION ALL
                SELECT credit_type, is_funded, credits FROM ledger_credit_moves({TAIL}) AS m) AS m
             GROUP BY 1, 2 HAVING sum(credits) <> 0) AS m""",
        """(SELECT credit_type, credit_type = 'purchase' AND ledger_is_funded(id) AS is_funded,
                   sum(remaining)::bigint AS credits
            FROM ledger_grant WHERE is_open GROUP BY 1, 2) AS g""",
        "credit_type, is_funded",
        "credits",
    ),
    "The money of all days is what is known of grants now": _differences(
        f"""(SELECT currency, sum(paid + brought_in)::bigint AS paid, sum(returned)::bigint AS
                    returned, sum(used + breakage)::bigint AS recognised, sum(released)::bigint
                    AS released
             FROM (SELECT currency, {MONEYS} FROM ledger_dailymoney UNION ALL
                   SELECT currency, {", ".join(f"new_{name}" for name in MONEYS.split(", "))}
                   FROM ledger_money_moves({TAIL}) AS m) AS m GROUP BY 1) AS m""",
        f"({MONEY}) AS m (currency, paid, returned, recognised, released)",
        "currency",
        "paid, returned, recognised, released",
    ),
    "A locked month says what it said": f"""
        SELECT to_char(month, 'YYYY-MM') || ' has changed since it was locked'
        FROM ledger_lockedmonth WHERE digest <> {DIGEST} ORDER BY month
    """,
}


def add_up() -> bool:
    """
    Add up the next transactions that nothing comes late to any more.

    One does at a time. Return whether there were so many that more are waiting.
    """
    added: list[int] = []
    roll_up(
        FIGURES,
        lambda lower, upper: added.append(_add_up(lower, upper)),
        first=lambda now: BEGINNING,
        most=TRANSACTIONS_AT_A_TIME,
    )
    return added == [TRANSACTIONS_AT_A_TIME]


def _add_up(lower: uuid.UUID, upper: uuid.UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute(ADD_CREDITS, [lower, upper])
        cursor.execute(ADD_MONEY, [lower, upper])
    return CreditTransaction.objects.filter(pk__gte=lower, pk__lt=upper).count()


def findings(at: datetime) -> Iterator[Finding]:
    """Compute all figures anew, from the ledger, and say where those that are kept differ."""
    for check, sql in CHECKS.items():
        started = perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(sql, {"at": at})
            differences = [row[0] for row in cursor.fetchall()]
        yield Finding(check, differences, perf_counter() - started)


@transaction.atomic
def lock_months(*, at: datetime) -> list[date]:
    """
    Lock the months that are over and all added up; return their first days.

    From then on :func:`findings` tells when the figures of one are not what they were.
    """
    last = business_day(at) - timedelta(days=DAYS_UNTIL_LOCKED)
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"at": at, "last": last})
        return [month for (month,) in cursor.fetchall()]
