"""The reports of the credit economy, made from the ledger; ``docs/reports.md`` says how."""

from ledger.reports import balances, consumption, free_credits, liability, people, revenue
from ledger.reports.shapes import ReportKind

KINDS: tuple[ReportKind, ...] = (
    liability.LIABILITY,
    liability.OUTSTANDING,
    revenue.REVENUE,
    revenue.DEFERRED,
    free_credits.FREE_CREDITS,
    consumption.BY_FEATURE,
    consumption.BY_DAY,
    consumption.BY_USER,
    balances.DISTRIBUTION,
    balances.EXPIRY,
    people.ROLES,
    people.STAFF,
)
REPORTS: dict[str, ReportKind] = {kind.slug: kind for kind in KINDS}
