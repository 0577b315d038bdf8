"""What credits were used for, when, and by whom."""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection

from ledger.choices import CreditType, TransactionKind
from ledger.queries.figures import Figures, business_day, credits_moved
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Row

FIGURES = (
    Column("uses", "Uses", Kind.COUNT),
    *(Column(name, CreditType(name).label, Kind.CREDITS) for name in CreditType.values),
    Column("spent", "Spent", Kind.CREDITS),
    Column("given_back", "Given back", Kind.CREDITS),
    Column("net", "Net", Kind.CREDITS),
    Column("owed", "Owed", Kind.CREDITS),
)
NOTES = [
    "Net is what was spent, less what was given back by reversals and disputes in the period.",
    "Owed was charged beyond the balance: it is a debt, not yet spent credits.",
]
ROWS_AT_A_TIME = 2_000
# A day of business begins and ends within two days of that of UTC, and a day never comes back.
MARGIN = timedelta(days=3)

BY_OWNER = """
    WITH used AS (
        SELECT t.wallet_id, t.kind = 'usage' AS is_use, t.award, t.partner, t.purchase, t.amount,
               t.debt
        FROM ledger_credittransaction t
        JOIN ledger_stretches() s ON t.recorded_at >= s.since AND t.recorded_at < s.until
        LEFT JOIN LATERAL (
            SELECT x.kind FROM ledger_credittransaction x WHERE x.id = t.reverses_id OFFSET 0
        ) o ON true
        WHERE t.recorded_at >= %(since)s AND t.recorded_at < %(until)s
          AND greatest((t.recorded_at AT TIME ZONE s.time_zone)::date, s.first_day)
              BETWEEN %(first)s AND %(last)s
          AND 'usage' IN (t.kind, o.kind)
    ), owner AS (
        SELECT wallet_id, count(*) FILTER (WHERE is_use) AS uses,
               coalesce(-sum(award) FILTER (WHERE is_use), 0)::bigint AS award,
               coalesce(-sum(partner) FILTER (WHERE is_use), 0)::bigint AS partner,
               coalesce(-sum(purchase) FILTER (WHERE is_use), 0)::bigint AS purchase,
               coalesce(-sum(amount) FILTER (WHERE is_use), 0)::bigint AS spent,
               coalesce(sum(amount) FILTER (WHERE NOT is_use), 0)::bigint AS given_back,
               -sum(amount)::bigint AS net, sum(debt)::bigint AS owed
        FROM used GROUP BY wallet_id
    )
    SELECT coalesce(u.email, m.name), uses, award, partner, purchase, spent, given_back, net, owed
    FROM owner JOIN (SELECT id, user_id, team_id FROM ledger_wallet) w ON w.id = wallet_id
    LEFT JOIN accounts_user u ON u.id = w.user_id LEFT JOIN accounts_team m ON m.id = w.team_id
    ORDER BY net DESC, w.id
"""


def build_by_feature(period: Period, at: datetime) -> Report:
    lines = _lines("feature", period)
    return Report(
        title="Consumption by feature",
        columns=[Column("feature", "Feature"), *FIGURES],
        rows=[
            (feature or "(none)", *lines[feature])
            for feature in sorted(lines, key=lambda each: (-lines[each][NET], each))
        ],
        totals=[("All", *_sums(lines.values()))],
        notes=NOTES,
        chart=Chart("bars", "feature", ("net",)),
    )


def build_by_day(period: Period, at: datetime) -> Report:
    lines = _lines("day", period)
    days = _days(period.first, min(period.last, business_day(at)))
    return Report(
        title="Consumption by day",
        columns=[Column("day", "Day", Kind.DAY), *FIGURES],
        rows=[(day, *lines.get(day, [0] * len(FIGURES))) for day in days],
        totals=[(None, *_sums(lines.values()))],
        notes=NOTES,
        chart=Chart("line", "day", ("net",)),
    )


def build_by_user(period: Period, at: datetime) -> Report:
    return Report(
        title="Consumption by user",
        columns=[Column("user", "User or team", Kind.PERSON), *FIGURES],
        rows=_owners(period),
        totals=[("All", *_sums(_lines("day", period).values()))],
        notes=[
            *NOTES,
            "What a team's members spend from its pool is the team's.",
            "Lines are read after the total: of a day that still runs they may say more.",
        ],
        chart=Chart("bars", "user", ("net",)),
    )


def _owners(period: Period) -> Iterator[Row]:
    """Yield the lines of users and teams, read as they are asked for."""
    parameters = {
        "first": period.first,
        "last": period.last,
        "since": datetime.combine(period.first, time(), UTC) - MARGIN,
        "until": datetime.combine(period.last, time(), UTC) + MARGIN,
    }
    with connection.chunked_cursor() as cursor:
        cursor.execute(BY_OWNER, parameters)
        while batch := cursor.fetchmany(ROWS_AT_A_TIME):
            yield from batch


NET = [column.name for column in FIGURES].index("net")


def _lines(group: str, period: Period) -> dict[Any, list[int]]:
    """Return the figures of the period by ``group``."""
    names = [column.name for column in FIGURES]
    lines: dict[Any, list[int]] = {}
    rows = credits_moved(
        group, "kind", "reverses", "credit_type", first=period.first, last=period.last
    )
    for row in rows:
        if figures := _figures(row):
            line = lines.setdefault(row[group], [0] * len(names))
            lines[row[group]] = [
                old + figures.get(name, 0) for old, name in zip(line, names, strict=True)
            ]
    return lines


def _figures(row: Figures) -> dict[str, int]:
    if row["kind"] == TransactionKind.USAGE:
        spent = -row["credits"]
        by_type = {row["credit_type"]: spent} if row["credit_type"] else {}
        use = {"uses": row["transactions"], "spent": spent, "net": spent, "owed": row["debt"]}
        return use | by_type
    if row["reverses"] == TransactionKind.USAGE:
        return {"given_back": row["credits"], "net": -row["credits"], "owed": row["debt"]}
    return {}


def _sums(lines: Collection[list[int]]) -> list[int]:
    return [sum(values) for values in zip(*lines, strict=True)] or [0] * len(FIGURES)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


BY_FEATURE = ReportKind(
    slug="consumption-by-feature",
    title="Consumption by feature",
    description="What credits were used for.",
    build=build_by_feature,
)
BY_DAY = ReportKind(
    slug="consumption-by-day",
    title="Consumption by day",
    description="When credits were used.",
    build=build_by_day,
)
BY_USER = ReportKind(
    slug="consumption-by-user",
    title="Consumption by user",
    description="Who used credits, the most first. Reads the transactions of the period.",
    build=build_by_user,
)
