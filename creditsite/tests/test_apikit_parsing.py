import io
import json
from decimal import Decimal

import pytest
from django.http import UnreadablePostError

from creditsite.apikit.parsing import MAX_DEPTH, StrictJSONParser, parse_object
from creditsite.errors import InvalidRequest


def nested(levels: int) -> bytes:
    """An object with that many levels, itself the first."""
    return b'{"a":' * levels + b"1" + b"}" * levels


class TestParseObject:
    def test_returns_the_object(self):
        body = '{"text": "Ünï 😀", "whole": 7, "none": null, "list": [true, {"deep": []}]}'.encode()
        assert parse_object(body) == {
            "text": "Ünï 😀",
            "whole": 7,
            "none": None,
            "list": [True, {"deep": []}],
        }

    def test_keeps_decimals_exact_and_apart_from_integers(self):
        numbers = parse_object(b'{"a": 0.1, "b": 5.0, "c": 1e3, "d": 9223372036854775807}')
        assert {name: (type(n), str(n)) for name, n in numbers.items()} == {
            "a": (Decimal, "0.1"),
            "b": (Decimal, "5.0"),
            "c": (Decimal, "1E+3"),
            "d": (int, "9223372036854775807"),
        }

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"{",
            b"{'a': 1}",
            b'{"a": 1,}',
            b'{"a": 01}',
            b'{"a": +1}',
            b'{"a": 1_000}',
            b'{"a": "\n"}',
            b'{"a": 1} {"b": 2}',
            b"amount=5",
            b'{"a": "\xff"}',
            b"\xef\xbb\xbf{}",
            '{"a": 1}'.encode("utf-16"),
            b"[" * 20_000,
            b'{"a":' * 20_000,
        ],
    )
    def test_refuses_what_is_no_json_in_utf_8(self, body):
        with pytest.raises(InvalidRequest, match="not valid JSON"):
            parse_object(body)

    @pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true", b"[{}]"])
    def test_refuses_what_is_no_object(self, body):
        with pytest.raises(InvalidRequest, match="must be a JSON object"):
            parse_object(body)

    @pytest.mark.parametrize("body", [b'{"a": 1, "a": 1}', b'{"b": [{"a": 1, "\\u0061": 2}]}'])
    def test_refuses_a_name_given_twice(self, body):
        with pytest.raises(InvalidRequest, match="twice"):
            parse_object(body)

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
    def test_refuses_what_is_no_number(self, constant):
        with pytest.raises(InvalidRequest, match=f"^{constant} is not a JSON number"):
            parse_object(f'{{"a": {constant}}}'.encode())

    @pytest.mark.parametrize(
        "number",
        [
            "9223372036854775808",
            "-9223372036854775808",
            "1" * 100_000,
            "1e31",
            "1e-31",
            "1e400",
            "1e999999999999",
            "0." + "1" * 39,
        ],
    )
    def test_refuses_numbers_out_of_bounds(self, number):
        with pytest.raises(InvalidRequest, match="out of bounds"):
            parse_object(f'{{"a": {number}}}'.encode())

    def test_reads_as_deep_as_allowed_and_no_deeper(self):
        assert json.dumps(parse_object(nested(MAX_DEPTH))).count("{") == MAX_DEPTH
        with pytest.raises(InvalidRequest, match="deeper than 20 levels"):
            parse_object(nested(MAX_DEPTH + 1))

    @pytest.mark.parametrize(
        "place", ['{"a": "%s"}', '{"%s": 1}', '{"a": [{"b": ["%s"]}]}', '{"a": {"%s": 1}}']
    )
    @pytest.mark.parametrize(
        "hidden",
        [
            "\\u0000",
            "\\n",
            "\\t",
            "\\u001b",
            "\\u007f",
            "\\u0085",
            "\\u200e",
            "\\u202e",
            "\\u2066",
            "\u202e",
            "\\u2028",
            "\\ud800",
            "\\udfff x",
        ],
    )
    def test_refuses_hidden_characters_wherever_they_stand(self, place, hidden):
        with pytest.raises(InvalidRequest, match="not allowed here"):
            parse_object((place % hidden).encode())

    def test_takes_text_that_is_odd_but_harmless(self):
        odd = "a\u200db \u00a0\ufeff\U0001f468\u200d\U0001f469 e\u0301 \ue000"
        assert parse_object(json.dumps({"a": odd}).encode()) == {"a": odd}


class TestStrictJSONParser:
    def test_reads_a_body_as_large_as_allowed(self, settings):
        settings.API_MAX_BODY_BYTES = 20
        assert StrictJSONParser().parse(io.BytesIO(b'{"a": "123456789ab"}')) == {"a": "123456789ab"}

    def test_refuses_a_larger_one_without_reading_it_all(self, settings):
        settings.API_MAX_BODY_BYTES = 20
        stream = io.BytesIO(b'{"a": "123456789abc"}' + b" " * 1000)
        with pytest.raises(InvalidRequest, match="larger than 20 bytes"):
            StrictJSONParser().parse(stream)
        assert stream.tell() == 21

    def test_refuses_a_body_that_broke_off(self):
        class Broken(io.BytesIO):
            def read(self, *args):
                raise UnreadablePostError("gone")

        with pytest.raises(InvalidRequest, match="broke off"):
            StrictJSONParser().parse(Broken())
