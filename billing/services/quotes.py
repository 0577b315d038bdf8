"""What somebody is told that a purchase costs: the catalogue, rates and promotions of now."""

from datetime import datetime
from typing import NamedTuple

from accounts.models import User
from billing.choices import OfferKind
from billing.errors import (
    NotForSale,
    NothingToPay,
    OfferNotFound,
    TooCheap,
    UnknownCurrency,
)
from billing.models import Offer, OfferPrice, Promotion
from billing.queries.offers import newest_version
from billing.queries.promotions import (
    Basket,
    find_promotion,
    reduction_of,
    refuse_inapplicable,
    refuse_taken,
)
from billing.queries.rates import base_currency, rate_in
from billing.queries.subscriptions import is_subscriber
from billing.quotes import Item, Quote, quote, subtotal_of
from creditsite.errors import InvalidRequest
from ledger.errors import CreditsDisabled
from ledger.queries.settings import settings_at
from ledger.services.posting import LARGEST_AMOUNT


class Purchase(NamedTuple):
    """What would be bought: its quote, the price of its package and the promotion, if any."""

    quote: Quote
    price: OfferPrice | None
    promotion: Promotion | None


def quote_purchase(
    *,
    user: User,
    at: datetime,
    amount: int | None = None,
    package: str = "",
    currency: str = "",
    promotion_code: str = "",
) -> Purchase:
    """
    Return what ``amount`` credits, or those of the package with that code, cost ``user``.

    Nothing is reserved: at the same instant somebody else may take the promotion's last use.

    :param currency: in lower case; empty for that of the settings, or a package's only one.
    :raises InvalidRequest: neither or both of amount and package, or the code of a plan.
    :raises UnknownCurrency: it is not sold in that currency.
    :raises TooCheap: so few credits cost nothing.
    :raises OfferNotFound: there is no such package.
    :raises PromotionNotFound: there is no such code.
    :raises CreditsDisabled: credits are switched off.
    :raises NotForSale: the package is not sold any more.
    :raises PromotionRefused: the code is not for this user, time or purchase, or is used up.
    :raises NothingToPay: nothing would be left to pay.
    """
    if (amount is None) == (not package):
        raise InvalidRequest("Send either amount or package.")
    offer = find_package(package) if package else None
    if offer is not None:
        price = price_in(offer, currency, at)
        item = Item(price.version.credits, price.currency, price_minor=price.amount_minor)
        tiers, subscriber = [], 0
    else:
        price = None
        if amount is None or not 1 <= amount <= LARGEST_AMOUNT:
            raise InvalidRequest(f"One buys 1 to {LARGEST_AMOUNT:,} credits.")
        rate = rate_in(currency, at)
        item, tiers = Item(amount, rate.currency, unit_price=rate.unit_price), rate.tiers
        subscriber = rate.subscriber_basis_points if is_subscriber(user) else 0
        if not subtotal_of(item):
            raise TooCheap
    promotion = find_promotion(promotion_code) if promotion_code else None
    if not settings_at(at).credits_enabled:
        raise CreditsDisabled
    if offer is not None and not offer.is_active:
        raise NotForSale(offer.code)
    reduction = None
    if promotion is not None:
        basket = Basket(item.credits, item.currency, package)
        refuse_inapplicable(promotion, user, at, basket)
        refuse_taken(promotion, user)
        reduction = reduction_of(promotion, item.currency)
    quoted = quote(
        item,
        tiers=tiers,
        subscriber_basis_points=subscriber,
        promotion=reduction,
    )
    if not quoted.total_minor:
        raise NothingToPay
    return Purchase(quoted, price, promotion)


def find_package(code: str) -> Offer:
    """
    Return the package with this code, whether it is on sale or not.

    :raises OfferNotFound: there is none.
    :raises InvalidRequest: it is the code of a plan.
    """
    offer = Offer.objects.filter(code=code).first()
    if offer is None:
        raise OfferNotFound
    if offer.kind == OfferKind.PLAN:
        raise InvalidRequest(f"{code} is a plan: subscribe to it instead.")
    return offer


def price_in(offer: Offer, currency: str, at: datetime) -> OfferPrice:
    """
    Return the price of a package in ``currency``; empty for that of the settings, or the only one.

    :raises UnknownCurrency: it is not sold in that currency, or in several and none is named.
    """
    all_prices = newest_version(offer).prices.select_related("version")
    prices = {price.currency: price for price in all_prices}
    wanted = currency or base_currency(at)
    if not currency and wanted not in prices and len(prices) == 1:
        (wanted,) = prices
    if wanted not in prices:
        raise UnknownCurrency(wanted)
    return prices[wanted]
