"""
What subscribers are told by e-mail: what became of their subscription, and that it will renew.

Each thing is told once: a notice is kept with it, in the transaction that writes the e-mail.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse

from accounts.services.notices import tell
from billing.choices import Interval, SubscriptionStatus
from billing.choices import SubscriptionEffectKind as Became
from billing.models import OfferPrice, PlanNotice, Subscription, SubscriptionEffect
from billing.queries.subscriptions import PRICES
from creditsite.links import site_link
from creditsite.money import format_money
from ledger.queries.settings import settings_at

# What nobody was told of for so long is told no more.
TOLD_WITHIN = timedelta(days=3)
CHUNK = 200


def words_of(effect: SubscriptionEffect) -> tuple[str, list[str]] | None:
    """Return subject and lines of what became of a subscription; ``None``: nobody is told."""
    subscription, price = effect.subscription, effect.price or effect.subscription.price
    name = price.version.name if price else "your plan"
    until = day(subscription.cancels_at or subscription.period_end)
    said: dict[str, tuple[str, list[str]]] = {
        Became.BEGUN: (
            f"You are subscribed to {name}",
            [f"Thank you. {credits_of(price)}", "It renews by itself until you cancel it."],
        ),
        Became.CHANGED: (f"You are on {name} now", [credits_of(price)]),
        Became.WILL_CHANGE: (
            f"Your plan changes to {name}",
            [f"It does so on {day(subscription.period_end)}. Until then all stays as it is."],
        ),
        Became.CANCELLED: (
            "Your subscription is cancelled",
            [
                f"You have {name} until {until}, and pay nothing more.",
                "You can take that back until then.",
            ],
        ),
        Became.KEPT: ("Your subscription goes on", [f"You stay on {name}, as before."]),
        Became.PAST_DUE: (
            "Your payment did not go through",
            [
                f"We could not collect the payment for {name}. Please check your card: we will try"
                " again in a few days.",
                "Credits that you have stay yours; new ones come once it is paid.",
            ],
        ),
        Became.UNPAID: (
            "Your subscription is not paid",
            [f"We could not collect the payment for {name}, and will not try again by ourselves."],
        ),
        Became.ENDED: (
            "Your subscription has ended",
            [f"You are no longer on {name}, and pay nothing more."],
        ),
    }
    return said.get(effect.effect)


def credits_of(price: OfferPrice | None) -> str:
    return f"It brings {price.version.credits:,} credits every month." if price else ""


def day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "the end of the period"


# --- What has happened ----------------------------------------------------------------------------
def tell_effects(*, at: datetime) -> int:
    """Write of what became of subscriptions and was not told yet; return how many were told."""
    told = SubscriptionEffect.objects.filter(at__gt=at - TOLD_WITHIN, notice=None)
    return sum(_tell_effect(pk, at) for pk in _each(told))


def _each(rows: QuerySet) -> Iterator[int]:
    """Yield the ids of ``rows``, each once, whatever becomes of them meanwhile."""
    last = 0
    while ids := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        last = ids[-1]
        yield from ids


def _tell_effect(effect_id: int, at: datetime) -> bool:
    related = [f"subscription__{name}" for name in PRICES]
    rows = SubscriptionEffect.objects.select_related(
        "subscription__user", "price__version__offer", *related
    )
    effect = rows.get(pk=effect_id)

    def write() -> bool:
        words = words_of(effect)
        if words is None:
            return False
        subject, lines = words
        return _write(effect.subscription, subject, lines)

    return _once(write, at, subscription=effect.subscription, effect=effect)


@transaction.atomic
def _once(write: Callable[[], bool], at: datetime, **thing: Any) -> bool:
    """Keep that ``thing`` was told, and write; nothing if somebody else has done so."""
    _, is_new = PlanNotice.objects.get_or_create(**thing, defaults={"told_at": at})
    return is_new and write()


# --- What will happen -----------------------------------------------------------------------------
def remind_of_renewals(*, at: datetime) -> int:
    """Write to whose subscription renews within the days of the settings; return how many."""
    days = settings_at(at).renewal_reminder_days
    if not days:
        return 0
    kept = PlanNotice.objects.filter(subscription=OuterRef("pk"), renews_at=OuterRef("period_end"))
    renewing = Subscription.objects.filter(
        ~Exists(kept),
        status=SubscriptionStatus.ACTIVE,
        cancels_at=None,
        period_end__gt=at,
        period_end__lte=at + timedelta(days=days),
    )
    return sum(_remind(pk, at) for pk in _each(renewing))


def _remind(subscription_id: int, at: datetime) -> bool:
    subscription = Subscription.objects.select_related("user", *PRICES).get(pk=subscription_id)
    price = subscription.next_price or subscription.price
    end = subscription.period_end
    if price is None or end is None or end <= at:
        return False

    def write() -> bool:
        return _write(
            subscription,
            f"Your subscription renews on {day(end)}",
            [
                f"{price.version.name} costs {format_money(price.amount_minor, price.currency)} for"
                f" a {Interval(price.interval).label.lower()}, before tax. It is paid by the card"
                " that you have left with us.",
                credits_of(price),
                f"If you do not want it any more, cancel before {day(end)}.",
            ],
        )

    return _once(write, at, subscription=subscription, renews_at=end)


def _write(subscription: Subscription, subject: str, lines: list[str]) -> bool:
    """Write to who subscribed, if they are still with us."""
    user = subscription.user
    if user is None or not user.is_active:
        return False
    tell(
        [user],
        subject=subject,
        lines=[line for line in lines if line],
        link=site_link(reverse("billing_plans")),
        link_text="Your plan, your card and invoices",
    )
    return True
