"""Reading a JSON body so that it says one thing only, and nothing that harms who reads it later."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any, NoReturn

from django.conf import settings
from django.http import UnreadablePostError
from rest_framework.parsers import BaseParser

from creditsite.errors import InvalidRequest
from creditsite.text import refuse_hidden

MAX_DEPTH = 20
MAX_INTEGER = 2**63 - 1  # what a bigint holds
MAX_NUMBER_LENGTH = 40
MAX_EXPONENT = 30


class StrictJSONParser(BaseParser):
    """Parses one JSON object in UTF-8 of at most ``API_MAX_BODY_BYTES`` bytes."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """
        Return the object in ``stream``; numbers with a fraction or exponent are Decimals.

        :raises InvalidRequest: it is anything else, too large, or holds text that is refused.
        """
        limit = settings.API_MAX_BODY_BYTES
        try:
            body = stream.read(limit + 1)
        except UnreadablePostError as broken:
            raise InvalidRequest("The body broke off.") from broken
        if len(body) > limit:
            raise InvalidRequest(f"The body is larger than {limit:,} bytes.")
        return parse_object(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """
    Return the JSON object that ``body`` is.

    :raises InvalidRequest: it is no JSON object, is nested too deeply, names a member twice, or
        holds a number out of bounds or text that ``refuse_hidden`` refuses.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=_constant,
        )
    # A RecursionError is no ValueError: thousands of brackets would end as a 500.
    except (ValueError, RecursionError) as broken:
        raise InvalidRequest("The body is not valid JSON in UTF-8.") from broken
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    _refuse_depth_and_hidden_text(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidRequest("A name appears twice in one object of the body.")
    return members


def _integer(text: str) -> int:
    # Length first: converting a million digits takes its time.
    if len(text) > 20 or abs(number := int(text)) > MAX_INTEGER:
        raise InvalidRequest("A number in the body is out of bounds.")
    return number


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_LENGTH or abs((number := Decimal(text)).adjusted()) > MAX_EXPONENT:
        raise InvalidRequest("A number in the body is out of bounds.")
    return number


def _constant(text: str) -> NoReturn:
    raise InvalidRequest(f"{text} is not a JSON number.")


def _refuse_depth_and_hidden_text(root: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(root, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            refuse_hidden(value)
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
            children = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            waiting.extend((child, depth + 1) for child in children)
