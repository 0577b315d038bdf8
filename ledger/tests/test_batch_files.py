import io
import resource
from datetime import UTC, datetime

import pytest

from creditsite.errors import InvalidRequest
from ledger.services.batch_files import (
    BatchRow,
    read_adjustments,
    read_opening_lines,
    read_openings,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def adjustments(text, encoding="utf-8"):
    return list(read_adjustments(io.BytesIO(text.encode(encoding))))


def openings(text):
    return list(read_openings(io.BytesIO(text.encode()), at=AT))


def row(*cells, **named):
    return BatchRow(*cells, **named, note="Opening balance")


def why_of(line, header="email,awards,purchases,paid,currency,partner,as_of"):
    (why,) = {row.why for row in openings(f"{header}\n{line}\n")}
    return why


class TestReadAdjustments:
    def test_reads_a_line_each(self):
        assert adjustments(
            "email,amount,reason\n Bob@Example.com ,5,late refund\neve@x.io,7,\n"
        ) == [
            BatchRow(2, "bob@example.com", amount=5, note="late refund"),
            BatchRow(3, "eve@x.io", amount=7),
        ]

    def test_takes_columns_in_any_order_and_without_a_reason(self):
        assert adjustments("Amount,EMAIL\n5,bob@x.io\n") == [BatchRow(2, "bob@x.io", amount=5)]

    @pytest.mark.parametrize(
        "text",
        [
            "\ufeffemail,amount\nbob@x.io,5\n",
            "email,amount\r\nbob@x.io,5\r\n",
            '"email","amount"\n"bob@x.io","5"',
            "email,amount\n\n,\nbob@x.io,5\n\n",
        ],
    )
    def test_reads_marks_quotes_and_line_ends_of_spreadsheets(self, text):
        (row,) = adjustments(text)
        assert (row.email, row.amount, row.why) == ("bob@x.io", 5, "")

    @pytest.mark.parametrize(
        "amount",
        [
            "1e3",
            "１２",
            "٣",
            "1_000",
            "7.0",
            "007",
            "+5",
            "=1+1",
            "'5",
            "",
            "5 000",
            "0x1F",
            "\u202e5",
        ],
    )
    def test_takes_an_amount_in_plain_digits_only(self, amount):
        (row,) = adjustments(f"email,amount\nbob@x.io,{amount}\n")
        assert row == BatchRow(
            2, "bob@x.io", why=f"amount is {amount!r}, not a whole number in the digits 0 to 9"
        )

    @pytest.mark.parametrize(
        ("amount", "why"),
        [
            ("-5", "amount is a negative number, not a whole number in the digits 0 to 9"),
            ("0", "amount is 0"),
            ("1000000001", "amount is above 1,000,000,000"),
            ("9" * 3_000, "amount is above 1,000,000,000"),
        ],
    )
    def test_refuses_amounts_that_nobody_moves(self, amount, why):
        (row,) = adjustments(f"email,amount\nbob@x.io,{amount}\n")
        assert row.why == why

    def test_refuses_the_second_line_of_a_user_however_written(self):
        rows = adjustments("email,amount\nbob@x.io,5\neve@x.io,1\nBOB@x.io ,7\n")
        assert [row.why for row in rows] == ["", "", "the same e-mail is on line 2"]

    @pytest.mark.parametrize("email", ["bob", "@x.io", "=cmd|'/c calc'!A1", "a@b@c.io", "x" * 255])
    def test_refuses_what_is_no_address(self, email):
        (row,) = adjustments(f"email,amount\n{email},5\n")
        assert (row.email, row.amount) == ("", 5)
        assert row.why.endswith(", not an address")

    def test_shows_what_hides_or_reorders_as_what_it_is(self):
        (row,) = adjustments("email,amount\nbob@x.io,\u202e500\n")
        assert row.why.isprintable()
        (row,) = adjustments("email,amount,reason\nbob@x.io,5,\u202eevil\n")
        assert row.why == "reason: The character U+202E is not allowed here."

    def test_tells_no_cell_of_a_line_that_has_too_many(self):
        assert adjustments("email,amount\nbob@x.io,1,000\n") == [
            BatchRow(2, "", why="3 cells, and the header has 2")
        ]

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "The file is empty."),
            (b"\n\n", "The file is empty."),
            (b"email;amount\nbob@x.io;5\n", "Columns are separated by commas"),
            (b"email\tamount\n", "Columns are separated by commas"),
            (b"mail,amount\n", "Unknown columns: 'mail'. The first line names the columns: email,"),
            (b"email,amount,amount\n", "The first line names a column twice."),
            (b"email,reason\n", "The file has no column amount."),
            (
                "email,amount\n".encode("utf-16"),
                "The file is UTF-16 text; save it as CSV in UTF-8.",
            ),
            ("email,amount\n".encode("utf-16-le"), "Line 1 holds a NUL"),
            (b"email,amount\nbob@x.io,5\0\n", "Line 2 holds a NUL"),
            (b"email,amount\nb\xf6b@x.io,5\n", "Line 2 is not text in UTF-8."),
            (b"PK\x03\x04 and so on", "The file is a spreadsheet; save it as CSV in UTF-8."),
            (b"email,amount\n" + b"x" * 5_000_000, "Line 2 is longer than 4,000 bytes."),
            (
                b'email,amount\n"bob@x.io,5\neve@x.io,5\n',
                "Line 3 is not CSV: unexpected end of data.",
            ),
            (b'email,amount\n"bob"@x.io,5\n', "Line 2 is not CSV:"),
            (b"email,amount\rbob@x.io,5\r", "Line 1 is not CSV:"),
        ],
    )
    def test_refuses_a_file_that_it_cannot_read(self, content, says):
        with pytest.raises(InvalidRequest) as refusal:
            list(read_adjustments(io.BytesIO(content)))
        assert str(refusal.value).startswith(says)

    def test_refuses_more_lines_than_it_reads(self, monkeypatch):
        monkeypatch.setattr("ledger.services.batch_files.MOST_LINES", 3)
        assert len(adjustments("email,amount\na@x.io,1\nb@x.io,1\n")) == 2
        with pytest.raises(InvalidRequest, match="more than 3 lines"):
            adjustments("email,amount\na@x.io,1\nb@x.io,1\nc@x.io,1\n")

    def test_a_quote_that_is_never_closed_does_not_fill_memory(self):
        def lines():
            yield b"email,amount\n"
            yield b'"\n'
            while True:
                yield b"x" * 3_999 + b"\n"

        endless = lines()

        class Endless:
            def readline(self, size):
                return next(endless)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InvalidRequest, match="is not CSV: field larger than field limit"):
            list(read_adjustments(Endless()))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


class TestReadOpenings:
    def test_gives_a_row_for_each_type_and_the_money_with_the_purchases(self):
        note = "Opening balance as of 2026-11-01"
        assert openings(
            "email,awards,purchases,paid,currency,partner,as_of\n"
            "bob@x.io,10,200,19.99,USD,5,2026-11-01\n"
            "eve@x.io,,7,,,0,\n"
        ) == [
            BatchRow(2, "bob@x.io", "award", 10, note=note),
            BatchRow(2, "bob@x.io", "partner", 5, note=note),
            BatchRow(2, "bob@x.io", "purchase", 200, 1_999, "usd", note=note),
            row(3, "eve@x.io", "purchase", 7),
        ]

    def test_takes_a_plain_balance(self):
        assert openings("email,awards\nbob@x.io,10\n") == [row(2, "bob@x.io", "award", 10)]

    def test_says_where_there_is_nothing_to_enter(self):
        assert openings("email,awards\nbob@x.io,0\n") == [
            row(2, "bob@x.io", amount=0, why="nothing to enter: all is 0")
        ]

    def test_tells_the_figures_of_a_wrong_line_so_that_totals_tie(self):
        assert openings(
            "email,awards,purchases,paid,currency\nbob,10,200,19.99,usd\neve@x.io,x,,5,usd\n"
        ) == [
            row(2, "", "award", 10, why="email is 'bob', not an address"),
            row(2, "", "purchase", 200, 1_999, "usd", "email is 'bob', not an address"),
            row(
                3,
                "eve@x.io",
                "",
                None,
                500,
                "usd",
                "awards is 'x', not a whole number in the digits 0 to 9;"
                " something was paid, and there are no purchases",
            ),
        ]

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (
                "b@x.io,-1,,,,,",
                "awards is a negative number, not a whole number in the digits 0 to 9",
            ),
            ("b@x.io,1,,5,usd,,", "something was paid, and there are no purchases"),
            ("b@x.io,,1,5,,,", "paid has no currency"),
            ("b@x.io,,1,5,usx,,", "currency is 'usx', not a code such as USD"),
            ("b@x.io,,1,1.999,usd,,", "paid is '1.999': USD has 2 decimal places"),
            ("b@x.io,,1,1.5,jpy,,", "paid is '1.5': JPY has 0 decimal places"),
            ("b@x.io,,1,-5,usd,,", "paid is '-5': It is not an amount of money such as 1999.50"),
            ("b@x.io,,1,1e3,usd,,", "paid is '1e3': It is not an amount of money such as 1999.50"),
            ("b@x.io,,1,10000000000.01,usd,,", "paid is '10000000000.01': too large"),
            ("b@x.io,,1,,,,2026-11-22", "as_of is in the future"),
            ("b@x.io,,1,,,,2026-11-20T12:00:01Z", "as_of is in the future"),
            ("b@x.io,,1,,,,01/02/2026", "as_of is '01/02/2026', not a time such as 2026-01-31"),
            ("b@x.io,,1,,,,2026-02-30", "as_of is '2026-02-30', not a time such as 2026-01-31"),
        ],
    )
    def test_says_what_is_wrong_with_a_line(self, line, why):
        assert why_of(line) == why

    @pytest.mark.parametrize(
        ("paid", "currency", "minor"),
        [("5", "USD", 500), ("5.1000", "eur", 510), ("500", "jpy", 500), ("1.234", "kwd", 1_234)],
    )
    def test_reads_money_by_the_digits_of_its_currency(self, paid, currency, minor):
        (brought,) = openings(f"email,purchases,paid,currency\nb@x.io,1,{paid},{currency}\n")
        assert (brought.paid_minor, brought.currency, brought.why) == (minor, currency.lower(), "")

    @pytest.mark.parametrize("paid", ["", "0", "0.00", "0.0000"])
    def test_takes_purchases_that_nothing_was_paid_for(self, paid):
        (brought,) = openings(f"email,purchases,paid,currency\nb@x.io,1,{paid},USD\n")
        assert brought == row(2, "b@x.io", "purchase", 1)

    def test_reads_times_with_and_without_a_zone(self):
        lines = read_opening_lines(
            io.BytesIO(
                b"email,awards,as_of\na@x.io,1,2026-11-01\nb@x.io,1,2026-11-01T01:00:00+01:00\n"
                b"c@x.io,1,2026-11-01 00:00:00\nd@x.io,1,\n"
            ),
            at=AT,
        )
        first = datetime(2026, 11, 1, tzinfo=UTC)
        assert [line.as_of for line in lines] == [first, first, first, None]

    def test_today_has_begun_somewhere(self):
        assert why_of("b@x.io,1,,,,,2026-11-21") == ""

    def test_refuses_a_file_without_any_credits(self):
        with pytest.raises(InvalidRequest, match="none of the columns awards, partner, purchases"):
            openings("email,paid,currency\n")
