"""The catalogue as data: a file that names offers and rates, and what of it is missing here."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from billing.choices import OfferKind
from billing.errors import InvalidOffer
from billing.models import CreditRate, Offer
from billing.queries.rates import base_currency
from billing.services.offers import Price, Terms, create_offer
from billing.services.rates import set_rate
from creditsite.apikit.parsing import parse_object
from creditsite.errors import CreditsiteError
from creditsite.money import parse_money

CATALOGUE = Path(__file__).resolve().parent.parent / "data" / "catalogue.json"
# Room between two for others.
STEP = 10


@transaction.atomic
def load_catalogue(*, path: Path, at: datetime, reason: str) -> list[str]:
    """
    Make the offers and rates of the file at ``path`` that are missing, and return their names.

    What is there already, whatever it says by now, is left as it is. All or nothing.

    :raises InvalidOffer: the file is not a catalogue, or something in it could not be so.
    """
    file = _read(path)
    made = []
    for position, row in enumerate(file["offers"], 1):
        if Offer.objects.filter(code=row.get("code")).exists():
            continue
        with _named(row.get("code")):
            create_offer(
                code=row["code"],
                kind=OfferKind(row["kind"]),
                position=position * STEP,
                terms=_terms(row),
                actor=None,
                at=at,
                reason=reason,
            )
        made.append(row["code"])
    for row in file["rates"]:
        with _named(row.get("currency")):
            currency = row["currency"]
            known = CreditRate.objects.filter(currency=currency).exists()
            if known or currency == base_currency(at):
                continue
            price = Decimal(row["price_per_credit"])
            set_rate(currency=currency, price_per_credit=price, actor=None, at=at, reason=reason)
            made.append(f"{currency.upper()} rate")
    return made


def _read(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    try:
        file = parse_object(path.read_bytes())
    except OSError as missing:
        raise InvalidOffer(f"{path} cannot be read: {missing.strerror}.") from missing
    except CreditsiteError as wrong:
        raise InvalidOffer(f"{path}: {wrong}") from wrong
    parts = {name: file.get(name, []) for name in ("offers", "rates")}
    is_catalogue = file.keys() <= parts.keys() and all(
        isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
        for rows in parts.values()
    )
    if not is_catalogue:
        raise InvalidOffer(f"{path}: a catalogue is lists of offers and of rates.")
    return parts


def _terms(row: Mapping[str, Any]) -> Terms:
    if not isinstance(row["features"], list):
        raise InvalidOffer("features is a list of labels.")
    return Terms(
        name=row["name"],
        credits=row["credits"],
        features=row["features"],
        rollover_cap=row.get("rollover_cap"),
        prices=[
            Price(
                each["currency"],
                each.get("interval", ""),
                parse_money(each["amount"], each["currency"]),
            )
            for each in row["prices"]
        ],
    )


@contextmanager
def _named(name: object) -> Iterator[None]:
    """Say which row of the file was refused."""
    try:
        yield
    except KeyError as missing:
        raise InvalidOffer(f"{name}: {missing.args[0]} is missing.") from missing
    except ValidationError as wrong:
        raise InvalidOffer(f"{name}: {' '.join(wrong.messages)}") from wrong
    except (CreditsiteError, ValueError, TypeError, ArithmeticError, AttributeError) as wrong:
        raise InvalidOffer(f"{name}: {wrong}") from wrong
