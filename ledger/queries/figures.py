"""
What the books moved, day by day of business: rows added up behind the ledger, and its tail.

A transaction that is not added up yet is read from the ledger itself, in the same statement: it is
counted once, and figures are never behind. ``docs/reports.md`` says what each of them means.
"""

from datetime import date, datetime
from typing import Any

from django.db import connection

FIGURES = "figures"  # the name of the rollup
MOST_WAITING = 100_000

# From the first transaction that is not added up yet on.
TAIL = f"""
    coalesce((SELECT before FROM ledger_rollup WHERE name = '{FIGURES}'),
             '00000000-0000-0000-0000-000000000000'), 'ffffffff-ffff-ffff-ffff-ffffffffffff'
"""
WAITING = f"""
    SELECT count(*) FROM (
        SELECT FROM ledger_credittransaction
        WHERE id >= coalesce((SELECT before FROM ledger_rollup WHERE name = '{FIGURES}'),
                             '00000000-0000-0000-0000-000000000000')
        LIMIT %s) AS waiting
"""
CREDITS = f"""
    SELECT {{groups}}, sum(credits)::bigint AS credits, sum(transactions)::bigint AS transactions,
           sum(debt)::bigint AS debt
    FROM (
        SELECT day, kind, credit_type, is_funded, source, feature, reverses, unit_cost,
               cost_currency, credits, transactions, debt
        FROM ledger_dailycredits WHERE day <= %(last)s AND day >= %(first)s
        UNION ALL
        SELECT * FROM ledger_credit_moves({TAIL}) WHERE day <= %(last)s AND day >= %(first)s
    ) AS moved
    GROUP BY {{names}} ORDER BY {{names}}
"""
MONEY = f"""
    SELECT {{groups}}, sum(paid)::bigint AS paid, sum(brought_in)::bigint AS brought_in,
           sum(returned)::bigint AS returned, sum(used)::bigint AS used,
           sum(breakage)::bigint AS breakage, sum(released)::bigint AS released
    FROM (
        SELECT day, currency, paid, brought_in, returned, used, breakage, released
        FROM ledger_dailymoney WHERE day <= %(last)s AND day >= %(first)s
        UNION ALL
        SELECT day, currency, new_paid, new_brought_in, new_returned, new_used, new_breakage,
               new_released
        FROM ledger_money_moves({TAIL}) WHERE day <= %(last)s AND day >= %(first)s
    ) AS moved
    GROUP BY {{names}} ORDER BY {{names}}
"""
# What to group by, where it is not a column.
EXPRESSIONS = {"month": "date_trunc('month', day)::date", "is_before": "day < %(start)s"}

Figures = dict[str, Any]


def business_day(at: datetime) -> date:
    """
    Return the day of business that ``at`` belongs to, in the time zone in force then.

    A day never comes back: what a change of zone would put before the day that was on counts to it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_business_day(%s)", [at])
        return cursor.fetchone()[0]


def is_behind() -> bool:
    """
    Return whether so many transactions are not added up yet that to read them takes long.

    To find out does not: no more of them are looked at.
    """
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [MOST_WAITING + 1])
        return cursor.fetchone()[0] > MOST_WAITING


def credits_moved(
    *groups: str, first: date = date.min, last: date, start: date | None = None
) -> list[Figures]:
    """
    Return ``credits``, ``transactions`` and ``debt`` from ``first`` to ``last``, in groups.

    Groups are columns of :class:`DailyCredits`, "month", and "is_before": before ``start``.
    """
    return _ask(CREDITS, groups, first, last, start)


def money_moved(
    *groups: str, first: date = date.min, last: date, start: date | None = None
) -> list[Figures]:
    """
    Return what was ``paid``, ``brought_in``, ``returned``, recognised by use (``used``) and by
    ``breakage``, and ``released`` from ``first`` to ``last``, in minor units, in groups.

    Groups are "day", "month", "currency" and "is_before": before ``start``.
    """
    return _ask(MONEY, groups, first, last, start)


def spent_by_day(first: date, last: date) -> dict[date, int]:
    """Return credits used on each day on which there were any, net of those given back."""
    used: dict[date, int] = {}
    for row in credits_moved("day", "kind", "reverses", first=first, last=last):
        if "usage" in (row["kind"], row["reverses"]):
            used[row["day"]] = used.get(row["day"], 0) - row["credits"]
    return used


def given_by_day(first: date, last: date) -> dict[date, int]:
    """Return credits put into wallets, sold ones among them, on each day with any."""
    rows = credits_moved("day", "source", first=first, last=last)
    given: dict[date, int] = {}
    for row in rows:
        if row["source"]:
            given[row["day"]] = given.get(row["day"], 0) + row["credits"]
    return given


def recognised(first: date, last: date) -> dict[str, int]:
    """Return revenue by currency, by use and by breakage, in minor units."""
    rows = money_moved("currency", first=first, last=last)
    return {row["currency"]: row["used"] + row["breakage"] for row in rows}


def _ask(
    sql: str, groups: tuple[str, ...], first: date, last: date, start: date | None
) -> list[Figures]:
    selected = [f"{EXPRESSIONS.get(name, name)} AS {name}" for name in groups]
    numbers = ", ".join(str(place) for place in range(1, len(groups) + 1))
    with connection.cursor() as cursor:
        cursor.execute(
            sql.format(groups=", ".join(selected), names=numbers),
            {"first": first, "last": last, "start": start},
        )
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
