"""Values that have broken or deceived software, for every field that takes any."""

import json
import math
import os
import random
from collections.abc import Sequence
from typing import Any, TypeVar

Case = TypeVar("Case")

NUMBERS = [
    "NaN", "sNaN", "Infinity", "-Infinity", "inf", "-0", "+5", "00", "007", "1e3", "1E400",
    "1e-400", "1_000", "7.000", "7,000", "1 000", "1\u00a0000", "１２", "٣", "²", "½", "Ⅷ", "0x10",
    "0b1", "0", "-1", "5.0", "1.", ".5", "0.1", "2147483648", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "1" + "0" * 40, "9" * 5_000, " 5", "5 ", "5\n",
]  # fmt: skip
WORDS = ["", " ", "true", "False", "null", "None", "undefined", "[]", '{"a": 1}', "__class__"]
HIDDEN = [
    "\0", "a\0b", "\x1b[31m", "\x7f", "\x85", "a\u202eb", "\u2066", "\u200f", "\u2028", "\ufffd",
    "\ud800", "\ufeffa", "e\u0301", "ﬃ", "İ", "ß", "\u212aate@example.com", "👩‍👩‍👧", "𝒳" * 10,
    "a" * 256, "é" * 2_000, "a" * 70_000,
]  # fmt: skip
ATTACKS = [
    "' OR 1=1 --", '"; DROP TABLE x; --', "%", "%' AND 1=1", "\\", "{{7*7}}", "${7*7}", "%s%n",
    "<script>alert(1)</script>", "../../etc/passwd", "//evil.example/", "https://evil.example/",
    "javascript:alert(1)", "/\\evil.example", "=1+1", "@SUM(A1)", "pk__gt",
    "a@example.com\nBcc: b@example.com", "a@example.com,b@example.com",
]  # fmt: skip
DATES = [
    "10/11/12", "20260101", "2026-W01-1", "2026-02-30", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00+99:00", "２０２６-01-01",
]  # fmt: skip
IDS = [
    "00000000-0000-0000-0000-000000000000", "{00000000-0000-4000-8000-000000000000}",
    "urn:uuid:00000000-0000-4000-8000-000000000000", "00000000000040008000000000000000",
]  # fmt: skip

TEXTS = [*NUMBERS, *WORDS, *HIDDEN, *ATTACKS, *DATES, *IDS]


class Raw(str):
    """A piece of JSON that is sent as it stands."""


JSON: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, [], {}, [1],
    {"a": 1}, ["a"] * 2_000, {str(n): n for n in range(2_000)},
    Raw("NaN"), Raw("-Infinity"), Raw("1E400"), Raw("1e-400"), Raw("5.0"), Raw("1e3"), Raw("-0"),
    Raw("007"), Raw('"\\ud800"'), Raw('{"a": 1, "a": 2}'), Raw("[" * 10_000 + "]" * 10_000),
    Raw('{"a":' * 30 + "1" + "}" * 30), Raw("9" * 5_000), Raw("'a'"), Raw(""), Raw("{"),
]  # fmt: skip


def body_of(members: dict[str, Any]) -> bytes:
    """Return ``members`` as a JSON object, with each ``Raw`` among them as it stands."""
    return _written(members).encode("utf-8", "surrogatepass")


def _written(value: Any) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)


def some(cases: Sequence[Case], usually: int) -> list[Case]:
    """
    Return so many of ``cases`` as HOSTILE_SHARE says: all for 1; by default about ``usually``.

    The same ones always, so that the same code has the same result; others for each HOSTILE_SEED.
    """
    share = float(os.environ.get("HOSTILE_SHARE") or min(1, usually / max(1, len(cases))))
    dice = random.Random(seed())
    return dice.sample(cases, math.ceil(share * len(cases)))


def seed() -> str:
    """Return what chooses the share."""
    return os.environ.get("HOSTILE_SEED") or "1"
