import pytest

from creditsite.errors import InvalidRequest
from creditsite.money import format_money, is_currency, parse_money


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


class TestParseMoney:
    @pytest.mark.parametrize(
        ("text", "currency", "minor"),
        [("19.99", "usd", 1999), ("5", "eur", 500), ("5.1000", "usd", 510), ("1.234", "kwd", 1234)],
    )
    def test_reads_plain_decimals(self, text, currency, minor):
        assert parse_money(text, currency) == minor

    @pytest.mark.parametrize(
        "text", ["", "-1", "+1", "1e3", "1,000", ".5", "5.", "１", "1_0", "0.001", "9" * 16]
    )
    def test_refuses_what_is_no_amount_of_the_currency(self, text):
        with pytest.raises(InvalidRequest):
            parse_money(text, "usd")


class TestIsCurrency:
    def test_knows_codes_in_lower_case(self):
        assert [code for code in ("usd", "zar", "jpy", "USD", "xyz", "") if is_currency(code)] == [
            "usd",
            "zar",
            "jpy",
        ]
