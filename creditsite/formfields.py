"""Form fields that take exactly what they say: ASCII digits, and text that hides nothing."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from creditsite.errors import InvalidRequest
from creditsite.text import clean_text, one_line


class AsciiIntegerField(forms.Field):
    """
    A whole number between ``min_value`` and ``max_value`` in plain ASCII digits.

    Nothing is stripped, rounded or guessed: "7.000", "1_000", "１２", "+5" and " 5" are refused.
    """

    widget = forms.TextInput
    pattern = re.compile(r"0|[1-9][0-9]*")
    default_error_messages = {"invalid": "Enter a whole number in the digits 0 to 9 only."}

    def __init__(self, *, min_value: int, max_value: int, **kwargs: Any) -> None:
        self.min_value, self.max_value = min_value, max_value
        super().__init__(**kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"inputmode": "numeric", "autocomplete": "off"}

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        text = str(value)
        if not self.pattern.fullmatch(text):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        # Twenty digits are more than any bigint; int() would refuse thousands of them its own way.
        if len(text) > 20 or not self.min_value <= int(text) <= self.max_value:
            raise ValidationError(
                f"Enter a number from {self.min_value:,} to {self.max_value:,}.",
                code="out_of_range",
            )
        return int(text)


class SignedAsciiIntegerField(AsciiIntegerField):
    """The same, with a leading ``-`` allowed before a number that is not zero."""

    pattern = re.compile(r"0|-?[1-9][0-9]*")

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"autocomplete": "off"}


class TextField(forms.CharField):
    """Text on one line, as it is stored: in NFC, with nothing that hides or reorders."""

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        self.longest = max_length
        super().__init__(max_length=max_length, strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        try:
            return clean_text(one_line(super().to_python(value) or ""), self.longest)
        except InvalidRequest as refusal:
            raise ValidationError(str(refusal), code="invalid") from refusal


class ReasonField(TextField):
    """Why: 10 to 500 characters for whoever reads the record later."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_length=10,
            max_length=500,
            help_text="Why, in 10 to 500 characters. It is kept with the record.",
            **kwargs,
        )

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {**super().widget_attrs(widget), "rows": 3}
