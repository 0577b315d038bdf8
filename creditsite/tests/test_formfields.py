from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Role
from creditsite.formfields import (
    AsciiDecimalField,
    AsciiIntegerField,
    DayField,
    InstantField,
    JsonObjectField,
    ObjectField,
    ReasonField,
    SignedAsciiIntegerField,
    TextField,
)

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


class TestAsciiDecimalField:
    field = AsciiDecimalField(max_value=Decimal("99.5"), places=2)

    @pytest.mark.parametrize("text", ["0", "0.1", "0.10", "7", "99.50"])
    def test_takes_plain_digits_and_a_point(self, text):
        assert self.field.clean(text) == Decimal(text)

    @pytest.mark.parametrize(
        "text", [*NOT_PLAIN, "-5", "1,5", ".5", "5.", "0.123", "00.1", "1.5e1", "Infinity", "٣.٣"]
    )
    def test_refuses_whatever_else(self, text):
        assert refused(self.field, text) == [
            "Enter a number such as 1234.5, with at most 2 digits after the point."
        ]

    @pytest.mark.parametrize("text", ["99.51", "1000000", "9" * 21])
    def test_refuses_what_is_out_of_range(self, text):
        assert refused(self.field, text) == ["Enter a number from 0 to 99.5."]

    def test_shows_a_number_without_idle_zeros_and_what_was_typed_as_it_was(self):
        shown = [self.field.prepare_value(value) for value in (Decimal("20.000"), "1,5", None)]
        assert shown == ["20", "1,5", None]


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


class TestDayField:
    def test_takes_a_day_of_a_calendar(self):
        assert DayField().clean("2026-01-31") == date(2026, 1, 31)

    @pytest.mark.parametrize(
        "typed",
        [
            "01/02/03",
            "1/2/2026",
            "2026-1-2",
            "20260102",
            "2026-W01-1",
            "2026-02-30",
            "２０２６-01-01",
            " 2026-01-01",
            "2026-01-01\n",
            "0000-01-01",
        ],
    )
    def test_guesses_at_nothing(self, typed):
        assert refused(DayField(), typed)


class TestInstantField:
    @pytest.mark.parametrize("typed", ["2026-01-31T09:30", "2026-01-31T09:30:00"])
    def test_takes_an_instant_of_a_calendar_as_utc(self, typed):
        assert InstantField().clean(typed) == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    @pytest.mark.parametrize(
        "typed",
        [
            "2026-01-31",
            "31/01/2026 09:30",
            "2026-01-31 09:30",
            "2026-01-31T09:30+01:00",
            "2026-01-31T24:00",
            "2026-01-31T9:30",
            "２０２６-01-31T09:30",
            "2026-01-31T09:30Z",
        ],
    )
    def test_guesses_at_nothing(self, typed):
        assert refused(InstantField(), typed)


@pytest.mark.django_db
class TestObjectField:
    def test_takes_a_key_to_the_letter(self):
        role = Role.objects.order_by("pk").first()
        field = ObjectField(Role.objects.all())
        assert field.clean(str(role.pk)) == role
        for typed in [
            f"+{role.pk}",
            f" {role.pk}",
            f"0{role.pk}",
            f"{role.pk}.0",
            "x",
            "9" * 5_000,
        ]:
            assert refused(field, typed)

    def test_shows_again_what_could_be_a_key(self):
        field = ObjectField(Role.objects.all())
        assert field.bound_data("5", None) == "5"
        assert field.bound_data("//evil.example/", None) == ""


class TestJsonObjectField:
    def test_takes_an_object(self):
        assert JsonObjectField().clean('{"id": "abc", "n": [1]}') == {"id": "abc", "n": [1]}

    @pytest.mark.parametrize(
        "sent", ["[]", "1", "NaN", "9" * 5_000, "[" * 10_000, '{"a": 1, "a": 2}', '{"a": NaN}', "{"]
    )
    def test_refuses_what_is_none(self, sent):
        assert refused(JsonObjectField(), sent)
