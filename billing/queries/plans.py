"""The plan that a wallet is on: by a subscription, or by a tier without one."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from billing.choices import OfferKind, SubscriptionStatus
from billing.errors import PlanNotFound
from billing.models import Offer, OfferPrice, OfferVersion, Subscription, Tier
from billing.queries.subscriptions import PRICES, has_slices, price_of
from billing.queries.tiers import tier_of
from ledger.models import Wallet
from ledger.periods import day_begins, months_after
from ledger.queries.settings import settings_at

if TYPE_CHECKING:
    from accounts.models import User

# While one is so, what it pays for takes the place of a tier.
BRINGS_CREDITS = [
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.PAST_DUE,
]


@dataclass(frozen=True, slots=True)
class PlanOn:
    """
    The plan that a wallet is on, and why.

    ``version`` is of the plan that counts now: that of the subscription, and else of the tier.
    """

    subscription: Subscription | None = None
    tier: Tier | None = None

    @property
    def version(self) -> OfferVersion | None:
        if self.subscription and self.subscription.price:
            return self.subscription.price.version
        return self.tier.version if self.tier else None

    @property
    def code(self) -> str | None:
        """The code of the plan."""
        return self.version.offer.code if self.version else None

    @property
    def features(self) -> list[str]:
        return list(self.version.features) if self.version else []

    @property
    def status(self) -> str | None:
        """How the subscription stands, in Stripe's words."""
        return self.subscription.status if self.subscription else None

    @property
    def next_billing_date(self) -> date | None:
        """The day, in UTC, on which the subscription is paid for again."""
        if self.subscription is None or self.subscription.cancels_at is not None:
            return None
        end = self.subscription.period_end
        return end.date() if end else None


def plan_of(wallet: Wallet | int) -> PlanOn:
    """Return the plan that a wallet is on, in two queries."""
    return PlanOn(paid_subscription_of(wallet), tier_of(wallet))


def paid_subscription_of(wallet: Wallet | int) -> Subscription | None:
    """Return the subscription that brings credits to a wallet."""
    rows = Subscription.objects.filter(wallet=wallet, status__in=BRINGS_CREDITS)
    return rows.select_related(*PRICES).order_by("-pk").first()


def features_of(user: "User") -> list[str]:
    """Return what the plan of a user's own wallet opens in the platform, as labels."""
    wallet = Wallet.objects.filter(user=user).first()
    return plan_of(wallet).features if wallet else []


def why_superseded(wallet_id: int, period: date, at: datetime) -> str:
    """Say why a wallet gets nothing by its tier for a month that falls due at ``at``, if so."""
    running = Subscription.objects.filter(
        wallet=wallet_id, status__in=BRINGS_CREDITS, created_at__lte=at
    )
    if running.exists():
        return "its subscription brings credits instead"
    zone = settings_at(at).time_zone
    begins, ends = day_begins(period, zone), day_begins(months_after(period, 1), zone)
    return "a subscription paid for some" if has_slices(wallet_id, begins, ends) else ""


def plan_price(
    *, plan: str, interval: str, currency: str, at: datetime, current: OfferPrice | None = None
) -> OfferPrice:
    """
    Return what the plan of that code costs; for who pays ``current`` for it already, that.

    :raises PlanNotFound: there is no such plan.
    :raises NotForSale: it is not sold any more.
    :raises UnknownCurrency: it has no price for that interval in the currency.
    """
    if current and (current.version.offer.code, current.interval) == (plan, interval):
        return current
    offer = Offer.objects.filter(code=plan, kind=OfferKind.PLAN).first()
    if offer is None:
        raise PlanNotFound
    return price_of(offer, interval, currency, at)
