"""What is sold: offers with their newest versions and all prices of those."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from billing import quotes
from billing.models import Offer, OfferPrice, OfferVersion
from creditsite.money import in_units


class Sold(NamedTuple):
    """An offer as it is sold now."""

    offer: Offer
    version: OfferVersion
    prices: list[OfferPrice]


def sold(offers: Iterable[Offer] | None = None) -> list[Sold]:
    """Return these offers as they are now, all active ones if left out, in three queries."""
    if offers is None:
        offers = Offer.objects.filter(is_active=True).order_by("position", "code")
    offers = list(offers)
    newest = OfferVersion.objects.filter(offer__in=offers).order_by("offer", "-number")
    versions = newest.distinct("offer").select_related("offer", "created_by")
    by_offer = {version.offer_id: version for version in versions}
    prices: dict[int, list[OfferPrice]] = {}
    all_prices = OfferPrice.objects.filter(version__in=by_offer.values())
    for price in all_prices.order_by("currency", "interval"):
        price.version = next(v for v in by_offer.values() if v.pk == price.version_id)
        prices.setdefault(price.version_id, []).append(price)
    return [
        Sold(offer, version, prices.get(version.pk, []))
        for offer in offers
        if (version := by_offer.get(offer.pk))
    ]


def newest_version(offer: Offer) -> OfferVersion:
    """Return the version that is sold."""
    return offer.versions.order_by("-number")[0]


def effective_rate(price: OfferPrice) -> Decimal:
    """Return what a credit comes to at ``price``, in units of its currency."""
    credits = price.version.credits * price.months
    return quotes.rate_of(price.amount_minor, price.currency, credits)


def margin_of(price: OfferPrice, cost: Decimal, cost_currency: str) -> Decimal | None:
    """
    Return the part of ``price`` that is left once its credits are used, in percent, to a tenth.

    ``None`` in another currency than that of the cost: nothing is converted.
    """
    if price.currency != cost_currency.lower():
        return None
    paid = in_units(price.amount_minor, price.currency)
    costs = cost * price.version.credits * price.months
    return ((paid - costs) / paid * 100).quantize(Decimal("0.1"))
