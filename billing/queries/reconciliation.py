"""How a reconciliation shows the money: a line for each day and currency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditsite.money import in_units

# What moved at Stripe and must be noted in the books, to the smallest unit.
TIED = ["charged", "refunded", "disputed"]


@dataclass(frozen=True)
class Line:
    """
    A day in one currency, in minor units: what moved at Stripe, and what of it is noted here.

    ``fees``, ``paid_out``, ``other`` and ``net`` are the account's alone.
    """

    day: str
    currency: str
    charged: int = 0
    charged_here: int = 0
    refunded: int = 0
    refunded_here: int = 0
    disputed: int = 0
    disputed_here: int = 0
    fees: int = 0
    paid_out: int = 0
    other: int = 0
    net: int = 0

    @property
    def difference(self) -> int:
        """What Stripe says more than the books, all in all."""
        return sum(getattr(self, name) - getattr(self, f"{name}_here") for name in TIED)

    @property
    def shown(self) -> dict[str, str]:
        """Return each sum in units of the currency, as people read it."""
        names = [*TIED, "difference", "fees", "paid_out", "other", "net"]
        return {name: f"{in_units(getattr(self, name), self.currency):,}" for name in names}

    @property
    def ties(self) -> bool:
        return all(getattr(self, name) == getattr(self, f"{name}_here") for name in TIED)


def rows_of(figures: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """Return the lines of a run, the latest first."""
    lines = []
    for name, row in sorted(figures.items(), reverse=True):
        day, currency = name.split(" ")
        lines.append(Line(day, currency, **row))
    return lines
