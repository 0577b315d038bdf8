"""Promotions as they stand: whether one is for a purchase, and what came of it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, Sum

from accounts.models import User
from billing.choices import PromotionKind, RedemptionStatus
from billing.errors import PromotionNotFound, PromotionRefused
from billing.models import Promotion, Redemption
from billing.quotes import Reduction


def find_promotion(code: str) -> Promotion:
    """
    Return the promotion with this code, in whatever case.

    :raises PromotionNotFound: there is none.
    """
    promotion = None
    # What is not ASCII is nobody's code, whatever its upper case would be.
    if code.isascii():
        promotion = Promotion.objects.filter(code=code.strip().upper()).first()
    if promotion is None:
        raise PromotionNotFound
    return promotion


@dataclass(frozen=True, slots=True)
class Basket:
    """What a promotion is asked about: nothing but itself, or a purchase."""

    credits: int = 0
    currency: str = ""
    package: str = ""


def refuse_inapplicable(
    promotion: Promotion, user: User, at: datetime, basket: Basket | None
) -> None:
    """
    Refuse a promotion that is not for this user, time and ``basket``; ``None``: no purchase.

    Who may take it under its limits is for ``refuse_taken``.

    :raises PromotionRefused: it says why.
    """
    code = promotion.code
    if (promotion.kind == PromotionKind.GRANT) != (basket is None):
        message = (
            f"{code} is for a purchase." if basket is None else f"{code} gives credits by itself."
        )
        raise PromotionRefused("kind", message)
    # Whoever makes codes, or knows who does, has no use of them.
    if user.is_staff:
        raise PromotionRefused("staff", "Promotions are not for staff.")
    if at < promotion.starts_at:
        raise PromotionRefused("not_started", f"{code} has not begun yet.")
    if not promotion.is_active or (promotion.ends_at is not None and at >= promotion.ends_at):
        raise PromotionRefused("ended", f"{code} is over.")
    if promotion.roles and (user.role is None or user.role.code not in promotion.roles):
        raise PromotionRefused("role", f"{code} is not for your role.")
    if basket is None:
        return
    if promotion.offers and basket.package not in promotion.offers:
        raise PromotionRefused("package", f"{code} is not for this purchase.")
    if basket.credits < promotion.minimum_credits:
        least = f"{promotion.minimum_credits:,}"
        raise PromotionRefused("minimum", f"{code} is for {least} credits and more.")
    if promotion.kind == PromotionKind.FIXED and basket.currency not in promotion.amounts:
        raise PromotionRefused("currency", f"{code} is not for {basket.currency.upper()}.")


def refuse_taken(promotion: Promotion, user: User) -> None:
    """
    Refuse a promotion that was redeemed as often as it may be. It binds under its lock alone.

    :raises PromotionRefused: in all, or by this user.
    """
    if promotion.limit_total is not None and promotion.taken >= promotion.limit_total:
        raise PromotionRefused("used_up", f"{promotion.code} is used up.")
    if promotion.limit_per_user is None:
        return
    theirs = Redemption.objects.filter(promotion=promotion, identity=user.identity)
    if theirs.exclude(status=RedemptionStatus.RELEASED).count() >= promotion.limit_per_user:
        raise PromotionRefused("used", f"You have used {promotion.code}.")


def reduction_of(promotion: Promotion, currency: str) -> Reduction:
    """Return what ``promotion`` does to a purchase in ``currency``."""
    return Reduction(
        code=promotion.code,
        kind=PromotionKind(promotion.kind),
        basis_points=promotion.basis_points,
        amount_minor=promotion.amounts.get(currency, 0),
        bonus_credits=promotion.credits,
    )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What came of a promotion."""

    reserved: int
    redeemed: int
    released: int
    users: int
    credits: int
    discounts: dict[str, int] = field(default_factory=dict)


def statistics_of(promotion: Promotion) -> Statistics:
    """Count redemptions by status; users, credits and money are of those redeemed."""
    rows = Redemption.objects.filter(promotion=promotion)
    redeemed = Q(status=RedemptionStatus.REDEEMED)
    counted: dict[str, Any] = rows.aggregate(
        **{str(status): Count("pk", filter=Q(status=status)) for status in RedemptionStatus},
        users=Count("identity", distinct=True, filter=redeemed),
        credits=Sum("credits", filter=redeemed, default=0),
    )
    money = rows.filter(redeemed, discount_minor__gt=0).values("currency").order_by("currency")
    discounts = {
        row["currency"]: int(row["total"]) for row in money.annotate(total=Sum("discount_minor"))
    }
    return Statistics(**counted | {"credits": int(counted["credits"])}, discounts=discounts)
