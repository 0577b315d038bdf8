"""Money: integer minor units and an ISO 4217 currency. Never a float."""

from decimal import Decimal

WITHOUT_MINOR_UNITS = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
WITH_THREE_DIGITS = "bhd jod kwd omr tnd"


def digits_of(currency: str) -> int:
    """Return how many digits the minor units of ``currency`` (in lower case) have."""
    if currency in WITHOUT_MINOR_UNITS.split():
        return 0
    return 3 if currency in WITH_THREE_DIGITS.split() else 2


def format_money(minor: int, currency: str) -> str:
    """Return ``minor`` units of ``currency`` as people write it, such as "1,999.00 USD"."""
    digits = digits_of(currency.lower())
    return f"{Decimal(minor).scaleb(-digits):,.{digits}f} {currency.upper()}"
