"""
Bringing the balances that people have elsewhere, from a file, as a batch of opening grants.

The batch does the rest: its plan is the dry run, and what a person brings of a type is entered once
for ever, under a key of their identity.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, cast

from django.db import transaction

from accounts.models import User
from accounts.services.users import create_users
from audit import services as audit
from creditsite.errors import InvalidRequest
from ledger.choices import BatchKind, ShortPolicy
from ledger.models import Batch
from ledger.services.batch_files import read_opening_lines, read_openings
from ledger.services.batches import draft_batch, plan_batch


@dataclass(slots=True)
class FileTotals:
    """
    What a file says in all, wrong lines included as far as they could be read.

    ``unread`` lines have a figure that could not be read, which is not in the totals.
    """

    lines: int = 0
    unread: int = 0
    credits: dict[str, int] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    first_as_of: datetime | None = None
    last_as_of: datetime | None = None

    def selection(self, *, name: str, sha256: str) -> dict[str, Any]:
        """Return how a batch says that it is of this file."""
        days = [each and f"{each:%Y-%m-%d}" for each in (self.first_as_of, self.last_as_of)]
        return {
            "of": "csv",
            "name": name,
            "sha256": sha256,
            "lines": self.lines,
            "unread": self.unread,
            "as_of": sorted({day for day in days if day}),
            "credits": self.credits,
            "paid": self.paid,
        }


def totals_of(file: IO[bytes], *, at: datetime) -> FileTotals:
    """
    Add up what ``file`` says, line by line.

    :raises InvalidRequest: it is no file of opening balances.
    """
    totals = FileTotals()
    for line in read_opening_lines(file, at=at):
        totals.lines += 1
        totals.unread += not line.is_read
        for credit_type, amount in line.credits.items():
            totals.credits[credit_type.value] = totals.credits.get(credit_type.value, 0) + amount
        if line.paid_minor:
            totals.paid[line.currency] = totals.paid.get(line.currency, 0) + line.paid_minor
        if line.as_of:
            totals.first_as_of = min(line.as_of, totals.first_as_of or line.as_of)
            totals.last_as_of = max(line.as_of, totals.last_as_of or line.as_of)
    return totals


@transaction.atomic
def draft_openings(
    *,
    file: IO[bytes],
    name: str,
    reason: str,
    maker: User | None,
    at: datetime,
    makes_users: bool = False,
) -> Batch:
    """
    Return a planned batch that enters what ``file`` says; nothing is entered yet.

    :param makes_users: make an account for each e-mail address that nobody has.
    :raises NotPermitted: ``maker`` may not run batches, or not make users.
    :raises InvalidRequest: it is no file of opening balances, or it has no lines.
    """
    totals = totals_of(_rewound(file), at=at)
    if not totals.lines:
        raise InvalidRequest("The file names the columns, and has no line after that.")
    sha256 = hashlib.file_digest(cast("Any", _rewound(file)), "sha256").hexdigest()
    made = 0
    if makes_users:
        lines = read_opening_lines(_rewound(file), at=at)
        emails = (line.email for line in lines if not line.errors)
        made = create_users(emails=emails, actor=maker, at=at)
    batch = draft_batch(
        kind=BatchKind.OPENING,
        credit_type=None,
        amount=None,
        selection=totals.selection(name=name, sha256=sha256),
        policy=ShortPolicy.SKIP,
        reason=reason,
        maker=maker,
        at=at,
        rows=read_openings(_rewound(file), at=at),
    )
    if made:
        audit.record(
            "ledger.batch.users_made", actor=maker, target=batch, at=at, after={"users": made}
        )
    return plan_batch(batch=batch, at=at)


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file
