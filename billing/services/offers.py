"""The catalogue: packages and plans, and versions of what they are and cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.choices import Interval, OfferKind
from billing.errors import InvalidOffer, StaleVersion
from billing.models import Offer, OfferPrice, OfferVersion
from billing.models.offers import LARGEST_PRICE
from billing.queries.offers import newest_version
from creditsite.errors import Conflict
from creditsite.money import is_currency
from creditsite.text import clean_text, one_line
from ledger.models.settings import MOST_CREDITS

MOST_FEATURES = 20
LONGEST_NAME, LONGEST_FEATURE = 80, 120
INTERVALS = {OfferKind.PACKAGE: [""], OfferKind.PLAN: list(Interval.values)}


class Price(NamedTuple):
    currency: str
    interval: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """
    What a version says.

    :param rollover_cap: of a plan: how many unspent credits stay when the next month's come;
        0: none, ``None``: all.
    """

    name: str
    credits: int
    features: Sequence[str]
    prices: Iterable[Price]
    rollover_cap: int | None = None


@transaction.atomic
def create_offer(
    *,
    code: str,
    kind: OfferKind,
    position: int,
    terms: Terms,
    actor: User | None,
    at: datetime,
    reason: str,
) -> Offer:
    """
    Put a new package or plan on sale.

    :raises NotPermitted: ``actor`` may not add offers.
    :raises InvalidOffer: the terms could not be so.
    :raises Conflict: there is an offer with this code.
    :raises ValidationError: the code is not plain.
    """
    require(actor, "billing.add_offer")
    terms = checked(terms, kind)
    if Offer.objects.filter(code=code).exists():
        raise Conflict(f"There is an offer {code!r} already.")
    offer = Offer(code=code, kind=kind, position=position)
    offer.full_clean()
    offer.save()
    version = _add_version(offer, terms, 1, actor, at)
    audit.record(
        "billing.offer.created",
        actor=actor,
        target=offer,
        at=at,
        reason=reason,
        after=facts(offer, version),
    )
    return offer


@transaction.atomic
def change_offer(
    *,
    offer: Offer,
    terms: Terms,
    position: int,
    version: int,
    actor: User | None,
    at: datetime,
    reason: str,
) -> OfferVersion:
    """
    Sell ``offer`` as ``terms`` from now on: a new version. Who has bought it keeps theirs.

    ``position`` is of the offer itself, and makes none.

    :param version: the number of the newest when the form was opened.
    :raises NotPermitted: ``actor`` may not change offers.
    :raises InvalidOffer: the terms could not be so.
    :raises StaleVersion: there is another version since.
    :raises Conflict: nothing would change.
    """
    require(actor, "billing.change_offer")
    locked = _locked(offer)
    terms = checked(terms, OfferKind(locked.kind))
    current = newest_version(locked)
    if current.number != version:
        raise StaleVersion
    before, was = facts(locked, current), current
    if terms_of(current) != terms:
        current = _add_version(locked, terms, version + 1, actor, at)
    locked.position = position
    locked.save(update_fields=["position"])
    after = facts(locked, current)
    if current is was and before == after:
        raise Conflict("Nothing would change.")
    audit.record(
        "billing.offer.changed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before=before,
        after=after,
    )
    return current


@transaction.atomic
def retire_offer(*, offer: Offer, actor: User | None, at: datetime, reason: str) -> None:
    """
    Sell ``offer`` no longer; subscriptions to it go on.

    :raises NotPermitted: ``actor`` may not change offers.
    :raises Conflict: it is not sold anyway.
    """
    _switch(offer, False, "billing.offer.retired", actor, at, reason)


@transaction.atomic
def restore_offer(*, offer: Offer, actor: User | None, at: datetime, reason: str) -> None:
    """
    Sell ``offer`` again.

    :raises NotPermitted: ``actor`` may not change offers.
    :raises Conflict: it is sold already.
    """
    _switch(offer, True, "billing.offer.restored", actor, at, reason)


def _switch(
    offer: Offer, is_active: bool, action: str, actor: User | None, at: datetime, reason: str
) -> None:
    require(actor, "billing.change_offer")
    moved = Offer.objects.filter(pk=offer.pk, is_active=not is_active).update(is_active=is_active)
    if not moved:
        raise Conflict(f"It is {'sold' if is_active else 'retired'} already.")
    audit.record(action, actor=actor, target=offer, at=at, reason=reason)


# --- What a version says --------------------------------------------------------------------------
def checked(terms: Terms, kind: OfferKind) -> Terms:
    """
    Return ``terms`` as they are stored: clean text, prices in order.

    :raises InvalidOffer: they could not be those of an offer of ``kind``.
    :raises InvalidRequest: text with characters that are refused.
    """
    name = clean_text(one_line(terms.name), LONGEST_NAME)
    features = [clean_text(one_line(each), LONGEST_FEATURE) for each in terms.features]
    prices = sorted(terms.prices)
    if not name:
        raise InvalidOffer("An offer has a name.")
    if type(terms.credits) is not int or not 1 <= terms.credits <= MOST_CREDITS:
        raise InvalidOffer(f"An offer has 1 to {MOST_CREDITS:,} credits.")
    if not all(features) or len({*features}) < len(features) or len(features) > MOST_FEATURES:
        raise InvalidOffer(f"At most {MOST_FEATURES} features, each once.")
    _check_rollover(terms.rollover_cap, kind)
    if not prices:
        raise InvalidOffer("An offer has a price.")
    if len({price[:2] for price in prices}) < len(prices):
        raise InvalidOffer("There is one price for a currency and interval.")
    for price in prices:
        _check_price(price, kind)
    return Terms(
        name=name,
        credits=terms.credits,
        features=features,
        prices=prices,
        rollover_cap=terms.rollover_cap,
    )


def _check_rollover(cap: int | None, kind: OfferKind) -> None:
    if cap is None:
        return
    if kind == OfferKind.PACKAGE:
        raise InvalidOffer("The credits of a package stay: nothing is carried over.")
    if type(cap) is not int or not 0 <= cap <= MOST_CREDITS:
        raise InvalidOffer(f"0 to {MOST_CREDITS:,} unspent credits stay, or all of them.")


def _check_price(price: Price, kind: OfferKind) -> None:
    if not is_currency(price.currency):
        raise InvalidOffer(f"{price.currency.upper()} is no currency of ISO 4217.")
    if price.interval not in INTERVALS[kind]:
        raise InvalidOffer(
            "A plan is paid by month or year."
            if kind == OfferKind.PLAN
            else "A package is paid once."
        )
    if not 1 <= price.amount_minor <= LARGEST_PRICE:
        raise InvalidOffer("A price is more than nothing.")


def terms_of(version: OfferVersion) -> Terms:
    prices = version.prices.values_list("currency", "interval", "amount_minor")
    return Terms(
        name=version.name,
        credits=version.credits,
        features=version.features,
        prices=sorted(Price(*row) for row in prices),
        rollover_cap=version.rollover_cap,
    )


def facts(offer: Offer, version: OfferVersion) -> dict[str, Any]:
    """Return an offer and its version as the record keeps them."""
    terms = terms_of(version)
    return {
        "kind": str(offer.kind),
        "position": offer.position,
        "version": version.number,
        "name": terms.name,
        "credits": terms.credits,
        "features": list(terms.features),
        "rollover_cap": terms.rollover_cap,
        "prices": [list(price) for price in terms.prices],
    }


def _add_version(
    offer: Offer, terms: Terms, number: int, actor: User | None, at: datetime
) -> OfferVersion:
    version = OfferVersion.objects.create(
        offer=offer,
        number=number,
        name=terms.name,
        credits=terms.credits,
        features=list(terms.features),
        rollover_cap=terms.rollover_cap,
        created_at=at,
        created_by=actor,
    )
    OfferPrice.objects.bulk_create(
        OfferPrice(version=version, **price._asdict()) for price in terms.prices
    )
    return version


def _locked(offer: Offer) -> Offer:
    return Offer.objects.select_for_update(no_key=True).get(pk=offer.pk)
