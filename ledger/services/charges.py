"""What using features costs: quantities at the prices in force, rounded up once for each charge."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from creditsite.errors import InvalidRequest
from ledger import keys
from ledger.choices import CreditType
from ledger.errors import InvalidAmount, UnknownFeature
from ledger.models import CreditTransaction, Feature, FeaturePrice, Hold
from ledger.services.posting import LARGEST_AMOUNT

# A price list is at most this old, so a new price starts a minute ahead (``features.add_price``).
PRICES_LIVE_SECONDS = 5
# Of the codes of a charge, joined: as much as the books keep.
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Price:
    """One version of one feature's price."""

    id: int
    valid_from: datetime
    unit_price: Decimal
    per: int
    is_flat: bool

    def of(self, units: int, parts: int) -> tuple[int, int]:
        """Return the credits that ``units / parts`` units cost, as an exact fraction."""
        credits, over = self.unit_price.as_integer_ratio()
        if self.is_flat:
            return credits, over
        return credits * units, over * parts * self.per


@dataclass(slots=True)
class PricedFeature:
    """A feature and the versions of its price, the earliest first."""

    code: str
    is_active: bool
    requires_purchased: bool
    prices: list[Price] = field(default_factory=list)

    def price_at(self, at: datetime) -> Price | None:
        index = bisect_right(self.prices, at, key=lambda price: price.valid_from)
        return self.prices[index - 1] if index else None


class Charge(NamedTuple):
    """
    What is to be taken, in whole credits, and why that much.

    ``asked`` is what the request said, for its fingerprint: a retry is the same request even if a
    price changed in between. ``withdrawn`` is a feature of it that is sold no longer: only a
    repeat of what was charged before may pass.
    """

    amount: int
    asked: tuple[object, ...]
    feature: str = ""
    price_ids: Sequence[int] | None = None
    quantities: Sequence[Decimal] | None = None
    types: Sequence[CreditType] | None = None
    withdrawn: str | None = None

    def fingerprint(self, act: str, *parts: object) -> UUID:
        return keys.fingerprint(act, self.asked, *parts)


class PriceList:
    """The prices of all features, read again when older than ``PRICES_LIVE_SECONDS``."""

    def __init__(self) -> None:
        self._features: dict[str, PricedFeature] = {}
        self._read_at = -math.inf

    def features(self) -> dict[str, PricedFeature]:
        if monotonic() - self._read_at > PRICES_LIVE_SECONDS:
            self._features = self._read()
            self._read_at = monotonic()
        return self._features

    def forget(self) -> None:
        """Read the prices again when they are next asked for."""
        self._read_at = -math.inf

    def _read(self) -> dict[str, PricedFeature]:
        features = {
            f.pk: PricedFeature(f.code, f.is_active, f.requires_purchased)
            for f in Feature.objects.all()
        }
        for p in FeaturePrice.objects.order_by("feature", "valid_from"):
            features[p.feature_id].prices.append(
                Price(p.pk, p.valid_from, p.unit_price, p.per, p.is_flat)
            )
        return {feature.code: feature for feature in features.values()}


price_list = PriceList()


def charge_of(amount: int) -> Charge:
    """
    Return the charge of a plain number of credits.

    :raises InvalidAmount: it is not between 1 and 1,000,000,000.
    """
    if not 1 <= amount <= LARGEST_AMOUNT:
        raise InvalidAmount(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    return Charge(amount=amount, asked=("amount", amount))


def charge_for(quantities: Mapping[str, Decimal], *, at: datetime) -> Charge:
    """
    Return the charge for quantities of one or more features at the prices in force at ``at``.

    The exact sum is rounded up once. If any of the features takes purchased credits only, the
    charge does. A feature that is not active makes a charge that ``refuse_withdrawn`` refuses.

    :raises InvalidRequest: the codes are too long together to be booked as one charge.
    :raises UnknownFeature: a code names no feature, or one that had no price then.
    :raises InvalidAmount: the sum is not between 1 and 1,000,000,000 credits, or a quantity is
        below zero or finer than a millionth.
    """
    features = price_list.features()
    codes = sorted(quantities)
    name = "+".join(codes)
    if len(name) > LONGEST_NAME:
        raise InvalidRequest(f"The codes of one charge have {LONGEST_NAME} characters at the most.")
    prices: list[Price] = []
    for code in codes:
        feature = features.get(code)
        price = feature.price_at(at) if feature else None
        if price is None:
            raise UnknownFeature(f"There is no feature {code!r} with a price at that time.")
        prices.append(price)
    # Whole numbers throughout: a third of a credit is no Decimal, and three of them are one credit.
    credits, over = 0, 1
    for code, price in zip(codes, prices, strict=True):
        units, parts = quantities[code].as_integer_ratio()
        if units < 0 or 1_000_000 % parts:
            raise InvalidAmount("A quantity is zero or more, with at most six decimals.")
        part, part_over = price.of(units, parts)
        credits, over = credits * part_over + part * over, over * part_over
    purchased_only = any(features[code].requires_purchased for code in codes)
    return Charge(
        amount=charge_of(-(-credits // over)).amount,
        asked=("features", [(code, f"{quantities[code].normalize():f}") for code in codes]),
        feature=name,
        price_ids=[price.id for price in prices],
        quantities=[quantities[code] for code in codes],
        types=[CreditType.PURCHASE] if purchased_only else None,
        withdrawn=next((code for code in codes if not features[code].is_active), None),
    )


def refuse_withdrawn(charge: Charge, key: UUID | None = None) -> None:
    """
    Refuse a charge for a feature that is sold no longer, unless ``key`` has charged it before.

    :raises UnknownFeature: it is new.
    """
    if charge.withdrawn is None:
        return
    if key is None or not (
        CreditTransaction.objects.filter(key=key).exists() or Hold.objects.filter(key=key).exists()
    ):
        raise UnknownFeature(f"The feature {charge.withdrawn!r} is sold no longer.")
