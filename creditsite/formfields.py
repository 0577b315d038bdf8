"""Form fields that take exactly what they say: ASCII digits, and text that hides nothing."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from creditsite.apikit.parsing import parse_object
from creditsite.errors import InvalidRequest
from creditsite.text import clean_text, one_line


class AsciiIntegerField(forms.Field):
    """
    A whole number between ``min_value`` and ``max_value`` in plain ASCII digits.

    Nothing is stripped, rounded or guessed: "7.000", "1_000", "１２", "+5" and " 5" are refused.
    ``max_value`` may be a function that says what it is at the moment.
    """

    widget = forms.TextInput
    pattern = re.compile(r"0|[1-9][0-9]*")
    default_error_messages = {"invalid": "Enter a whole number in the digits 0 to 9 only."}

    def __init__(
        self, *, min_value: int, max_value: int | Callable[[], int], **kwargs: Any
    ) -> None:
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
        highest = self.max_value() if callable(self.max_value) else self.max_value
        if len(text) > 20 or not self.min_value <= int(text) <= highest:
            raise ValidationError(
                f"Enter a number from {self.min_value:,} to {highest:,}.", code="out_of_range"
            )
        return int(text)


class SignedAsciiIntegerField(AsciiIntegerField):
    """The same, with a leading ``-`` allowed before a number that is not zero."""

    pattern = re.compile(r"0|-?[1-9][0-9]*")

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"autocomplete": "off"}


class AsciiDecimalField(forms.Field):
    """
    A number between zero and ``max_value`` in plain ASCII digits, with a point or without.

    Nothing is stripped, rounded or guessed: "1,5", ".5", "1e3", "+5" and " 5" are refused, and
    more than ``places`` digits after the point.
    """

    widget = forms.TextInput

    def __init__(self, *, max_value: Decimal, places: int, **kwargs: Any) -> None:
        self.max_value = max_value
        self.pattern = re.compile(rf"(0|[1-9][0-9]{{0,20}})(\.[0-9]{{1,{places}}})?")
        self.wrong = f"Enter a number such as 1234.5, with at most {places} digits after the point."
        super().__init__(**kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"inputmode": "decimal", "autocomplete": "off"}

    def prepare_value(self, value: Any) -> Any:
        return f"{value.normalize():f}" if isinstance(value, Decimal) else value

    def to_python(self, value: Any) -> Decimal | None:
        if value in self.empty_values:
            return None
        text = str(value)
        if not self.pattern.fullmatch(text):
            raise ValidationError(self.wrong, code="invalid")
        if Decimal(text) > self.max_value:
            raise ValidationError(
                f"Enter a number from 0 to {self.max_value:,f}.", code="out_of_range"
            )
        return Decimal(text)


class DayField(forms.DateField):
    """A day as a browser's calendar sends it, 2026-01-31, so that nobody guesses at 01/02/03."""

    widget = forms.DateInput({"type": "date"})
    pattern = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        if not self.pattern.fullmatch(str(value)):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class InstantField(forms.DateTimeField):
    """A minute in UTC as a browser's calendar sends it, 2026-01-31T09:30, or a second of it."""

    widget = forms.DateTimeInput({"type": "datetime-local"})
    pattern = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?")

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        if not self.pattern.fullmatch(str(value)):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class ObjectField(forms.ModelChoiceField):
    """One of the objects that are offered, by its key to the letter: "+5" and " 5" are not 5."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show again what could be a key and nothing else: autocomplete looks it up as one."""
        try:
            self.queryset.model._meta.pk.to_python(data)  # type: ignore[union-attr]
        except ValidationError:
            return ""
        return data

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        if found is not None and str(getattr(value, "pk", value)) != str(found.pk):
            raise ValidationError(
                self.error_messages["invalid_choice"],
                code="invalid_choice",
                params={"value": value},
            )
        return found


class JsonObjectField(forms.JSONField):
    """A JSON object that says one thing only, as ``StrictJSONParser`` reads it."""

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values or isinstance(value, dict):
            return value or None
        try:
            return parse_object(str(value).encode("utf-8", "replace"))
        except InvalidRequest as refusal:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from refusal


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
