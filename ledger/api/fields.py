"""Fields of bodies that only the ledger has."""

import json
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from creditsite.apikit.fields import QuantityField

MAX_FEATURES = 20
MAX_CODE_LENGTH = 60
MAX_METADATA_BYTES = 4_096


@extend_schema_field(
    {
        "type": "object",
        "description": "Quantities by feature code; their cost is rounded up once.",
        "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1_000_000_000},
        "propertyNames": {"minLength": 1, "maxLength": MAX_CODE_LENGTH},
        "minProperties": 1,
        "maxProperties": MAX_FEATURES,
        "example": {"llm.input": 2_000, "llm.output": 350},
    }
)
class QuantitiesField(serializers.DictField):
    """Quantities of several features: an object of JSON numbers by feature code."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=QuantityField(), allow_empty=False, **kwargs)

    def to_internal_value(self, data: Any) -> dict[str, Decimal]:
        quantities = super().to_internal_value(data)
        if len(quantities) > MAX_FEATURES:
            raise serializers.ValidationError(f"At most {MAX_FEATURES} features.")
        if not all(0 < len(code) <= MAX_CODE_LENGTH for code in quantities):
            raise serializers.ValidationError(f"A code has 1 to {MAX_CODE_LENGTH} characters.")
        return quantities


@extend_schema_field(
    {"type": "object", "description": "Your own notes, of at most 4,096 bytes as JSON."}
)
class MetadataField(serializers.Field):
    """A JSON object of the caller's own, small, and kept to the digit."""

    default_error_messages = {
        "not_an_object": "This must be a JSON object.",
        "too_large": f"At most {MAX_METADATA_BYTES:,} bytes are kept.",
        "inexact": "The number {number} cannot be kept exactly. Send it as text.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        exact = self.exact(data)
        if len(json.dumps(exact, separators=(",", ":"))) > MAX_METADATA_BYTES:
            self.fail("too_large")
        return exact

    def exact(self, value: Any) -> Any:
        """Return ``value`` with its Decimals as the integers or floats that they exactly are."""
        if isinstance(value, dict):
            return {name: self.exact(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.exact(member) for member in value]
        if not isinstance(value, Decimal):
            return value
        if value == value.to_integral_value():
            return int(value)
        if Decimal(repr(float(value))) != value:
            self.fail("inexact", number=value)
        return float(value)


@extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
class MetadataDocument(serializers.JSONField):
    """Metadata as it was sent, or null."""
