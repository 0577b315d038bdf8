"""What is given every month: what is due, what comes next, what ran."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from typing import Any

from accounts.models import Job
from accounts.services.jobs import summed
from ledger.choices import AwardRule, SignUpFrequency
from ledger.models import AwardRun, CreditSettings
from ledger.periods import Due, falls_due, months_after, period_of
from ledger.queries.settings import settings_at

# What is not run within so many periods is not made up for any more.
CAUGHT_UP = 12


def monthly_sign_up(terms: CreditSettings) -> int:
    is_monthly = terms.sign_up_frequency == SignUpFrequency.MONTHLY
    return terms.sign_up_credits if is_monthly else 0


# How many credits each rule gives to a wallet each month; 0 while it is off.
AMOUNT: dict[AwardRule, Callable[[CreditSettings], int]] = {
    AwardRule.SIGN_UP: monthly_sign_up,
    AwardRule.PARTNER_ALLOTMENT: lambda terms: terms.partner_allotment,
}


@dataclass(frozen=True, slots=True)
class DueAward:
    """One rule for one period: when it is due, and by which settings."""

    rule: AwardRule
    period: date
    at: datetime
    terms: CreditSettings

    @property
    def amount(self) -> int:
        return AMOUNT[self.rule](self.terms)

    def __str__(self) -> str:
        return f"{self.rule.label} for {self.period:%Y-%m}"


def due_awards(at: datetime) -> list[DueAward]:
    """
    Return what is due at ``at`` and has not been run, the oldest first.

    Of the last twelve periods that fell due, those in which the rule was on at the due instant.
    """
    fallen = [(period, due) for period, due in _periods(at, CAUGHT_UP + 1, 1) if due.at <= at]
    found = [
        DueAward(rule, period, due.at, due.terms)
        for period, due in fallen[-CAUGHT_UP:]
        for rule in AwardRule
    ]
    ran = set(AwardRun.objects.filter(period__gte=fallen[0][0]).values_list("rule", "period"))
    return [each for each in found if each.amount and (each.rule.value, each.period) not in ran]


def next_due(at: datetime) -> tuple[date, datetime]:
    """Return the next period to fall due after ``at``, and when, by the settings in force then."""
    return next((period, due.at) for period, due in _periods(at, 1, 2) if due.at > at)


def _periods(at: datetime, back: int, ahead: int) -> Iterator[tuple[date, Due]]:
    """Yield the months around that of ``at``, and when each falls due."""
    versions = settings_since(at - timedelta(days=31 * (back + 2)), at)
    for number in range(-back, ahead + 1):
        period = months_after(period_of(at, "UTC"), number)
        yield period, falls_due(period, versions)


def settings_since(since: datetime, at: datetime) -> list[CreditSettings]:
    """Return the versions in force from ``since`` until ``at``, in order."""
    changes = CreditSettings.objects.filter(changed_at__gt=since, changed_at__lte=at)
    return [settings_at(since), *changes.order_by("changed_at", "pk")]


def figures_of(job: Job) -> Mapping[str, int]:
    """Return what the job of a run has given so far: ``users`` and ``credits``."""
    if job.result:
        return job.result
    nothing: dict[str, Any] = {"users": 0, "credits": 0}
    done = job.chunks.exclude(done_at=None).order_by("lower").values_list("result", flat=True)
    return reduce(summed, (result or {} for result in done), nothing)
