"""The figures of reports as plain Python over raw rows: what SQL and rollups are held against."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from ledger import models
from ledger.models import CreditSettings, CreditTransaction, Grant
from ledger.money_rule import recognised_minor, released_minor

MONEY = ("paid", "brought_in", "returned", "used", "breakage", "released")
HEADINGS = {
    "usage": "spent",
    "expiry": "expired",
    "refund": "refunded",
    "clawback": "clawed_back",
    "reinstatement": "clawed_back",
    "adjustment": "adjusted",
    "reversal": "reversed",
    "void": "voided",
    "debt_repayment": "debt_repaid",
}


def in_force(at: datetime) -> CreditSettings:
    """Return the settings that count at ``at``, by reading all of them."""
    known = CreditSettings.objects.order_by("changed_at", "pk")
    return [CreditSettings(), *(each for each in known if each.changed_at <= at)][-1]


@dataclass
class State:
    """A paid grant, as some of its transactions leave it."""

    used: int = 0
    expired: int = 0
    taken: int = 0
    remaining: int = 0
    carried: int = 0
    carried_minor: int = 0
    returned: int = 0

    def add(self, kind: str, amount: int) -> None:
        """Add what a transaction of ``kind`` took, or (below zero) what was given back of it."""
        if kind in ("usage", "debt_repayment"):
            self.used += amount
        if kind == "expiry":
            self.expired += amount
        if kind in ("adjustment", "void"):
            self.taken += amount


@dataclass
class RawBooks:
    """All rows of the books, in order, and what follows from them."""

    transactions: dict[Any, CreditTransaction] = field(default_factory=dict)
    days: dict[Any, date] = field(default_factory=dict)
    grants: dict[Any, Grant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for tx in CreditTransaction.objects.order_by("wallet", "number"):
            self.transactions[tx.pk] = tx
            self.days[tx.pk] = self.day_of(tx.recorded_at)
        self.grants = {grant.pk: grant for grant in Grant.objects.all()}
        self.entries = list(
            models.Entry.objects.order_by("wallet", "transaction__number", "position")
        )
        self.restorations = list(models.Restoration.objects.all())
        self.returns = list(models.MoneyReturn.objects.all())
        self.lines = {(e.transaction_id, e.position): e for e in self.entries}

    # --- Days ------------------------------------------------------------------------------------
    @cached_property
    def zones(self) -> list[tuple[datetime, str]]:
        last_of_instant = {
            each.changed_at: each.time_zone
            for each in CreditSettings.objects.order_by("changed_at", "pk")
        }
        return list(last_of_instant.items())

    def day_of(self, at: datetime) -> date:
        zone, earliest = "UTC", date.min
        for changed_at, new_zone in self.zones:
            if changed_at <= at:
                earliest = max(earliest, changed_at.astimezone(ZoneInfo(zone)).date())
                zone = new_zone
        return max(at.astimezone(ZoneInfo(zone)).date(), earliest)

    # --- Credits ---------------------------------------------------------------------------------
    def is_funded(self, grant: Grant) -> bool:
        while grant.paid_minor == 0 and grant.carried_from_id:
            grant = self.grants[grant.carried_from_id]
        return grant.paid_minor > 0

    def class_of(self, grant: Grant) -> str:
        if grant.credit_type != "purchase":
            return {"award": "Awards", "partner": "Partner credits"}[grant.credit_type]
        return "Purchases, paid for" if self.is_funded(grant) else "Purchases, unfunded"

    def moves(self) -> Iterator[tuple[date, CreditTransaction, Grant, int]]:
        for entry in self.entries:
            grant, tx = self.grants[entry.grant_id], self.transactions[entry.transaction_id]
            yield self.days[tx.pk], tx, grant, entry.amount

    def roll_forward(self, first: date, last: date) -> dict[str, dict[str, int]]:
        lines: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for day, tx, grant, amount in self.moves():
            if day > last:
                continue
            heading = HEADINGS.get(tx.kind)
            if heading is None:
                paid = "sold" if self.is_funded(grant) else "granted"
                heading = "brought_in" if grant.source == "opening" else paid
            line = lines[self.class_of(grant)]
            line["opening" if day < first else heading] += amount
            line["closing"] += amount
        return lines

    def used_free(self, first: date, last: date) -> dict[tuple, int]:
        """Return free credits used, by month, class, cost of one and currency."""
        used: dict[tuple, int] = defaultdict(int)
        for day, tx, grant, amount in self.moves():
            original = self.transactions.get(tx.reverses_id, tx)
            is_use = original.kind == "usage" and self.class_of(grant) != "Purchases, paid for"
            if first <= day <= last and is_use:
                settings = in_force(original.recorded_at)
                currency = settings.recovery_currency.lower()
                month = day.replace(day=1)
                cost = Decimal(settings.recovery_cost)
                used[month, self.class_of(grant), cost, currency] -= amount
        return used

    def consumption(self, first: date, last: date, by: str) -> dict[Any, dict[str, int]]:
        """Return uses by "feature", "day" or "wallet"."""
        found: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for tx in self.transactions.values():
            original = self.transactions.get(tx.reverses_id, tx)
            if not first <= self.days[tx.pk] <= last or original.kind != "usage":
                continue
            day = self.days[tx.pk]
            line = found[{"feature": original.feature, "day": day, "wallet": tx.wallet_id}[by]]
            if tx is original:
                line["uses"] += 1
                line["spent"] -= tx.amount
                for credit_type in ("award", "partner", "purchase"):
                    line[credit_type] -= getattr(tx, credit_type)
            else:
                line["given_back"] += tx.amount
            line["net"] -= tx.amount
            line["owed"] += tx.debt
        return found

    # --- Money -----------------------------------------------------------------------------------
    def money(self, last: date) -> dict[str, dict[str, int]]:
        """Return all that was paid and what became of it by the end of ``last``, by currency."""
        states: dict[Any, State] = defaultdict(State)
        born: dict[Any, date] = {}
        for day, tx, grant, amount in self.moves():
            born.setdefault(grant.pk, day)
            if day <= last:
                states[grant.pk].remaining += amount
                if amount < 0:
                    states[grant.pk].add(tx.kind, -amount)
        for back in self.restorations:
            line = self.lines.get((back.original_id, back.position))
            if line and self.days[back.transaction_id] <= last:
                states[line.grant_id].add(self.transactions[back.original_id].kind, -back.amount)
        for each in self.returns:
            if self.days[each.transaction_id] <= last:
                states[each.grant_id].returned += each.amount_minor
        for grant in self.grants.values():
            if grant.carried_from_id and born[grant.pk] <= last:
                states[grant.carried_from_id].carried += grant.amount
                states[grant.carried_from_id].carried_minor += grant.paid_minor
        sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(MONEY, 0))
        for grant in self.grants.values():
            if grant.paid_minor and born[grant.pk] <= last:
                line = sums[grant.currency]
                if not grant.carried_from_id:
                    line["brought_in" if grant.source == "opening" else "paid"] += grant.paid_minor
                for name, minor in self.parts(grant, states[grant.pk]).items():
                    line[name] += minor
        return sums

    @staticmethod
    def parts(grant: Grant, state: State) -> dict[str, int]:
        money = {
            "paid_minor": grant.paid_minor - state.carried_minor,
            "returned_minor": state.returned,
            "amount": grant.amount - state.carried,
        }
        consumed = state.used + state.expired
        used = recognised_minor(**money, consumed=state.used)
        return {
            "returned": state.returned,
            "used": used,
            "breakage": recognised_minor(**money, consumed=consumed) - used,
            "released": released_minor(
                **money, consumed=consumed, remaining=state.remaining, taken=state.taken
            ),
        }


def deferred(line: dict[str, int]) -> int:
    return 2 * (line["paid"] + line["brought_in"]) - sum(line.values())
