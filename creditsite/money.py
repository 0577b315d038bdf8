"""Money: integer minor units and an ISO 4217 currency. Never a float."""

import re
from decimal import Decimal
from functools import cache

from creditsite.errors import InvalidRequest

# Those of ISO 4217 that money is paid in, without funds, metals and test codes.
CURRENCIES = (
    "aed afn all amd aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn"
    " bzd cad cdf chf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel"
    " ghs gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf"
    " kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn"
    " myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd"
    " scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd twd tzs uah"
    " ugx usd uyu uzs ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg"
)
WITHOUT_MINOR_UNITS = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
WITH_THREE_DIGITS = "bhd jod kwd omr tnd"


@cache
def is_currency(code: str) -> bool:
    """Return whether ``code`` (in lower case) is a currency of ISO 4217."""
    return code in CURRENCIES.split()


@cache
def digits_of(currency: str) -> int:
    """Return how many digits the minor units of ``currency`` (in lower case) have."""
    if currency in WITHOUT_MINOR_UNITS.split():
        return 0
    return 3 if currency in WITH_THREE_DIGITS.split() else 2


def in_units(minor: int, currency: str) -> Decimal:
    """Return ``minor`` units of ``currency`` as units of it, exactly."""
    return Decimal(minor).scaleb(-digits_of(currency.lower()))


def format_money(minor: int, currency: str) -> str:
    """Return ``minor`` units of ``currency`` as people write it, such as "1,999.00 USD"."""
    return f"{in_units(minor, currency):,} {currency.upper()}"


def parse_money(text: str, currency: str) -> int:
    """
    Return the minor units that ``text`` says, a plain decimal of ``currency`` such as "1999.50".

    :raises InvalidRequest: it is none, or says more than the currency's smallest coin can.
    """
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text):
        raise InvalidRequest("It is not an amount of money such as 1999.50.")
    minor = Decimal(text).scaleb(digits_of(currency))
    if minor != int(minor):
        raise InvalidRequest(f"{currency.upper()} has {digits_of(currency)} decimal places.")
    return int(minor)
