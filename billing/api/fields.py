"""Fields of documents about what is sold."""

from creditsite.apikit.fields import StrictChar


class CurrencyField(StrictChar):
    def __init__(self, left_out: str = "that of the settings") -> None:
        help_text = f"By ISO 4217, in lower case; {left_out} if left out."
        super().__init__(max_length=3, required=False, help_text=help_text)


def money(amount_minor: int, currency: str) -> dict[str, object]:
    return {"amount_minor": amount_minor, "currency": currency}
