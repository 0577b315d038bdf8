"""Costs and invoices of projects as files, for those who calculate elsewhere."""

from collections.abc import Iterator
from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.models import ProjectCost
from billing.queries.projects import (
    INVOICE_COLUMNS,
    Month,
    invoice_of,
    invoice_rows,
    totals_of_month,
)
from creditsite.csvfiles import csv_lines
from creditsite.money import in_units
from ledger.models import Wallet

EXPORT = "ledger.export_report"
TOTALS = ("owner", "project", "usage", "costs", "given_back", "credits")
COSTS = (
    "id", "user", "project", "cost", "currency", "period", "status", "recorded_at", "debit",
    "credits_of_debit", "description", "reference", "why",
)  # fmt: skip


@transaction.atomic
def export_invoice(
    *, wallet: Wallet, project: str, month: Month, actor: User | None, at: datetime
) -> Iterator[str]:
    """
    Return the lines of a CSV file of one invoice, and record who took it.

    :raises NotPermitted: ``actor`` may not take reports away.
    """
    _record(f"the invoice of a project, {month.first:%Y-%m}", wallet, actor, at)
    return csv_lines(INVOICE_COLUMNS, invoice_rows(invoice_of(month, wallet, project)))


@transaction.atomic
def export_totals(*, month: Month, actor: User | None, at: datetime) -> Iterator[str]:
    """
    Return the lines of a CSV file of what each project cost in a month, and record who took it.

    :raises NotPermitted: ``actor`` may not take reports away.
    """
    _record(f"Project invoices, {month.first:%Y-%m}", None, actor, at)
    rows = (
        (each.wallet, each.project, each.usage, each.costs, each.given_back, each.credits)
        for each in totals_of_month(month)
    )
    return csv_lines(TOTALS, rows)


@transaction.atomic
def export_costs(*, month: Month, actor: User | None, at: datetime) -> Iterator[str]:
    """
    Return the lines of a CSV file of all costs recorded in a month, and record who took it.

    :raises NotPermitted: ``actor`` may not take reports away.
    """
    _record(f"Project costs, {month.first:%Y-%m}", None, actor, at)
    costs = ProjectCost.objects.filter(recorded_at__gte=month.since, recorded_at__lt=month.until)
    found = costs.select_related("account__user", "debit").order_by("recorded_at", "pk")
    rows = (
        (
            cost.public_id, cost.account.user, cost.account.project,
            in_units(cost.amount_minor, cost.account.currency), cost.account.currency.upper(),
            cost.period, cost.status, cost.recorded_at,
            cost.debit and cost.debit.public_id, cost.debit and cost.debit.credits,
            cost.description, cost.reference_id, cost.why,
        )
        for cost in found.iterator()
    )  # fmt: skip
    return csv_lines(COSTS, rows)


def _record(what: str, wallet: Wallet | None, actor: User | None, at: datetime) -> None:
    require(actor, EXPORT)
    target = wallet or what
    audit.record("ledger.report.exported", actor=actor, target=target, at=at, after={"file": what})
