"""Writing CSV files that no spreadsheet takes for formulas."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any

# What Excel, LibreOffice and Google Sheets begin a formula by, full-width forms included.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_lines(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """
    Yield the lines of a CSV file one by one, as a streamed answer sends them.

    Numbers stay numbers, whatever their sign. Text that would start a formula gets an apostrophe
    before it, also after spaces: spreadsheets strip them.
    """
    for values in chain([header], rows):
        line = io.StringIO()
        csv.writer(line).writerow([cell(value) for value in values])
        yield line.getvalue()


def cell(value: Any) -> Any:
    """Return ``value`` as a cell shows it: instants in ISO 8601, nothing for ``None``."""
    if value is None:
        return ""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text
