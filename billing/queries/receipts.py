"""What a receipt says: what was bought, what was paid, and what went back since."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from billing.choices import Effect
from billing.models import Payment, Receipt
from creditsite.money import format_money

WITH_ALL = ["payment__user", "payment__wallet__team", "payment__redemption"]


class Line(NamedTuple):
    name: str
    money: str
    is_total: bool = False


@dataclass(frozen=True)
class Statement:
    """A receipt: who paid, and line by line what for and what went back."""

    receipt: Receipt
    payment: Payment
    buyer: list[str]
    lines: list[Line]


def statement_of(payment: Payment) -> Statement | None:
    """Return what the receipt of a payment says; ``None`` if it has none."""
    receipt = Receipt.objects.filter(payment=payment).select_related(*WITH_ALL).first()
    if receipt is None:
        return None
    payment = receipt.payment
    return Statement(
        receipt=receipt,
        payment=payment,
        buyer=buyer_of(payment),
        lines=[*bought(payment), *went_back(payment)],
    )


def buyer_of(payment: Payment) -> list[str]:
    """Return who paid, and for which team."""
    user, team = payment.user, payment.wallet.team if payment.wallet else None
    said = [user.name, user.email] if user else []
    if team:
        said.append(f"for {team}")
    return [line for line in said if line]


def bought(payment: Payment) -> Iterator[Line]:
    credits = f"{payment.credits:,} credits"
    described = credits in payment.description
    yield money_line(
        payment.description if described else f"{payment.description} ({credits})",
        payment.net_minor,
        payment,
    )
    if payment.redemption and payment.redemption.credits:
        yield Line(f"{payment.redemption.credits:,} credits on top", "free")
    if payment.tax_minor:
        yield money_line("Tax", payment.tax_minor, payment)
    yield money_line("Paid", payment.charged_minor, payment, is_total=True)


def went_back(payment: Payment) -> Iterator[Line]:
    """Yield the refunds, but for those that the bank sent back to us, and what the bank took."""
    if not payment.returned_minor:
        return
    effects = list(payment.effects.order_by("at", "pk"))
    failed = {each.object_id for each in effects if each.effect == Effect.REFUND_FAILED}
    for each in effects:
        if each.effect == Effect.REFUNDED and each.object_id not in failed:
            yield money_line(f"Refunded on {day(each.at)}", -each.amount_minor, payment)
    if payment.charged_back_minor:
        yield money_line("Taken back by your bank", -payment.charged_back_minor, payment)
    left = payment.charged_minor - payment.returned_minor
    yield money_line("Paid in the end", left, payment, is_total=True)


def money_line(name: str, minor: int, payment: Payment, *, is_total: bool = False) -> Line:
    return Line(name, format_money(minor, payment.currency).replace("-", "−"), is_total)


def day(at: date) -> str:
    """Return a day as people write it."""
    return f"{at.day} {at:%B %Y}"
