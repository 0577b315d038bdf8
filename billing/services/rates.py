"""What credits cost by number: how its prices and discounts change, by versions."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.errors import InvalidOffer, StaleVersion
from billing.models import CreditRate, Discounts
from billing.queries.rates import base_currency, usual_discounts
from billing.quotes import WHOLE, Tier
from creditsite.errors import Conflict
from creditsite.money import is_currency
from ledger.models.settings import MOST_CREDITS

MOST_TIERS = 10
DEAREST = Decimal(1_000_000)
LOCK = int.from_bytes(b"rates", "big")


@transaction.atomic
def set_rate(
    *,
    currency: str,
    price_per_credit: Decimal | None,
    actor: User | None,
    at: datetime,
    reason: str,
) -> CreditRate:
    """
    Sell credits in ``currency`` at so much each from now on; ``None``: not any more.

    :raises NotPermitted: ``actor`` may not set rates.
    :raises InvalidOffer: there is no such currency, its price is in the settings, or the price is
        not one.
    :raises Conflict: nothing would change.
    """
    require(actor, "billing.add_creditrate")
    if not is_currency(currency):
        raise InvalidOffer(f"{currency[:3].upper()} is no currency of ISO 4217.")
    if currency == base_currency(at):
        raise InvalidOffer(f"The price in {currency.upper()} is in the settings.")
    if price_per_credit is not None and (
        not price_per_credit.is_finite()
        or not 0 < price_per_credit < DEAREST
        or price_per_credit != round(price_per_credit, 6)
    ):
        raise InvalidOffer("A price is more than nothing, with at most six decimals.")
    _alone()
    current = CreditRate.objects.filter(currency=currency).order_by("changed_at", "pk").last()
    was = current.price_per_credit if current else None
    if was == price_per_credit:
        raise Conflict("Nothing would change.")
    rate = CreditRate.objects.create(
        currency=currency,
        price_per_credit=price_per_credit,
        # A clock that goes behind another's makes no version that was never in force.
        changed_at=max(at, current.changed_at) if current else at,
        changed_by=actor,
    )
    audit.record(
        "billing.rate.set",
        actor=actor,
        target=rate,
        at=at,
        reason=reason,
        before={"currency": currency, "price_per_credit": _text(was)},
        after={"currency": currency, "price_per_credit": _text(price_per_credit)},
    )
    return rate


@transaction.atomic
def set_discounts(
    *,
    tiers: Sequence[Tier],
    subscriber_basis_points: int,
    version: int,
    actor: User | None,
    at: datetime,
    reason: str,
) -> Discounts:
    """
    Make a version of the discounts, for purchases from now on.

    :param version: the newest when the form was opened; 0: there was none.
    :raises NotPermitted: ``actor`` may not set discounts.
    :raises InvalidOffer: they could not be so.
    :raises StaleVersion: they have changed since ``version``.
    :raises Conflict: nothing would change.
    """
    require(actor, "billing.add_discounts")
    tiers = sorted(tiers, key=lambda tier: tier.from_credits)
    _check_discounts(tiers, subscriber_basis_points)
    _alone()
    current = Discounts.objects.order_by("pk").last() or usual_discounts()
    if (current.pk or 0) != version:
        raise StaleVersion
    after = Discounts(
        volume=[{"from": t.from_credits, "basis_points": t.basis_points} for t in tiers],
        subscriber_basis_points=subscriber_basis_points,
        changed_at=max(at, current.changed_at or at),
        changed_by=actor,
    )
    if _told(after) == _told(current):
        raise Conflict("Nothing would change.")
    after.save(force_insert=True)
    audit.record(
        "billing.discounts.set",
        actor=actor,
        target=after,
        at=at,
        reason=reason,
        before=_told(current),
        after=_told(after),
    )
    return after


def _check_discounts(tiers: Sequence[Tier], subscriber_basis_points: int) -> None:
    starts = {tier.from_credits for tier in tiers}
    if len(tiers) > MOST_TIERS or len(starts) < len(tiers):
        raise InvalidOffer(f"At most {MOST_TIERS} tiers, each from another number of credits.")
    if not all(2 <= start <= MOST_CREDITS for start in starts):
        raise InvalidOffer(f"A tier begins at 2 to {MOST_CREDITS:,} credits.")
    parts = [tier.basis_points for tier in tiers]
    if not all(0 < part < WHOLE for part in parts) or sorted({*parts}) != parts:
        raise InvalidOffer("Each tier takes off more than the one before, and less than all.")
    if not 0 <= subscriber_basis_points < WHOLE:
        raise InvalidOffer("Subscribers get less than all off.")
    if max(parts, default=0) + subscriber_basis_points >= WHOLE:
        raise InvalidOffer("Together they take less than all off.")


def _told(discounts: Discounts) -> dict[str, Any]:
    return {
        "volume": discounts.volume,
        "subscriber_basis_points": discounts.subscriber_basis_points,
    }


def _text(price: Decimal | None) -> str | None:
    return None if price is None else f"{price.normalize():f}"


def _alone() -> None:
    """Let nobody else change rates or discounts until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
