"""Tiers: who is on which, and which of their months have fallen due."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from billing.choices import OfferKind
from billing.errors import NotForSale, PlanNotFound
from billing.models import Offer, OfferVersion, Tier
from billing.queries.offers import newest_version
from ledger.models import CreditSettings, Wallet
from ledger.periods import falls_due, months_after, period_of
from ledger.queries.awards import settings_since
from ledger.queries.settings import settings_at

# What was not allotted within so many months is not made up for any more.
CAUGHT_UP = 12


class Fallen(NamedTuple):
    """A month that has fallen due, and when it did."""

    period: date
    at: datetime


def tier_of(wallet: Wallet | int) -> Tier | None:
    """Return the tier that a wallet is on."""
    return Tier.objects.filter(wallet=wallet, ends_at=None).select_related("version__offer").first()


def latest_tier_of(wallet: Wallet) -> Tier | None:
    """Return the tier that a wallet is on, or was on last."""
    rows = Tier.objects.filter(wallet=wallet).select_related("version__offer")
    return rows.order_by("pk").last()


def plan_version(code: str) -> OfferVersion:
    """
    Return the version of the plan ``code`` that is sold.

    :raises PlanNotFound: there is no such plan.
    :raises NotForSale: it is not sold any more.
    """
    plan = Offer.objects.filter(code=code, kind=OfferKind.PLAN).first()
    if plan is None:
        raise PlanNotFound
    if not plan.is_active:
        raise NotForSale(code)
    return newest_version(plan)


def fallen_due(at: datetime) -> list[Fallen]:
    """Return the last twelve months that have fallen due at ``at``, the oldest first."""
    this = period_of(at, "UTC")
    versions = _versions(months_after(this, -CAUGHT_UP - 1), at)
    months = (months_after(this, number) for number in range(-CAUGHT_UP, 2))
    due = (Fallen(month, falls_due(month, versions).at) for month in months)
    return [each for each in due if each.at <= at][-CAUGHT_UP:]


def due_after(period: date, at: datetime) -> datetime:
    """Return when the month after ``period`` falls due, by the settings as they are at ``at``."""
    terms = settings_at(at)
    return falls_due(months_after(period, 1), [terms]).at


def next_due_of(tier: Tier, at: datetime) -> datetime:
    """Return when ``tier`` is allotted next after ``at``, unless it is by hand before."""
    versions = _versions(period_of(at, "UTC"), at)
    first = max(at, tier.starts_at)
    taken = set(
        tier.wallet.tier_allotments.filter(
            period__gte=months_after(period_of(at, "UTC"), -1)
        ).values_list("period", flat=True)
    )
    for number in range(-1, 4):
        month = months_after(period_of(at, "UTC"), number)
        due = falls_due(month, versions).at
        if due > first and month not in taken:
            return due
    raise AssertionError("one of the next months falls due")


def _versions(since: date, at: datetime) -> list[CreditSettings]:
    begins = datetime.combine(since, time(), tzinfo=UTC)
    return settings_since(begins - timedelta(days=62), at)
