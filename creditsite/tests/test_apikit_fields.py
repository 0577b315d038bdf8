from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.http import QueryDict
from rest_framework import serializers

from creditsite.apikit.fields import (
    CreditsField,
    PeriodQuery,
    QuantityField,
    QueryInteger,
    QuerySerializer,
    StrictChar,
    StrictDateTime,
    StrictSerializer,
    StrictUUID,
    UserIdField,
)


def refusal(field: serializers.Field, value: object) -> list[str]:
    with pytest.raises(serializers.ValidationError) as refused:
        field.run_validation(value)
    return [str(message) for message in refused.value.detail]


NO_INTEGERS = ["5", "", "７", 5.0, Decimal("5.0"), Decimal("1E+3"), True, False, [5], {"a": 5}]


class TestCreditsField:
    @pytest.mark.parametrize("value", [1, 1_000_000_000])
    def test_reads_whole_credits(self, value):
        assert CreditsField().run_validation(value) == value

    @pytest.mark.parametrize("value", NO_INTEGERS)
    def test_refuses_what_is_no_json_integer(self, value):
        assert refusal(CreditsField(), value) == ["This must be a JSON integer."]

    def test_refuses_null(self):
        assert refusal(CreditsField(), None) == ["This field may not be null."]

    @pytest.mark.parametrize("value", [0, -1, 1_000_000_001, 2**63])
    def test_refuses_numbers_out_of_bounds(self, value):
        assert "value is" in refusal(CreditsField(), value)[0]

    def test_may_start_elsewhere(self):
        assert CreditsField(min_value=0).run_validation(0) == 0


class TestUserIdField:
    @pytest.mark.parametrize("value", [*NO_INTEGERS, None, 0, -1, 2**63])
    def test_refuses_what_is_no_id(self, value):
        assert refusal(UserIdField(), value)

    def test_reads_an_id(self):
        assert UserIdField().run_validation(2**63 - 1) == 2**63 - 1


class TestStrictUUID:
    TEXT = "01a1f8c7-7648-7bb6-83c7-0c47fccc3e37"

    @pytest.mark.parametrize("text", [TEXT, TEXT.upper()])
    def test_reads_the_usual_form(self, text):
        assert StrictUUID().run_validation(text) == UUID(self.TEXT)

    @pytest.mark.parametrize(
        "value",
        [5, "", "x", TEXT.replace("-", ""), f"urn:uuid:{TEXT}", f"{{{TEXT}}}", f"{TEXT}\n", None],
    )
    def test_refuses_other_forms(self, value):
        assert refusal(StrictUUID(), value)


class TestQuantityField:
    @pytest.mark.parametrize(
        ("value", "quantity"),
        [
            (0, "0.000000"),
            (1500, "1500.000000"),
            (Decimal("1500.0"), "1500.000000"),
            (Decimal("0.000001"), "0.000001"),
            (1_000_000_000, "1000000000.000000"),
        ],
    )
    def test_reads_numbers_exactly_and_in_one_form(self, value, quantity):
        assert str(QuantityField().run_validation(value)) == quantity

    @pytest.mark.parametrize("value", ["5", "1e3", 0.5, True, None, [1], {}])
    def test_refuses_what_is_no_json_number(self, value):
        assert refusal(QuantityField(), value)

    @pytest.mark.parametrize(
        "value", [-1, Decimal("-0.1"), 1_000_000_001, Decimal("0.0000001"), Decimal("1e30")]
    )
    def test_refuses_numbers_out_of_bounds(self, value):
        assert refusal(QuantityField(), value)


class TestStrictChar:
    def test_reads_text_as_it_is_stored(self):
        assert StrictChar(max_length=10).run_validation("  Cafe\u0301 ") == "Caf\u00e9"

    @pytest.mark.parametrize("value", [5, 5.5, True, ["a"], {"a": "b"}])
    def test_refuses_what_is_no_text(self, value):
        assert refusal(StrictChar(max_length=10), value) == ["Not a valid string."]

    @pytest.mark.parametrize("value", ["", "   ", "\u00a0"])
    def test_refuses_blank_text(self, value):
        assert refusal(StrictChar(max_length=10), value) == ["This field may not be blank."]

    @pytest.mark.parametrize("character", ["\x00", "\n", "\x1b", "\u202e", "\u2028", "\ud800"])
    def test_refuses_hidden_characters(self, character):
        assert "not allowed here" in refusal(StrictChar(max_length=10), f"a{character}b")[0]

    def test_refuses_text_that_is_too_long(self):
        assert refusal(StrictChar(max_length=3), "abcd") == [
            "At most 3 characters are allowed here."
        ]


class TestStrictDateTime:
    @pytest.mark.parametrize(
        ("text", "instant"),
        [
            ("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
            ("2026-01-31t09:30:00z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
            ("2026-01-31T09:30:00+02:00", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
            ("2026-01-31T09:30:00.5-05:30", datetime(2026, 1, 31, 15, 0, 0, 500_000, tzinfo=UTC)),
            (
                "2026-01-31T09:30:00.123456789Z",
                datetime(2026, 1, 31, 9, 30, 0, 123_456, tzinfo=UTC),
            ),
        ],
    )
    def test_reads_rfc_3339_into_utc(self, text, instant):
        read = StrictDateTime().run_validation(text)
        assert (read, read.tzinfo) == (instant, UTC)

    @pytest.mark.parametrize(
        "value",
        [
            "2026-01-31",
            "2026-01-31T09:30:00",
            "2026-01-31 09:30:00Z",
            "2026-01-31T09:30Z",
            "20260131T093000Z",
            "2026-02-30T09:30:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T09:30:60Z",
            "2026-01-31T09:30:00+25:00",
            "２026-01-31T09:30:00Z",
            "2026-01-31T09:30:00Z\n",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59-14:00",
            "now",
            "",
            1767225600,
            True,
            None,
            ["2026-01-31T09:30:00Z"],
        ],
    )
    def test_refuses_everything_else(self, value):
        assert refusal(StrictDateTime(), value)

    def test_writes_utc(self):
        assert (
            StrictDateTime().to_representation(datetime(2026, 1, 31, 9, 30, tzinfo=UTC))
            == "2026-01-31T09:30:00Z"
        )


class Body(StrictSerializer):
    amount = CreditsField()
    note = StrictChar(max_length=10, required=False)


class TestStrictSerializer:
    def test_reads_what_it_knows(self):
        body = Body(data={"amount": 5})
        assert (body.is_valid(), body.validated_data) == (True, {"amount": 5})

    def test_refuses_unknown_fields_by_name(self):
        body = Body(data={"amount": 5, "ammount": 6, "z" * 200: 1})
        assert not body.is_valid()
        assert body.errors == {"ammount": ["Unknown field."], "z" * 100: ["Unknown field."]}

    @pytest.mark.parametrize("data", [[], "text", 5, None])
    def test_refuses_what_is_no_object(self, data):
        assert not Body(data=data).is_valid()


class Query(QuerySerializer):
    size = QueryInteger(min_value=1, max_value=200, default=50)
    email = StrictChar(max_length=20, required=False)


class TestQuerySerializer:
    def test_reads_parameters_and_defaults(self):
        query = Query(data=QueryDict("email=a@b.c"))
        assert (query.is_valid(), query.validated_data) == (True, {"size": 50, "email": "a@b.c"})

    def test_refuses_unknown_parameters(self):
        query = Query(data=QueryDict("sise=5"))
        assert (query.is_valid(), query.errors) == (False, {"sise": ["Unknown field."]})

    def test_refuses_repeated_parameters(self):
        query = Query(data=QueryDict("size=5&size=6"))
        assert (query.is_valid(), query.errors) == (False, {"size": ["Given more than once."]})

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "+5",
            "5.0",
            "1e2",
            "1_0",
            "７",
            "٣",
            " 5",
            "5%00",
            "0x5",
            "-",
            "0",
            "201",
            "9" * 5000,
        ],
    )
    def test_refuses_odd_integers(self, value):
        query = Query(data=QueryDict(f"size={value}"))
        assert (query.is_valid(), list(query.errors)) == (False, ["size"])

    def test_refuses_hidden_characters(self):
        query = Query(data=QueryDict("email=a%00b"))
        assert (query.is_valid(), list(query.errors)) == (False, ["email"])


class TestPeriodQuery:
    def test_reads_from_and_to(self):
        query = PeriodQuery(data=QueryDict("from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"))
        assert query.is_valid()
        assert query.validated_data == {
            "since": datetime(2026, 1, 1, tzinfo=UTC),
            "until": datetime(2026, 2, 1, tzinfo=UTC),
        }

    def test_is_open_where_nothing_is_said(self):
        query = PeriodQuery(data=QueryDict(""))
        assert (query.is_valid(), query.validated_data) == (True, {})

    def test_refuses_a_period_that_ends_before_it_starts(self):
        query = PeriodQuery(data=QueryDict("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z"))
        assert (query.is_valid(), query.errors) == (
            False,
            {"to": ["This must be later than from."]},
        )
