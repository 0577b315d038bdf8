"""Reports as files, for those who calculate elsewhere."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from creditsite.csvfiles import csv_lines
from creditsite.money import in_units
from ledger.reports.shapes import Column, Kind, Period, ReportKind, Row, Takes

EXPORT = "ledger.export_report"


@transaction.atomic
def export_report(
    *, kind: ReportKind, period: Period, actor: User | None, at: datetime
) -> Iterator[str]:
    """
    Return the lines of a CSV file of all rows of a report, and record who took it.

    Money stands there in units of its currency, exactly; rows are read while the file is sent.

    :raises NotPermitted: ``actor`` may not take reports away.
    """
    require(actor, EXPORT)
    report = kind.build(period, at)
    audit.record(
        "ledger.report.exported",
        actor=actor,
        target=f"{kind.title}, {about(kind, period, at)}",
        at=at,
        after={"report": kind.slug, "first": period.first, "last": period.last},
    )
    columns = report.columns
    return csv_lines(
        [column.name for column in columns], (exactly(columns, r) for r in report.rows)
    )


def about(kind: ReportKind, period: Period, at: datetime) -> str:
    """Say which days a report is about."""
    if kind.takes == Takes.NOW:
        return f"on {at:%Y-%m-%d} at {at:%H:%M} UTC"
    if kind.takes == Takes.DAY:
        return f"at the end of {period.last}"
    return f"{period.first} to {period.last}"


def currency_of(columns: Sequence[Column], row: Row) -> str:
    """Return the currency of the money in a row."""
    pairs = zip(columns, row, strict=True)
    return next((str(value) for column, value in pairs if column.kind == Kind.CURRENCY), "")


def exactly(columns: Sequence[Column], row: Row) -> Iterator[Any]:
    """Yield the values of a row as a file has them."""
    currency = currency_of(columns, row)
    for column, value in zip(columns, row, strict=True):
        if column.kind == Kind.MONEY and value is not None:
            yield in_units(value, currency)
        elif column.kind == Kind.MONTH and value is not None:
            yield f"{value:%Y-%m}"
        else:
            yield value
