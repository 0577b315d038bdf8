"""Giving statements away as files. They name people, so who took them is recorded."""

from collections.abc import Iterator
from datetime import date, datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.models import ShareStatement
from billing.queries.shares import COLUMNS, rows
from creditsite.csvfiles import csv_lines

EXPORT = "ledger.export_report"


@transaction.atomic
def export_statement(
    *, statement: ShareStatement, actor: User | None, at: datetime
) -> Iterator[str]:
    """
    Return the lines of a CSV file of a statement, read while they are sent.

    :raises NotPermitted: ``actor`` may not take such files away.
    """
    require(actor, EXPORT)
    audit.record("billing.share.exported", actor=actor, target=statement, at=at)
    return csv_lines(COLUMNS, rows(ShareStatement.objects.filter(pk=statement.pk)))


@transaction.atomic
def export_statements(
    *, first: date, last: date, actor: User | None, at: datetime
) -> Iterator[str]:
    """
    Return the lines of a CSV file of all statements of months that begin in a period.

    :raises NotPermitted: ``actor`` may not take such files away.
    """
    require(actor, EXPORT)
    audit.record(
        "billing.share.exported",
        actor=actor,
        target=f"all statements of revenue share, {first} to {last}",
        at=at,
        after={"first": str(first), "last": str(last)},
    )
    return csv_lines(COLUMNS, rows(ShareStatement.objects.filter(month__range=(first, last))))
