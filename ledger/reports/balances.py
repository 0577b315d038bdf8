"""What wallets have now, and when it expires."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from ledger.choices import CreditType, WalletStatus
from ledger.queries.settings import settings_at
from ledger.queries.system import Wallets, class_bounds, wallets_at
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Takes

MONTHS = 12
TYPES = [
    Column("award", "Awards", Kind.CREDITS),
    Column("purchase", "Purchases", Kind.CREDITS),
    Column("partner", "Partner", Kind.CREDITS),
]
ORDER = [CreditType.AWARD, CreditType.PURCHASE, CreditType.PARTNER]

# Of every open grant: what leaves by itself when the holds on it end, and what expires when.
EXPIRING = """
    SELECT bucket, date_trunc('month', due)::date AS month, credit_type, sum(credits)::bigint,
           count(*) FILTER (WHERE is_grant)
    FROM (
        SELECT credit_type, remaining, is_frozen, expires_at,
               expires_at AT TIME ZONE %(zone)s AS local,
               CASE WHEN voided_at IS NOT NULL THEN remaining
                    ELSE least(remaining, pending + greatest(clawback_target - clawed, 0))
               END AS leaving
        FROM ledger_grant WHERE is_open
    ) g CROSS JOIN LATERAL (VALUES
        (CASE WHEN is_frozen THEN 'frozen' WHEN expires_at IS NULL THEN 'never'
              WHEN expires_at <= %(at)s THEN 'over' WHEN local >= %(end)s THEN 'later'
              ELSE 'month' END, remaining - leaving, true),
        ('leaving', leaving, false)) AS part (bucket, credits, is_grant)
    CROSS JOIN LATERAL (SELECT CASE WHEN bucket = 'month' THEN local END AS due) AS d
    WHERE credits > 0 GROUP BY 1, 2, 3
"""


def distribution(period: Period, at: datetime) -> Report:
    """Wallets by how many credits they have."""
    rows = wallets_at(at)
    lines = [
        line(says(*bounds), [row for row in rows if row.size == size], rows)
        for size, bounds in enumerate(class_bounds(), 1)
    ]
    statuses = {s: sum(row.wallets for row in rows if row.status == s) for s in WalletStatus}
    return Report(
        title="Distribution of balances",
        columns=[
            Column("balance", "Credits in the wallet"),
            Column("wallets", "Wallets", Kind.COUNT),
            Column("share_of_wallets", "Of all wallets", Kind.PERCENT),
            *TYPES,
            Column("credits", "Credits", Kind.CREDITS),
            Column("share_of_credits", "Of all credits", Kind.PERCENT),
            Column("held", "Held of them", Kind.CREDITS),
            Column("debt", "Debt", Kind.CREDITS),
        ],
        rows=lines,
        totals=[line("All wallets", rows, rows)],
        notes=[
            "Credits as their owners see them: expired and frozen ones count for what a running job"
            " holds of them.",
            f"{statuses[WalletStatus.PAUSED]:,} of the wallets are paused,"
            f" {statuses[WalletStatus.CLOSED]:,} closed.",
        ],
        chart=Chart("bars", "balance", ("wallets",)),
    )


def says(low: int, high: int | None) -> str:
    if low == high:
        return f"{low:,}"
    return f"{low:,} to {high:,}" if high is not None else f"{low:,} or more"


def line(label: str, rows: list[Wallets], everything: list[Wallets]) -> tuple[Any, ...]:
    wallets, credits = sum(row.wallets for row in rows), sum(row.current for row in rows)
    return (
        label,
        wallets,
        percent(wallets, sum(row.wallets for row in everything)),
        *(sum(getattr(row, credit_type) for row in rows) for credit_type in ORDER),
        credits,
        percent(credits, sum(row.current for row in everything)),
        sum(row.held for row in rows),
        sum(row.debt for row in rows),
    )


def percent(part: int, whole: int) -> Decimal:
    return round(Decimal(100 * part) / whole, 1) if whole else Decimal("0.0")


def expiry(period: Period, at: datetime) -> Report:
    """What expires in the next twelve months if nothing is spent."""
    zone = settings_at(at).time_zone
    with connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('month', %s AT TIME ZONE %s)::date", [at, zone])
        this_month = cursor.fetchone()[0]
        months = [month_after(this_month, number) for number in range(MONTHS + 1)]
        end = months.pop()
        cursor.execute(EXPIRING, {"at": at, "zone": zone, "end": end})
        found: dict[tuple[str, date | None], dict[str, tuple[int, int]]] = {}
        for bucket, month, credit_type, credits, grants in cursor.fetchall():
            found.setdefault((bucket, month), {})[credit_type] = (credits, grants)
    last = f"{months[-1]:%B %Y}"
    lines: dict[tuple[str, date | None], str] = {
        ("over", None): "over, but held or not booked yet",
        **{("month", month): f"{month:%Y-%m}" for month in months},
        ("later", None): f"after {last}",
        ("never", None): "never",
        ("frozen", None): "frozen: not before they are thawed",
        ("leaving", None): "taken back or deducted when a hold ends",
    }
    rows = [
        (label, *figures(found.get(key, {})))
        for key, label in lines.items()
        if key in found or key[0] == "month"
    ]
    return Report(
        title="Expiry forecast",
        columns=[
            Column("expires", "Expires"),
            *TYPES,
            Column("credits", "Credits", Kind.CREDITS),
            Column("grants", "Grants", Kind.COUNT),
        ],
        rows=rows,
        totals=[("All credits in the books", *(sum(values) for values in columns_of(rows)))],
        notes=[
            f"What expires if nothing is spent until then, by months in {zone}.",
            "The total is all that is left of all grants.",
        ],
        chart=Chart("bars", "expires", tuple(ORDER)),
    )


def month_after(month: date, number: int) -> date:
    """Return the first day of the month that is ``number`` after that of ``month``."""
    years, months = divmod(month.month - 1 + number, 12)
    return date(month.year + years, months + 1, 1)


def figures(by_type: dict[str, tuple[int, int]]) -> list[int]:
    credits = [by_type.get(credit_type, (0, 0))[0] for credit_type in ORDER]
    return [*credits, sum(credits), sum(grants for _, grants in by_type.values())]


def columns_of(rows: list[tuple[Any, ...]]) -> Any:
    """Return the figures of ``rows``, column by column."""
    return zip(*(row[1:] for row in rows), strict=True)


DISTRIBUTION = ReportKind(
    "balances",
    "Distribution of balances",
    "How many wallets have how many credits, and of which type.",
    distribution,
    Takes.NOW,
)
EXPIRY = ReportKind(
    "expiry",
    "Expiry forecast",
    "What expires in each of the next twelve months if nothing is spent.",
    expiry,
    Takes.NOW,
)
