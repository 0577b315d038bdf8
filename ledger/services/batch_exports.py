"""Giving the rows of a batch away as a file. They name people, so who took them is recorded."""

from collections.abc import Iterator
from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from creditsite.csvfiles import csv_lines
from ledger.models import Batch
from ledger.queries import batches

EXPORT = "ledger.export_report"
PARTS = {
    "left-out": (batches.LEFT_OUT_COLUMNS, batches.left_out),
    "results": (batches.RESULT_COLUMNS, batches.results),
}


@transaction.atomic
def export_rows(*, batch: Batch, part: str, actor: User | None, at: datetime) -> Iterator[str]:
    """
    Return the lines of a CSV file of all rows of a part of ``batch``, read while they are sent.

    :param part: "left-out", whom the plan left out, or "results", what became of the others.
    :raises NotPermitted: ``actor`` may not take such files away.
    """
    require(actor, EXPORT)
    audit.record("ledger.batch.exported", actor=actor, target=batch, at=at, after={"file": part})
    columns, rows = PARTS[part]
    return csv_lines(columns, rows(batch))
