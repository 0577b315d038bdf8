"""
Reading the CSV files that staff upload: adjustments, and the opening balances of a migration.

A wrong line comes out with what is wrong with it; a file that cannot be read at all is refused. It
is read once, line by line, from a binary file, however large.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import IO, NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.identity import normalise_email
from creditsite.errors import InvalidRequest
from creditsite.money import is_currency, parse_money
from creditsite.text import clean_text, one_line
from ledger.choices import CreditType
from ledger.services.posting import LARGEST_AMOUNT

MOST_LINES = 1_000_000
LONGEST_LINE = 4_000
LARGEST_PAID = 10**12
# By as much a day may begin earlier somewhere.
AHEAD_OF_UTC = timedelta(hours=14)
WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]*")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

ADJUSTMENT_COLUMNS = ("email", "amount", "reason")
OPENING_COLUMNS = ("email", "awards", "purchases", "paid", "currency", "partner", "as_of")
COLUMNS_OF_TYPES = {
    CreditType.AWARD: "awards",
    CreditType.PARTNER: "partner",
    CreditType.PURCHASE: "purchases",
}
NOTHING_TO_ENTER = "nothing to enter: all is 0"
# What files begin with that are no text in UTF-8, and what they are.
TOLD_BY_THEIR_START = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PK\x03\x04": "a spreadsheet",
    b"%PDF": "a PDF",
}


class BatchRow(NamedTuple):
    """
    What one line of a file says to move of one credit type; ``why`` says what is wrong with it.

    ``amount`` is in whole credits, ``None`` where the line does not tell one. An empty
    ``credit_type`` is that of the batch. ``note`` is the line's own reason, which its transaction
    is described by.
    """

    line: int
    email: str
    credit_type: str = ""
    amount: int | None = None
    paid_minor: int = 0
    currency: str = ""
    why: str = ""
    note: str = ""


@dataclass(slots=True)
class Opening:
    """
    A line of a file of opening balances, as far as it could be read.

    Money that cannot be read, or has no known currency, is none; ``errors`` says so.
    """

    line: int
    email: str
    credits: dict[CreditType, int] = field(default_factory=dict)
    paid_minor: int = 0
    currency: str = ""
    as_of: datetime | None = None
    is_money_read: bool = True
    errors: list[str] = field(default_factory=list)

    @property
    def is_read(self) -> bool:
        """Return whether every figure of the line could be read, whatever else is wrong with it."""
        return self.is_money_read and self.credits.keys() == COLUMNS_OF_TYPES.keys()

    def rows(self) -> Iterator[BatchRow]:
        """Yield a row for each type that there are credits of, else one that says why not."""
        why = "; ".join(self.errors)[:200]
        note = f"Opening balance as of {self.as_of:%Y-%m-%d}" if self.as_of else "Opening balance"
        brought = {t: amount for t, amount in self.credits.items() if amount}
        if not brought:
            amount = None if self.errors else 0
            yield BatchRow(
                self.line,
                self.email,
                amount=amount,
                paid_minor=self.paid_minor,
                currency=self.currency,
                why=why or NOTHING_TO_ENTER,
                note=note,
            )
            return
        # Money is told with the purchases, or, on a wrong line without any, with what there is.
        paid_with = CreditType.PURCHASE if CreditType.PURCHASE in brought else next(iter(brought))
        for credit_type, amount in brought.items():
            is_paid = credit_type == paid_with and self.paid_minor > 0
            yield BatchRow(
                self.line,
                self.email,
                credit_type.value,
                amount,
                self.paid_minor if is_paid else 0,
                self.currency if is_paid else "",
                why,
                note,
            )


def read_adjustments(file: IO[bytes]) -> Iterator[BatchRow]:
    """
    Yield each line of a CSV file of adjustments, whose header is ``email, amount[, reason]``.

    :raises InvalidRequest: it is no such file.
    """
    seen: dict[str, int] = {}
    for line, cells, errors in read_lines(
        file, ADJUSTMENT_COLUMNS, required=("email", "amount"), one_of=()
    ):
        if errors:
            yield BatchRow(line, "", why="; ".join(errors))
            continue
        email = _email(cells["email"], line, seen, errors)
        amount = _amount("amount", cells["amount"], errors)
        note = ""
        try:
            note = clean_text(one_line(cells["reason"]), 500)
        except InvalidRequest as refusal:
            errors.append(f"reason: {refusal}")
        if amount == 0:
            errors.append("amount is 0")
        why = "; ".join(errors)[:200]
        yield BatchRow(line, email, amount=amount, why=why, note=note)


def read_openings(file: IO[bytes], *, at: datetime) -> Iterator[BatchRow]:
    """
    Yield the rows of each line of a CSV file of opening balances.

    :raises InvalidRequest: it is no such file.
    """
    for opening in read_opening_lines(file, at=at):
        yield from opening.rows()


def read_opening_lines(file: IO[bytes], *, at: datetime) -> Iterator[Opening]:
    """
    Yield each line of a CSV file of opening balances, whose columns are ``OPENING_COLUMNS``.

    Only ``email`` and one column of credits must be there; ``paid`` needs ``currency``.

    :raises InvalidRequest: it is no such file.
    """
    seen: dict[str, int] = {}
    for line, cells, errors in read_lines(
        file, OPENING_COLUMNS, required=("email",), one_of=tuple(COLUMNS_OF_TYPES.values())
    ):
        if errors:
            yield Opening(line, "", errors=errors)
            continue
        opening = Opening(line, _email(cells["email"], line, seen, errors), errors=errors)
        for credit_type, column in COLUMNS_OF_TYPES.items():
            amount = _amount(column, cells[column] or "0", errors)
            if amount is not None:
                opening.credits[credit_type] = amount
        _read_paid(opening, cells["paid"], cells["currency"])
        _read_as_of(opening, cells["as_of"], at)
        yield opening


def _read_paid(opening: Opening, paid: str, currency: str) -> None:
    code = currency.lower()
    opening.is_money_read = bool(re.fullmatch(r"0*(\.0+)?", paid))
    if code and not is_currency(code):
        opening.errors.append(f"currency is {quoted(currency)}, not a code such as USD")
        return
    if opening.is_money_read:
        return
    if not code:
        opening.errors.append("paid has no currency")
        return
    try:
        minor = parse_money(paid, code)
    except InvalidRequest as refusal:
        opening.errors.append(f"paid is {quoted(paid)}: {refusal}".removesuffix("."))
        return
    if minor > LARGEST_PAID:
        opening.errors.append(f"paid is {quoted(paid)}: too large")
        return
    opening.paid_minor, opening.currency, opening.is_money_read = minor, code, True
    # Where purchases could not be read, that is what is wrong with the line.
    if opening.credits.get(CreditType.PURCHASE) == 0:
        opening.errors.append("something was paid, and there are no purchases")


def _read_as_of(opening: Opening, text: str, at: datetime) -> None:
    if not text:
        return
    with suppress(ValueError, OverflowError):
        if DAY.fullmatch(text):
            opening.as_of = datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC)
            at += AHEAD_OF_UTC
        elif text.isascii():
            told = datetime.fromisoformat(text)
            opening.as_of = told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
    if opening.as_of is None:
        opening.errors.append(f"as_of is {quoted(text)}, not a time such as 2026-01-31")
    elif opening.as_of > at:
        opening.errors.append("as_of is in the future")


# --- Cells ----------------------------------------------------------------------------------------
def _email(text: str, line: int, seen: dict[str, int], errors: list[str]) -> str:
    """Return the e-mail address as it is stored; note what is wrong with it in ``errors``."""
    email = normalise_email(text)
    try:
        if len(email) > 254:
            raise ValidationError("too long")
        validate_email(email)
    except ValidationError:
        errors.append(f"email is {quoted(text)}, not an address" if text else "email is empty")
        return ""
    if (first := seen.setdefault(email, line)) != line:
        errors.append(f"the same e-mail is on line {first:,}")
    return email


def _amount(column: str, text: str, errors: list[str]) -> int | None:
    if not WHOLE_NUMBER.fullmatch(text):
        wanted = "a negative number" if re.fullmatch(r"-[0-9.]+", text) else ""
        errors.append(
            f"{column} is {wanted or quoted(text)}, not a whole number in the digits 0 to 9"
        )
        return None
    if len(text) > 18 or int(text) > LARGEST_AMOUNT:
        errors.append(f"{column} is above {LARGEST_AMOUNT:,}")
        return None
    return int(text)


def quoted(text: str) -> str:
    """Return ``text`` as an error shows it: short, and with nothing that hides or reorders."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


# --- Lines ----------------------------------------------------------------------------------------
def read_lines(
    file: IO[bytes], columns: Collection[str], *, required: Collection[str], one_of: Collection[str]
) -> Iterator[tuple[int, Mapping[str, str], list[str]]]:
    """
    Yield the number of each line and its cells by column; those of a missing column are empty.

    With it comes a list for what is wrong with the line; where that is not empty, the cells cannot
    be told apart.

    :raises InvalidRequest: it is no CSV in UTF-8, or its header lacks or has what it should not.
    """
    reader = csv.reader(_text(file), strict=True)
    try:
        header = _header(next(reader, []), columns, required, one_of)
        for cells in reader:
            if not any(cells):
                continue
            errors = []
            if len(cells) != len(header):
                errors.append(f"{len(cells)} cells, and the header has {len(header)}")
            told = dict.fromkeys(columns, "") | dict(
                zip(header, map(str.strip, cells), strict=False)
            )
            yield reader.line_num, told, errors
    except csv.Error as error:
        raise InvalidRequest(f"Line {reader.line_num:,} is not CSV: {error}.") from error


def _header(
    names: list[str], columns: Collection[str], required: Collection[str], one_of: Collection[str]
) -> list[str]:
    header = [name.strip().lower() for name in names]
    wanted = f"The first line names the columns: {', '.join(columns)}."
    if not any(header):
        raise InvalidRequest(f"The file is empty. {wanted}")
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        raise InvalidRequest("Columns are separated by commas, not by semicolons or tabs.")
    if unknown := [name for name in header if name not in columns]:
        shown = ", ".join(quoted(name) for name in unknown[:5])
        raise InvalidRequest(f"Unknown columns: {shown}. {wanted}")
    if len(set(header)) < len(header):
        raise InvalidRequest("The first line names a column twice.")
    if missing := [name for name in required if name not in header]:
        raise InvalidRequest(f"The file has no column {', '.join(missing)}. {wanted}")
    if one_of and not set(one_of) & set(header):
        raise InvalidRequest(f"The file has none of the columns {', '.join(one_of)}.")
    return header


def _text(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of ``file``, in UTF-8 with or without a byte order mark."""
    for number in range(1, MOST_LINES + 2):
        line = file.readline(LONGEST_LINE + 1)
        if number == 1:
            line = _without_mark(line)
        if not line:
            return
        if len(line) > LONGEST_LINE:
            raise InvalidRequest(f"Line {number:,} is longer than {LONGEST_LINE:,} bytes.")
        if b"\0" in line:
            raise InvalidRequest(f"Line {number:,} holds a NUL: the file is not text in UTF-8.")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"Line {number:,} is not text in UTF-8.") from error
    raise InvalidRequest(f"The file has more than {MOST_LINES:,} lines; split it.")


def _without_mark(line: bytes) -> bytes:
    for start, kind in TOLD_BY_THEIR_START.items():
        if line.startswith(start):
            raise InvalidRequest(f"The file is {kind}; save it as CSV in UTF-8.")
    return line.removeprefix(b"\xef\xbb\xbf")
