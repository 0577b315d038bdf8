"""Fields and serializers that read what was sent, and never guess what was meant."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.http import QueryDict
from rest_framework import serializers

from creditsite.errors import InvalidRequest
from creditsite.text import clean_text

MAX_CREDITS = 1_000_000_000
MAX_ID = 2**63 - 1

RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
YEARS = range(1970, 3000)


class StrictSerializer(serializers.Serializer):
    """
    Reads a JSON object and refuses members that it does not know.

    ``rules`` is what the schema says, in JSON Schema, of members together; ``validate`` does it.
    """

    rules: Mapping[str, Any] = {}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(data.keys() - self.fields.keys())
            if unknown:
                raise serializers.ValidationError(
                    {name[:100]: ["Unknown field."] for name in unknown[:20]}
                )
        return super().to_internal_value(data)


class StrictInteger(serializers.IntegerField):
    """A JSON integer: not text, not a fraction, not a boolean."""

    default_error_messages = {"invalid": "This must be a JSON integer."}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class StrictBoolean(serializers.BooleanField):
    """A JSON boolean: not text, not a number, not null."""

    default_error_messages = {"invalid": "This must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class CreditsField(StrictInteger):
    """Whole credits as a JSON integer, by default from 1 to 1,000,000,000."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 1, "max_value": MAX_CREDITS, **kwargs})


class UserIdField(StrictInteger):
    """The id of a user in a body."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_ID, **kwargs)


class StrictUUID(serializers.UUIDField):
    """A UUID in its usual form: 32 hexadecimal digits, parted by hyphens."""

    FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

    default_error_messages = {"invalid": "This must be a UUID."}

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or not self.FORM.fullmatch(data):
            self.fail("invalid")
        return UUID(data)


class QuantityField(serializers.DecimalField):
    """How many units of a feature: a JSON number from 0 to 1,000,000,000, to a millionth."""

    default_error_messages = {"invalid": "This must be a JSON number."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_digits=16,
            decimal_places=6,
            min_value=Decimal(0),
            max_value=Decimal(1_000_000_000),
            coerce_to_string=False,
            **kwargs,
        )

    def to_internal_value(self, data: Any) -> Decimal:
        if type(data) not in (int, Decimal):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictChar(serializers.CharField):
    """Text of one line as ``clean_text`` stores it, of at most ``max_length`` characters."""

    max_length: int

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return clean_text(data, self.max_length)
        except InvalidRequest as refusal:
            raise serializers.ValidationError(str(refusal)) from refusal


class StrictDateTime(serializers.DateTimeField):
    """An instant in RFC 3339 with an offset, in UTC within; below microseconds it is cut."""

    default_error_messages = {
        "invalid": "This must be a time in RFC 3339 with an offset: 2026-01-31T09:30:00Z."
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or not RFC_3339.fullmatch(data):
            self.fail("invalid")
        try:
            instant = datetime.fromisoformat(data.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")
        if instant.year not in YEARS:
            self.fail("invalid")
        return instant


class QuerySerializer(StrictSerializer):
    """Reads query parameters and refuses unknown and repeated ones; by itself it knows none."""

    def to_internal_value(self, data: QueryDict) -> Any:
        repeated = sorted(name for name, values in data.lists() if len(values) > 1)
        if repeated:
            raise serializers.ValidationError(
                {name[:100]: ["Given more than once."] for name in repeated[:20]}
            )
        return super().to_internal_value(data.dict())


class QueryInteger(StrictInteger):
    """An integer in a query parameter: ASCII digits, with a minus at most; a bigint at most."""

    DIGITS = re.compile(r"-?[0-9]{1,19}")

    default_error_messages = {"invalid": "This must be a whole number."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": -MAX_ID, "max_value": MAX_ID, **kwargs})

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or not self.DIGITS.fullmatch(data):
            self.fail("invalid")
        return int(data)


class PeriodQuery(QuerySerializer):
    """``from`` (inclusive) and ``to`` (exclusive); validated as ``since`` and ``until``."""

    def get_fields(self) -> dict[str, serializers.Field]:
        # "from" is a word of Python and cannot be declared as an attribute.
        return {
            **super().get_fields(),
            "from": StrictDateTime(required=False, source="since", help_text="Inclusive."),
            "to": StrictDateTime(required=False, source="until", help_text="Exclusive."),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "since" in attrs and "until" in attrs and attrs["since"] >= attrs["until"]:
            raise serializers.ValidationError({"to": ["This must be later than from."]})
        return attrs
