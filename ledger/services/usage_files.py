"""Metering a CSV file of real usage through the same spends as everyone's, each row once."""

import csv
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from re import fullmatch

from django.db import transaction

from accounts.models import User
from audit import services as audit
from creditsite.errors import InvalidRequest
from ledger import keys
from ledger.errors import InsufficientCredits
from ledger.queries.wallets import payers_of, wallet_of
from ledger.services.charges import charge_for, refuse_withdrawn
from ledger.services.spending import spend_credits

QUANTITY = r"[0-9]{1,18}(\.[0-9]{1,6})?"


@dataclass(frozen=True)
class Row:
    """A row of the file: its line number, its key, and what was used when."""

    line: int
    key: str
    quantities: dict[str, Decimal]
    occurred_at: datetime | None


@dataclass
class Summary:
    """What an import did; ``stopped`` is the refusal that ended it, at ``stopped_line``."""

    rows: int = 0
    charged: int = 0
    repeated: int = 0
    free: int = 0
    credits: int = 0
    stopped: InsufficientCredits | None = None
    stopped_line: int | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.rows - self.charged - self.repeated - self.free


def read_rows(
    path: Path, *, quantities: Mapping[str, str], occurred_at: str | None
) -> Iterator[Row | str]:
    """
    Yield each row of the CSV file at ``path``, or a sentence about what is wrong with it.

    :param quantities: the column of each feature's quantity.
    :param occurred_at: the column of when it happened: ISO 8601, in UTC unless it says otherwise.
    :raises InvalidRequest: the file lacks a column, or is no text in UTF-8.
    """
    wanted = [*quantities.values(), *([occurred_at] if occurred_at else [])]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [name for name in wanted if name not in (reader.fieldnames or [])]:
                raise InvalidRequest(f"The file has no column {', '.join(missing)}.")
            for number, values in enumerate(reader, start=1):
                yield _row(number, reader.line_num, values, quantities, occurred_at)
    except UnicodeDecodeError as error:
        raise InvalidRequest("The file is not text in UTF-8.") from error
    except csv.Error as error:
        raise InvalidRequest(f"The file is not CSV: {error}.") from error


def _row(
    number: int,
    line: int,
    values: Mapping[str, str],
    quantities: Mapping[str, str],
    occurred_at: str | None,
) -> Row | str:
    used = {}
    for feature, column in quantities.items():
        text = values[column] or ""
        if not fullmatch(QUANTITY, text):
            return f"line {line}: {column} is {text!r}, not a quantity such as 12 or 12.5"
        used[feature] = Decimal(text)
    happened = None
    if occurred_at:
        try:
            happened = datetime.fromisoformat(values[occurred_at] or "")
            happened = happened.astimezone(UTC) if happened.tzinfo else happened.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            told = f"{occurred_at} is {values[occurred_at]!r}"
            return f"line {line}: {told}, not a time such as 2026-01-31 12:00:00"
    # The row's number is part of its key: two rows that say the same are two uses.
    content = hashlib.sha256(
        "\x1f".join(f"{k}={values[k]}" for k in sorted(values, key=str)).encode()
    )
    return Row(line, f"usage-file:{number}:{content.hexdigest()}", used, happened)


def import_usage(
    *,
    path: Path,
    user: User,
    quantities: Mapping[str, str],
    occurred_at: str | None,
    clock: Callable[[], datetime],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """
    Charge every row of the file to whoever pays for ``user``, priced at the row's time.

    The whole file is read first: if any row is wrong or has no price, nothing is charged and
    ``errors`` names the rows. Rows that were charged before, by this or an earlier run, are not
    charged again. It stops at the first row that the credits do not cover.

    :raises InvalidRequest: the file lacks a column or is no CSV.
    :raises WalletPaused: the wallet is paused.
    :raises CreditsDisabled: credits are switched off; run again, it goes on.
    :raises WalletClosed: the wallet is closed.
    """
    summary = Summary()
    now = clock()
    for row in read_rows(path, quantities=quantities, occurred_at=occurred_at):
        summary.rows += 1
        if isinstance(row, str):
            summary.errors.append(row)
        elif row.occurred_at and row.occurred_at > now:
            summary.errors.append(f"line {row.line}: {occurred_at} is in the future")
        elif any(row.quantities.values()):
            try:
                charge = charge_for(row.quantities, at=row.occurred_at or now)
                refuse_withdrawn(charge, keys.digest(f"import:{user.pk}", row.key))
            except InvalidRequest as refusal:
                summary.errors.append(f"line {row.line}: {refusal}")
    if summary.errors:
        return summary
    with transaction.atomic():
        audit.record(
            "ledger.usage.imported",
            actor=None,
            target=wallet_of(user),
            at=now,
            after={"file": path.name, "rows": summary.rows},
        )
    payers = payers_of(user)
    for done, row in enumerate(_rows(path, quantities, occurred_at)):
        report(done, summary.rows)
        if not any(row.quantities.values()):
            summary.free += 1
            continue
        at = clock()
        charge = charge_for(row.quantities, at=row.occurred_at or at)
        try:
            posted = spend_credits(
                payers=payers,
                charge=charge,
                caller=f"import:{user.pk}",
                at=at,
                actor_id=user.pk,
                idempotency_key=row.key,
                occurred_at=row.occurred_at,
                # Not the file's name: what was renamed since is still the same request.
                description="Imported usage",
            )
        except InsufficientCredits as refusal:
            summary.stopped, summary.stopped_line = refusal, row.line
            return summary
        summary.charged += posted.is_new
        summary.repeated += not posted.is_new
        summary.credits += -(posted.amount or 0)
    report(summary.rows, summary.rows)
    return summary


def _rows(
    path: Path, quantities: Mapping[str, str], occurred_at: str | None
) -> Sequence[Row] | Iterator[Row]:
    return (
        row
        for row in read_rows(path, quantities=quantities, occurred_at=occurred_at)
        if isinstance(row, Row)
    )
