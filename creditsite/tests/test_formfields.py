import pytest
from django.core.exceptions import ValidationError

from creditsite.formfields import AsciiIntegerField, ReasonField, SignedAsciiIntegerField, TextField

NOT_PLAIN = [
    "7.000",
    "1_000",
    "1,000",
    "１２",
    "٣",
    "+5",
    "-0",
    " 5",
    "5 ",
    "5\n",
    "007",
    "1e3",
    "0x1",
    "²",
    "-",
    "NaN",
]


def refused(field, value):
    with pytest.raises(ValidationError) as refusal:
        field.clean(value)
    return refusal.value.messages


class TestAsciiIntegerField:
    @pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("1000000", 1_000_000)])
    def test_takes_plain_digits(self, text, number):
        assert AsciiIntegerField(min_value=0, max_value=1_000_000).clean(text) == number

    @pytest.mark.parametrize("text", [*NOT_PLAIN, "-5"])
    def test_refuses_whatever_else(self, text):
        field = AsciiIntegerField(min_value=0, max_value=1_000_000)
        assert refused(field, text) == ["Enter a whole number in the digits 0 to 9 only."]

    @pytest.mark.parametrize("text", ["0", "1000001", "9" * 30, "9" * 5_000])
    def test_refuses_what_is_out_of_range(self, text):
        field = AsciiIntegerField(min_value=1, max_value=1_000_000)
        assert refused(field, text) == ["Enter a number from 1 to 1,000,000."]

    def test_refuses_nothing_where_it_is_required(self):
        assert refused(AsciiIntegerField(min_value=0, max_value=1), "") == [
            "This field is required."
        ]

    def test_is_none_where_it_is_left_out(self):
        assert AsciiIntegerField(min_value=0, max_value=1, required=False).clean("") is None


class TestSignedAsciiIntegerField:
    @pytest.mark.parametrize(("text", "number"), [("0", 0), ("-5", -5), ("5", 5)])
    def test_takes_a_minus(self, text, number):
        assert SignedAsciiIntegerField(min_value=-5, max_value=5).clean(text) == number

    @pytest.mark.parametrize("text", [*NOT_PLAIN, "--5", "-05"])
    def test_refuses_whatever_else(self, text):
        field = SignedAsciiIntegerField(min_value=-5, max_value=5)
        assert refused(field, text) == ["Enter a whole number in the digits 0 to 9 only."]

    def test_refuses_what_is_out_of_range(self):
        assert refused(SignedAsciiIntegerField(min_value=-5, max_value=5), "-6")


class TestTextField:
    def test_stores_one_line_in_nfc(self):
        assert TextField(max_length=9).clean(" Cafe\u0301 \r\n Ada ") == "Café Ada"

    @pytest.mark.parametrize("character", ["\0", "\x1f", "\u202e", "\ud800"])
    def test_refuses_what_hides_even_at_the_end(self, character):
        assert refused(TextField(max_length=20), f"ok{character}")


class TestReasonField:
    @pytest.mark.parametrize("length", [10, 500])
    def test_takes(self, length):
        assert ReasonField().clean("x" * length) == "x" * length

    @pytest.mark.parametrize("reason", ["", " " * 20, "x" * 9, "x        y", "x" * 501])
    def test_refuses_what_says_too_little_or_too_much(self, reason):
        assert refused(ReasonField(), reason)
