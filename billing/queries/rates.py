"""What credits cost by number: the price of one by currency, and the discounts."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing import quotes
from billing.errors import UnknownCurrency
from billing.models import CreditRate, Discounts
from billing.quotes import Tier
from ledger.queries.settings import settings_at

VOLUME = [
    {"from": 1_000, "basis_points": 500},
    {"from": 5_000, "basis_points": 1_000},
    {"from": 10_000, "basis_points": 1_500},
]
SUBSCRIBERS = 1_000


class Rate(NamedTuple):
    """The price of credits in a currency, as it is for everybody."""

    currency: str
    unit_price: Decimal
    tiers: list[Tier]
    subscriber_basis_points: int

    def price_from(self, tier: Tier) -> Decimal:
        """Return the price of a credit in ``tier``."""
        return quotes.rate_at(self.unit_price, tier.basis_points)


def base_currency(at: datetime) -> str:
    """Return the currency of the settings, in lower case."""
    return settings_at(at).currency.lower()


def prices_at(at: datetime) -> dict[str, Decimal]:
    """Return the price of a credit by currency, that of the settings first."""
    settings = settings_at(at)
    base = settings.currency.lower()
    changes = CreditRate.objects.filter(changed_at__lte=at).order_by(
        "currency", "-changed_at", "-pk"
    )
    further = {
        each.currency: each.price_per_credit
        for each in changes.distinct("currency")
        if each.price_per_credit is not None and each.currency != base
    }
    # At zero nothing is sold: whoever wants to give credits away has awards.
    own = {base: settings.price_per_credit} if settings.price_per_credit else {}
    return own | further


def discounts_at(at: datetime) -> Discounts:
    """Return the version that counts at ``at``; the usual ones where there is none yet."""
    versions = Discounts.objects.filter(changed_at__lte=at)
    return versions.order_by("-changed_at", "-pk").first() or usual_discounts()


def usual_discounts() -> Discounts:
    """Return what counts until somebody changes it."""
    return Discounts(volume=VOLUME, subscriber_basis_points=SUBSCRIBERS)


def tiers_of(discounts: Discounts) -> list[Tier]:
    return [Tier(tier["from"], tier["basis_points"]) for tier in discounts.volume]


def rate_in(currency: str, at: datetime) -> Rate:
    """
    Return what credits cost in ``currency``, in that of the settings if it is empty.

    :raises UnknownCurrency: they are not sold in it.
    """
    prices = prices_at(at)
    currency = currency or base_currency(at)
    if currency not in prices:
        raise UnknownCurrency(currency)
    discounts = discounts_at(at)
    return Rate(currency, prices[currency], tiers_of(discounts), discounts.subscriber_basis_points)
