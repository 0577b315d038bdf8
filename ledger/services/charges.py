"""What using features costs: quantities at the prices in force, rounded up once for each charge."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from time import monotonic
from uuid import UUID

from ledger import keys
from ledger.choices import CreditType
from ledger.errors import InvalidAmount, UnknownFeature
from ledger.models import Feature, FeaturePrice
from ledger.services.posting import LARGEST_AMOUNT

# A price list is at most this old, so a new price starts a minute ahead (``features.add_price``).
PRICES_LIVE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Price:
    """One version of one feature's price."""

    id: int
    valid_from: datetime
    unit_price: Decimal
    per: int
    is_flat: bool

    def of(self, quantity: Decimal) -> Decimal:
        """Return the credits, exact and not rounded, that ``quantity`` units cost."""
        return self.unit_price if self.is_flat else self.unit_price * quantity / self.per


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """
    What is to be taken, in whole credits, and why that much.

    ``asked`` is what the request said, for its fingerprint: a retry is the same request even if a
    price changed in between.
    """

    amount: int
    asked: tuple[object, ...]
    feature: str = ""
    price_ids: Sequence[int] | None = None
    quantities: Sequence[Decimal] | None = None
    types: Sequence[CreditType] | None = None

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
            f.pk: PricedFeature(f.code, f.is_active, f.requires_purchased) for f in Feature.objects.all()
        }
        for p in FeaturePrice.objects.order_by("feature", "valid_from"):
            features[p.feature_id].prices.append(Price(p.pk, p.valid_from, p.unit_price, p.per, p.is_flat))
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
    charge does.

    :raises UnknownFeature: a code names no active feature, or one that had no price then.
    :raises InvalidAmount: the sum is not between 1 and 1,000,000,000 credits.
    """
    features = price_list.features()
    codes = sorted(quantities)
    prices: list[Price] = []
    for code in codes:
        feature = features.get(code)
        price = feature.price_at(at) if feature and feature.is_active else None
        if price is None:
            raise UnknownFeature(f"There is no feature {code!r} with a price at that time.")
        prices.append(price)
    exact = sum((price.of(quantities[code]) for code, price in zip(codes, prices, strict=True)), Decimal(0))
    purchased_only = any(features[code].requires_purchased for code in codes)
    return Charge(
        amount=charge_of(math.ceil(exact)).amount,
        asked=("features", [(code, f"{quantities[code].normalize():f}") for code in codes]),
        feature="+".join(codes),
        price_ids=[price.id for price in prices],
        quantities=[quantities[code] for code in codes],
        types=[CreditType.PURCHASE] if purchased_only else None,
    )
