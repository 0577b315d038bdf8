"""The price list: features, and versions of their prices."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from ledger.errors import Conflict, InvalidAmount
from ledger.models import Feature, FeaturePrice
from ledger.services.charges import price_list

# Longer than any process keeps its price list: all charge the new price from the same instant.
SHORTEST_NOTICE = timedelta(minutes=1)


@transaction.atomic
def create_feature(
    *,
    code: str,
    name: str,
    unit: str,
    requires_purchased: bool,
    actor: User | None,
    at: datetime,
    reason: str = "",
) -> Feature:
    """
    Create a feature; it can be charged once it has a price.

    :raises NotPermitted: ``actor`` may not add features.
    :raises Conflict: there is a feature with this code.
    :raises ValidationError: the code is not plain.
    """
    require(actor, "ledger.add_feature")
    if Feature.objects.filter(code=code).exists():
        raise Conflict(f"There is a feature {code!r} already.")
    feature = Feature(code=code, name=name, unit=unit, requires_purchased=requires_purchased)
    feature.full_clean()
    feature.save()
    audit.record(
        "ledger.feature.created",
        actor=actor,
        target=feature,
        at=at,
        reason=reason,
        after=_facts(feature),
    )
    return feature


@transaction.atomic
def change_feature(
    *, feature: Feature, actor: User, at: datetime, reason: str, **changes: object
) -> Feature:
    """
    Change name, unit, ``requires_purchased`` or ``is_active`` of a feature, for charges to come.

    :raises NotPermitted: ``actor`` may not change features.
    :raises ValidationError: a value is not allowed.
    """
    require(actor, "ledger.change_feature")
    locked = Feature.objects.select_for_update(no_key=True).get(pk=feature.pk)
    before = _facts(locked)
    for name in before.keys() & changes.keys():
        setattr(locked, name, changes[name])
    locked.full_clean()
    locked.save()
    audit.record(
        "ledger.feature.changed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before=before,
        after=_facts(locked),
    )
    transaction.on_commit(price_list.forget)
    return locked


@transaction.atomic
def add_price(
    *,
    feature: Feature,
    unit_price: Decimal,
    per: int,
    is_flat: bool,
    valid_from: datetime,
    actor: User | None,
    at: datetime,
    reason: str = "",
) -> FeaturePrice:
    """
    Add a version of a feature's price, in force from ``valid_from``.

    ``unit_price`` is credits for ``per`` units, or for a use if ``is_flat``. The first price of a
    feature may be valid from any time on, since nothing was charged yet; later ones start at least
    a minute ahead.

    :raises NotPermitted: ``actor`` may not add prices.
    :raises InvalidAmount: the price is below zero or too fine, or ``valid_from`` is too soon.
    :raises Conflict: a version starts at that very instant already.
    """
    require(actor, "ledger.add_featureprice")
    if not 0 <= unit_price < 10**12 or unit_price != round(unit_price, 6):
        raise InvalidAmount("A price is zero or more credits, with at most six decimals.")
    if not 1 <= per <= 1_000_000_000:
        raise InvalidAmount("A price is for 1 to 1,000,000,000 units.")
    Feature.objects.select_for_update(no_key=True).get(pk=feature.pk)
    if feature.prices.exists() and valid_from < at + SHORTEST_NOTICE:
        raise InvalidAmount("A new price starts at least a minute ahead.")
    if feature.prices.filter(valid_from=valid_from).exists():
        raise Conflict("A price of this feature starts at that instant already.")
    price = FeaturePrice.objects.create(
        feature=feature,
        unit_price=unit_price,
        per=per,
        is_flat=is_flat,
        valid_from=valid_from,
        created_by=actor,
    )
    audit.record(
        "ledger.price.added",
        actor=actor,
        target=price,
        at=at,
        reason=reason,
        after={
            "feature": feature.code,
            "unit_price": str(unit_price),
            "per": per,
            "is_flat": is_flat,
            "valid_from": valid_from.isoformat(),
        },
    )
    transaction.on_commit(price_list.forget)
    return price


def _facts(feature: Feature) -> dict[str, object]:
    return {
        name: getattr(feature, name) for name in ("name", "unit", "requires_purchased", "is_active")
    }
