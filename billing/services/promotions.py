"""
How promotions are made, changed and ended. What gives many credits waits for a second person.

What a promotion gives, and to whom, never changes: for that it is ended, and another one made.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Sum

from accounts.errors import InvalidFields
from accounts.models import Approval, Role, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from billing.choices import OfferKind
from billing.errors import StaleVersion
from billing.models import Offer, Promotion
from billing.models.offers import LARGEST_PRICE
from creditsite.errors import Conflict
from creditsite.money import is_currency
from ledger import keys
from ledger.queries.settings import settings_at

KIND = "billing.change_promotion"
TERMS = (
    "code", "name", "kind", "basis_points", "amounts", "credits", "expiry_days", "minimum_credits",
    "offers", "roles", "starts_at", "ends_at", "limit_total", "limit_per_user",
)  # fmt: skip
# What one maker promises within it without a second person counts together, as with batches.
WINDOW = timedelta(hours=24)
SAID = {
    "name": "name",
    "ends_at": "until",
    "limit_total": "times in all",
    "limit_per_user": "times for each user",
}
CHANGEABLE = tuple(SAID)


def register() -> None:
    """Let :mod:`accounts.services.approvals` know what gives many credits."""
    approval_kind(
        KIND,
        permission=KIND,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: False,
    )


@transaction.atomic
def create_promotion(
    *,
    terms: Mapping[str, Any],
    actor: User | None,
    at: datetime,
    reason: str,
    idempotency_key: str | None = None,
) -> Promotion | Approval:
    """
    Make a promotion of these ``TERMS``; of one that gives many credits, return the approval.

    :raises NotPermitted: ``actor`` may not change promotions.
    :raises InvalidFields: a term will not do, or not together with the others.
    :raises Conflict: there is a promotion with this code.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    require(actor, KIND)
    promotion = built(terms, at)
    if actor is None or not is_large(promotion, actor, at):
        return _add(promotion, actor, at, reason)
    return request_approval(
        kind=KIND,
        payload={"promotion": None, "after": told(promotion, TERMS)},
        maker=actor,
        reason=reason,
        at=at,
        idempotency_key=idempotency_key,
    )


@transaction.atomic
def change_promotion(
    *,
    promotion: Promotion,
    version: str,
    changes: Mapping[str, Any],
    actor: User | None,
    at: datetime,
    reason: str,
    idempotency_key: str | None = None,
) -> Promotion | Approval:
    """
    Change what of ``CHANGEABLE`` is in ``changes``, for redemptions to come.

    One that gives many credits is prolonged or raised with a second person: return the approval.

    :param version: ``version_of`` it when the form was opened.
    :raises NotPermitted: ``actor`` may not change promotions.
    :raises InvalidFields: a value will not do.
    :raises StaleVersion: they have changed since.
    :raises Conflict: nothing would change, or it has ended.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    require(actor, KIND)
    locked = _locked(promotion.pk)
    if version_of(locked) != version:
        raise StaleVersion
    changes = {name: changes[name] for name in CHANGEABLE if name in changes}
    before = told(locked, changes)
    loosens = _loosens(locked, changes)
    _set(locked, changes)
    after = told(locked, changes)
    names = [name for name in changes if before[name] != after[name]]
    if not names:
        raise Conflict("Nothing would change.")
    payload = {
        "promotion": locked.pk,
        "before": {name: before[name] for name in names},
        "after": {name: after[name] for name in names},
    }
    if actor is None or not (loosens and is_large(locked, actor, at)):
        return _save(locked, payload, actor, at, reason)
    return request_approval(
        kind=KIND,
        payload=payload,
        maker=actor,
        reason=reason,
        at=at,
        idempotency_key=idempotency_key,
    )


@transaction.atomic
def end_promotion(*, promotion: Promotion, actor: User | None, at: datetime, reason: str) -> None:
    """
    End a promotion for good. What was reserved with it is still sold at its price.

    :raises NotPermitted: ``actor`` may not change promotions.
    :raises Conflict: it has been ended.
    """
    require(actor, KIND)
    locked = _locked(promotion.pk)
    locked.is_active = False
    locked.save(update_fields=["is_active"])
    audit.record(
        "billing.promotion.ended",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"taken": locked.taken},
    )


# --- With a second person -------------------------------------------------------------------------
def is_large(promotion: Promotion, maker: User, at: datetime) -> bool:
    """
    Return whether it may give more credits than ``maker`` gives alone.

    What else they promised within ``WINDOW`` counts with it, or they would make two.
    """
    if not promotion.credits:
        return False
    bounds, times = settings_at(at), promotion.limit_total
    if times is None or promotion.credits > bounds.approval_adjustment_above:
        return True
    # Of two that they make at once, the second counts the first.
    User.objects.select_for_update(no_key=True).get(pk=maker.pk)
    promised = (
        Promotion.objects.filter(created_by=maker, created_at__gt=at - WINDOW, credits__gt=0)
        .exclude(pk=promotion.pk)
        .aggregate(times=Sum("limit_total"), credits=Sum(F("credits") * F("limit_total")))
    )
    times += promised["times"] or 0
    credits = promotion.credits * (promotion.limit_total or 0) + (promised["credits"] or 0)
    return (
        times > bounds.approval_batch_wallets_above or credits > bounds.approval_batch_credits_above
    )


def execute(*, payload: Mapping[str, Any], approval: Approval, at: datetime) -> dict[str, Any]:
    """
    Make or change the promotion as it was approved.

    :raises InvalidFields: it could not be so any more.
    :raises StaleVersion: what would change is not as it was.
    :raises Conflict: the code has been taken, or the promotion ended.
    """
    values = {name: field_of(name).to_python(value) for name, value in payload["after"].items()}
    maker, reason = approval.maker, approval.reason
    if payload["promotion"] is None:
        made = _add(built(values, at), maker, at, reason, approval.pk)
        return {"promotion": made.pk}
    locked = _locked(payload["promotion"])
    if told(locked, values) != payload["before"]:
        raise StaleVersion
    _set(locked, values)
    _save(locked, payload, maker, at, reason, approval.pk)
    return {"promotion": locked.pk}


def describe(payload: Mapping[str, Any]) -> str:
    after = payload["after"]
    if payload["promotion"] is None:
        limit = after["limit_total"]
        times = "any number of times" if limit is None else f"{limit:,} times at most"
        return f"Make the promotion {after['code']}: {after['credits']:,} credits, {times}"
    code = Promotion.objects.get(pk=payload["promotion"]).code
    lines = [
        f"{SAID[name]} {shown(was)} → {shown(after[name])}"
        for name, was in payload["before"].items()
    ]
    return f"Change the promotion {code}: {'; '.join(lines)}"


def shown(value: Any) -> str:
    if value is None:
        return "without limit"
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- What a promotion may be ----------------------------------------------------------------------
def built(terms: Mapping[str, Any], at: datetime) -> Promotion:
    """
    Return the promotion of these terms, not saved yet.

    :raises InvalidFields: a term will not do, or not together with the others.
    :raises Conflict: there is a promotion with this code.
    """
    promotion = Promotion(**{name: terms[name] for name in TERMS if name in terms}, created_at=at)
    promotion.code = promotion.code.upper()
    if Promotion.objects.filter(code=promotion.code).exists():
        raise Conflict(f"There is a promotion {promotion.code} already.")
    _refuse_unknown(promotion)
    _clean(promotion)
    return promotion


def _refuse_unknown(promotion: Promotion) -> None:
    wrong = {}
    packages = Offer.objects.filter(kind=OfferKind.PACKAGE, code__in=promotion.offers)
    if packages.count() < len({*promotion.offers}):
        wrong["offers"] = ["There is no such package."]
    if Role.objects.filter(code__in=promotion.roles).count() < len({*promotion.roles}):
        wrong["roles"] = ["There is no such role."]
    amounts = promotion.amounts.items()
    if not all(is_currency(c) and 1 <= minor <= LARGEST_PRICE for c, minor in amounts):
        wrong["amounts"] = ["An amount is more than nothing, in a currency of ISO 4217."]
    if wrong:
        raise InvalidFields(wrong)


def _clean(promotion: Promotion) -> None:
    try:
        promotion.full_clean(exclude=["created_by"], validate_unique=False)
    except ValidationError as refusal:
        raise InvalidFields(refusal.message_dict) from refusal


def _set(promotion: Promotion, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(promotion, name, value)
    _clean(promotion)


def _loosens(promotion: Promotion, changes: Mapping[str, Any]) -> bool:
    """Return whether it could be redeemed by more, more often or for longer; ``None`` is most."""

    def is_more(name: str) -> bool:
        was, becomes = getattr(promotion, name), changes.get(name, getattr(promotion, name))
        return was is not None and (becomes is None or becomes > was)

    return any(is_more(name) for name in ("ends_at", "limit_total", "limit_per_user"))


def _add(
    promotion: Promotion,
    actor: User | None,
    at: datetime,
    reason: str,
    approval_id: int | None = None,
) -> Promotion:
    promotion.created_by = actor
    promotion.save(force_insert=True)
    audit.record(
        "billing.promotion.created",
        actor=actor,
        target=promotion,
        at=at,
        reason=reason,
        after=told(promotion, TERMS),
        approval_id=approval_id,
    )
    return promotion


def _save(
    locked: Promotion,
    payload: Mapping[str, Any],
    actor: User | None,
    at: datetime,
    reason: str,
    approval_id: int | None = None,
) -> Promotion:
    locked.save(update_fields=CHANGEABLE)
    audit.record(
        "billing.promotion.changed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before=payload["before"],
        after=payload["after"],
        approval_id=approval_id,
    )
    return locked


def _locked(pk: int) -> Promotion:
    locked = Promotion.objects.select_for_update(no_key=True).get(pk=pk)
    if not locked.is_active:
        raise Conflict(f"{locked.code} has been ended.")
    return locked


def told(promotion: Promotion, names: Iterable[str]) -> dict[str, Any]:
    """Return those fields as JSON keeps them."""
    values = {name: getattr(promotion, name) for name in names}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def version_of(promotion: Promotion) -> str:
    """Return what tells whether it was changed since; what was redeemed does not matter."""
    return str(keys.fingerprint("promotion", told(promotion, CHANGEABLE)))


def field_of(name: str) -> Any:
    return Promotion._meta.get_field(name)
