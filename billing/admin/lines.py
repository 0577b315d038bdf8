"""Fields that take several lines: labels, and money in several currencies."""

from collections.abc import Iterable
from decimal import Decimal

from django import forms

from creditsite.errors import InvalidRequest
from creditsite.money import format_money, in_units, is_currency, parse_money
from creditsite.text import refuse_hidden


class LinesField(forms.CharField):
    """Text of several lines, exactly as it was sent; ``lines_of`` reads it."""

    widget = forms.Textarea

    def __init__(self, *, rows: int = 4, max_length: int = 4_000, **kwargs: object) -> None:
        super().__init__(max_length=max_length, strip=False, **kwargs)  # type: ignore[arg-type]
        self.widget.attrs["rows"] = rows

    def to_python(self, value: object) -> str:
        text = str(super().to_python(value) or "")
        try:
            refuse_hidden(text, allowed="\r\n")
        except InvalidRequest as refusal:
            raise forms.ValidationError(str(refusal), code="invalid") from refusal
        return text


def lines_of(text: str) -> list[str]:
    """Return the lines that say something, without outer space."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def money_lines(text: str) -> list[tuple[str, list[int]]]:
    """
    Return the currency and the amounts, in its minor units, that each line names: "USD 19.99".

    :raises InvalidRequest: it says which line is none.
    """
    found = []
    for number, line in enumerate(lines_of(text), 1):
        currency, *amounts = line.split(" ")
        currency = currency.lower()
        if not is_currency(currency):
            raise InvalidRequest(f"Line {number} does not begin with a currency of ISO 4217.")
        try:
            found.append((currency, [parse_money(amount, currency) for amount in amounts]))
        except InvalidRequest as refusal:
            raise InvalidRequest(f"Line {number}: {refusal}") from refusal
    return found


def money_text(rows: Iterable[tuple[str, list[int]]]) -> str:
    """Return what ``money_lines`` reads."""
    return "\n".join(
        " ".join([currency.upper(), *(f"{in_units(amount, currency):f}" for amount in amounts)])
        for currency, amounts in rows
    )


def price_text(amount_minor: int, currency: str, interval: str = "") -> str:
    """Return a price as people read it: "19.99 USD a month"."""
    return f"{format_money(amount_minor, currency)}{f' a {interval}' if interval else ''}"


def rate_text(rate: Decimal, currency: str) -> str:
    """Return the price of a credit, with two decimals or as many as it has."""
    return f"{number_text(rate)} {currency.upper()}"


def number_text(rate: Decimal) -> str:
    exact = rate.normalize()
    return f"{exact:,f}" if exact.as_tuple().exponent < -2 else f"{exact:,.2f}"  # type: ignore[operator]
