import pytest

from creditsite.money import format_money


class TestFormatMoney:
    @pytest.mark.parametrize(
        ("minor", "currency", "says"),
        [
            (1999, "usd", "19.99 USD"),
            (5, "eur", "0.05 EUR"),
            (0, "ZAR", "0.00 ZAR"),
            (-1050, "usd", "-10.50 USD"),
            (1234567, "jpy", "1,234,567 JPY"),
            (1234567, "kwd", "1,234.567 KWD"),
            (2**63 - 1, "usd", "92,233,720,368,547,758.07 USD"),
        ],
    )
    def test_writes_minor_units_as_people_do(self, minor, currency, says):
        assert format_money(minor, currency) == says
