"""How the books' figures are written for people."""

from decimal import Decimal
from typing import Any

from creditsite.money import format_money
from ledger.choices import CreditType


def figure(number: int | Decimal) -> str:
    """Return a figure with a true minus."""
    return f"{number:,}".replace("-", "−")


def signed(number: int) -> str:
    """Return a movement with its sign: a true minus, and a bare zero."""
    return f"{number:+,}".replace("-", "−") if number else "0"


def by_type(movement: Any) -> str:
    """Say which types of credits a transaction moved, with their amounts if there are several."""
    moved = {t: getattr(movement, t) for t in CreditType if getattr(movement, t)}
    if len(moved) == 1:
        return next(iter(moved))
    return ", ".join(f"{signed(amount)} {credit_type}" for credit_type, amount in moved.items())


def paid_for(grant: Any) -> tuple[str, str]:
    """Return what was paid for a grant, and what of it was returned, if anything."""
    if not grant.paid_minor:
        return ("unfunded" if grant.credit_type == CreditType.PURCHASE else "–"), ""
    returned = ""
    if grant.returned_minor:
        returned = f"{format_money(grant.returned_minor, grant.currency)} returned"
    return format_money(grant.paid_minor, grant.currency), returned
