"""Subscriptions: who has which, what they cost, and what is paid for and not given yet."""

from datetime import date, datetime
from typing import NamedTuple

from django.db import connection
from django.db.models import F, Q, QuerySet, Sum

from accounts.models import User
from billing.choices import SliceStatus, SubscriptionStatus
from billing.errors import NotForSale, UnknownCurrency
from billing.models import Offer, OfferPrice, Payment, PromisedMoney, Slice, Subscription
from billing.models.subscriptions import ON_GOING
from billing.queries.offers import newest_version
from billing.queries.rates import base_currency
from ledger.models import Wallet

PRICES = ("price__version__offer", "next_price__version__offer")


def on_going(wallet: Wallet | int) -> QuerySet[Subscription]:
    """Return the subscriptions of a wallet that have begun at Stripe and have not ended."""
    found = Subscription.objects.filter(wallet=wallet, status__in=ON_GOING)
    return found.exclude(status=SubscriptionStatus.OPEN)


def subscription_of(wallet: Wallet | int) -> Subscription | None:
    """Return the subscription of a wallet, the newest if there are several."""
    return on_going(wallet).select_related(*PRICES).order_by("-created_at", "-pk").first()


def is_subscriber(user: User) -> bool:
    """Return whether ``user`` has a subscription that is paid for; no other has its discount."""
    return Subscription.objects.filter(user=user, status=SubscriptionStatus.ACTIVE).exists()


def price_of(plan: Offer, interval: str, currency: str, at: datetime) -> OfferPrice:
    """
    Return what the plan costs as it is sold now.

    :param currency: in lower case; empty for that of the settings, or a plan's only one.
    :raises NotForSale: it is not sold any more.
    :raises UnknownCurrency: it has no price for that interval in the currency.
    """
    if not plan.is_active:
        raise NotForSale(plan.code)
    all_prices = newest_version(plan).prices.select_related("version__offer")
    prices = {price.currency: price for price in all_prices if price.interval == interval}
    wanted = currency or base_currency(at)
    if not currency and wanted not in prices and len(prices) == 1:
        (wanted,) = prices
    if wanted not in prices:
        raise UnknownCurrency(wanted)
    return prices[wanted]


def has_slices(wallet: Wallet | int, start: datetime, end: datetime) -> bool:
    """Return whether a month that is paid for begins in ``[start, end)``."""
    slices = Slice.objects.filter(wallet=wallet, starts_at__gte=start, starts_at__lt=end)
    return slices.filter(voided__lt=F("credits")).exists()


class Promised(NamedTuple):
    """
    What of a payment is not in any grant: credits of its months to come, and their money.

    The first two are in all; ``void`` and ``returned_minor`` are what of it went back.
    """

    credits: int
    minor: int
    void: int
    returned_minor: int

    @property
    def open_credits(self) -> int:
        return self.credits - self.void

    @property
    def open_minor(self) -> int:
        return self.minor - self.returned_minor


def promised_of(payment: Payment) -> Promised:
    """Return what is paid for and not yet allotted."""
    slices = Slice.objects.filter(payment=payment).exclude(status=SliceStatus.POSTED)
    found = slices.aggregate(credits=Sum("credits", default=0), void=Sum("voided", default=0))
    moved = PromisedMoney.objects.filter(payment=payment).aggregate(
        open=Sum("amount_minor", default=0),
        returned=Sum("amount_minor", default=0, filter=Q(move="returned")),
    )
    returned = -moved["returned"]
    return Promised(found["credits"], moved["open"] + returned, found["void"], returned)


# Days of business are a day of their zone; a function tells them exactly where that matters.
UNALLOTTED = """
    SELECT currency, sum(amount_minor)::bigint FROM billing_promisedmoney
    WHERE at < %(last)s::date - 2 OR at < %(last)s::date + 3 AND ledger_business_day(at) <= %(last)s
    GROUP BY currency HAVING sum(amount_minor) <> 0
"""


def unallotted_at(last: date, at: datetime) -> dict[str, int]:
    """Return what was paid and not yet allotted when that day of business ended, by currency."""
    with connection.cursor() as cursor:
        cursor.execute(UNALLOTTED, {"last": last})
        return dict(cursor.fetchall())
