"""
What a purchase costs and why: one pure function, behind every price that anybody is told.

Money is whole minor units. The price of credits is rounded once, half up, to the minor unit.
Percentages are all of the subtotal, and in the order volume, subscriber, promotion each takes what
the sum of those so far, rounded once, half up, has grown by: so parts tie to their sum, which is
the same in whatever order, and more credits never cost less within a tier. An amount off takes no
more than is left, and nothing is ever below zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from billing.choices import PromotionKind
from creditsite.money import digits_of, format_money, in_units

WHOLE = 10_000
PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Tier:
    """The discount on so many credits and more, in basis points."""

    from_credits: int
    basis_points: int


@dataclass(frozen=True, slots=True)
class Item:
    """
    What is bought: so many credits at the price of one, or at ``price_minor`` for all of them.

    Discounts on numbers of credits and for subscribers are for the first kind.
    """

    credits: int
    currency: str
    unit_price: Decimal | None = None
    price_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a promotion does to a purchase in its currency."""

    code: str
    kind: PromotionKind
    basis_points: int = 0
    amount_minor: int = 0
    bonus_credits: int = 0


@dataclass(frozen=True, slots=True)
class Discount:
    """What one reason takes off; ``promotion`` is the code it comes from, if it is one."""

    reason: str
    amount_minor: int
    promotion: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """What is to be paid, without tax: ``subtotal_minor`` less the discounts is ``total_minor``."""

    credits: int
    bonus_credits: int
    currency: str
    subtotal_minor: int
    discounts: Sequence[Discount] = field(default_factory=tuple)

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor - sum(each.amount_minor for each in self.discounts)

    @property
    def rate(self) -> Decimal:
        """What a credit that is paid for comes to, in units of the currency."""
        return rate_of(self.total_minor, self.currency, self.credits)


def quote(
    item: Item,
    *,
    tiers: Iterable[Tier] = (),
    subscriber_basis_points: int = 0,
    promotion: Reduction | None = None,
) -> Quote:
    """
    Return what ``item`` costs, with each discount on it.

    :param subscriber_basis_points: of who has a live subscription; zero for everybody else.
    """
    subtotal = subtotal_of(item)
    shares: list[Share] = []
    if item.unit_price is not None:
        tier = tier_for(item.credits, tiers)
        if tier is not None:
            reason = f"{percent(tier.basis_points)} off from {tier.from_credits:,} credits"
            shares.append(Share(reason, tier.basis_points))
        reason = f"{percent(subscriber_basis_points)} off for subscribers"
        shares.append(Share(reason, subscriber_basis_points))
    if promotion is not None:
        reason = f"{promotion.code}: {percent(promotion.basis_points)} off"
        shares.append(Share(reason, promotion.basis_points, promotion.code))
    discounts = percentages_off(subtotal, shares)
    if promotion is not None and promotion.amount_minor:
        left = subtotal - sum(each.amount_minor for each in discounts)
        amount = min(promotion.amount_minor, left)
        reason = f"{promotion.code}: {format_money(promotion.amount_minor, item.currency)} off"
        discounts.append(Discount(reason, amount, promotion.code))
    return Quote(
        credits=item.credits,
        bonus_credits=promotion.bonus_credits if promotion else 0,
        currency=item.currency,
        subtotal_minor=subtotal,
        discounts=tuple(each for each in discounts if each.amount_minor),
    )


def subtotal_of(item: Item) -> int:
    """Return the price before discounts, in minor units."""
    if item.unit_price is None:
        return item.price_minor or 0
    exact = (item.credits * item.unit_price).scaleb(digits_of(item.currency))
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def tier_for(credits: int, tiers: Iterable[Tier]) -> Tier | None:
    """Return the tier that so many credits are in; ``None`` below the first."""
    reached = [tier for tier in tiers if tier.from_credits <= credits]
    return max(reached, key=lambda tier: tier.from_credits, default=None)


class Share(NamedTuple):
    """A percentage of the subtotal, in basis points, and why."""

    reason: str
    basis_points: int
    promotion: str = ""


def percentages_off(subtotal: int, shares: Iterable[Share]) -> list[Discount]:
    """Return what each share takes off; together at most all."""
    discounts: list[Discount] = []
    so_far, taken = 0, 0
    for share in shares:
        so_far = min(WHOLE, so_far + share.basis_points)
        # Half up in whole numbers.
        amount = (subtotal * so_far * 2 + WHOLE) // (2 * WHOLE)
        discounts.append(Discount(share.reason, amount - taken, share.promotion))
        taken = amount
    return discounts


def rate_of(amount_minor: int, currency: str, credits: int) -> Decimal:
    """Return what one of ``credits`` costs, in units of ``currency``, to a millionth."""
    return (in_units(amount_minor, currency) / credits).quantize(PLACES, ROUND_HALF_UP)


def rate_at(unit_price: Decimal, basis_points: int) -> Decimal:
    """Return the price of a credit with so much off, to a millionth."""
    return (unit_price * (WHOLE - basis_points) / WHOLE).quantize(PLACES, ROUND_HALF_UP)


def percent(basis_points: int) -> str:
    """Return basis points as people say them, "12.5 %"."""
    return f"{(Decimal(basis_points) / 100).normalize():f} %"
