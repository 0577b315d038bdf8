"""
Costs of projects, told in money: kept as they arrive, and turned into credits at every refresh.

What a cost is worth in credits is ``cost × (1 + margin) ÷ price of a credit`` in its currency, by
the settings and rates of the instant it is debited. A debit takes whole credits for all costs of a
project that wait; what it rounds up is kept on the project's account and taken off the next one, so
that any number of small costs is at most one credit dearer than all of them at once.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, localcontext
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.choices import CostStatus
from billing.errors import CostNotWaiting, CostTooLarge, UnknownCurrency
from billing.models import ProjectAccount, ProjectCost, ProjectDebit
from billing.models.projects import LONGEST_PROJECT, PLACES
from billing.queries.rates import prices_at, rate_in
from creditsite.errors import Conflict, CreditsiteError, InvalidRequest, NotPermitted, Unavailable
from creditsite.money import in_units, is_currency
from ledger import keys
from ledger.choices import TransactionKind
from ledger.errors import IdempotencyKeyReused
from ledger.models import CreditTransaction
from ledger.queries.settings import settings_at
from ledger.queries.wallets import payers_of
from ledger.services import posting
from ledger.services.allotments import CALLER
from ledger.services.posting import LARGEST_AMOUNT, Header

LARGEST_COST = 10**12
# Of one debit: so that the account is locked for moments only.
COSTS_AT_A_TIME = 5_000
PERIOD = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")
EXACT = Decimal(1).scaleb(-PLACES)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """
    A cost as it is told: money in minor units, for a month (2026-01) or a day (2026-01-31).

    ``reference_id`` names usage that may have been charged in credits already.
    """

    idempotency_key: str
    user_id: int
    project: str
    amount_minor: int
    currency: str
    period: str
    description: str = ""
    reference_id: str = ""


class Recorded(NamedTuple):
    """
    What became of a cost that was told.

    ``status`` is accepted, replayed or refused; ``code`` and ``why`` say why it was refused.
    """

    idempotency_key: str
    status: str
    cost_id: UUID | None = None
    code: str | None = None
    why: str | None = None


# --- Keeping them ---------------------------------------------------------------------------------
@transaction.atomic
def record_costs(
    *, costs: Sequence[Cost], caller: str, at: datetime, added_by: User | None = None
) -> list[Recorded]:
    """
    Keep each cost until the next refresh, once under its key of ``caller``.

    Results are in the order of ``costs``; nothing is raised for one that is refused. The queries
    are as many for one cost as for a thousand.
    """
    users = User.objects.filter(pk__in={cost.user_id for cost in costs}, is_active=True).in_bulk()
    prices, due_at = prices_at(at), next_refresh(at)
    known = set(_known(caller, costs))
    refused: dict[int, CreditsiteError] = {}
    new: dict[UUID, Cost] = {}
    for index, cost in enumerate(costs):
        key = keys.digest(caller, cost.idempotency_key)
        if key in known or key in new:
            continue
        try:
            refuse_impossible(cost, users.get(cost.user_id), prices, at, added_by)
        except CreditsiteError as refusal:
            refused[index] = refusal
        else:
            new[key] = cost
    accounts = _accounts_of(new.values())
    rows = [
        ProjectCost(
            key=key,
            account_id=accounts[cost.user_id, cost.project, cost.currency],
            fingerprint=fingerprint_of(cost),
            amount_minor=cost.amount_minor,
            period=cost.period,
            description=cost.description,
            reference_id=cost.reference_id,
            recorded_at=at,
            due_at=due_at,
            added_by=added_by,
        )
        for key, cost in new.items()
    ]
    # Somebody may tell the same at the same instant.
    ProjectCost.objects.bulk_create(rows, ignore_conflicts=True)
    kept, made = _known(caller, costs), {row.public_id for row in rows}
    return [
        _recorded(cost, caller, kept, made, refused.get(index)) for index, cost in enumerate(costs)
    ]


def _known(caller: str, costs: Sequence[Cost]) -> dict[UUID, ProjectCost]:
    digests = {keys.digest(caller, cost.idempotency_key) for cost in costs}
    return {row.key: row for row in ProjectCost.objects.filter(key__in=digests)}


def _accounts_of(costs: Iterable[Cost]) -> dict[tuple[int, str, str], int]:
    """Return the account of each user, project and currency, opened if there is none yet."""
    wanted = sorted({(cost.user_id, cost.project, cost.currency) for cost in costs})
    ProjectAccount.objects.bulk_create(
        (ProjectAccount(user_id=u, project=p, currency=c) for u, p, c in wanted),
        ignore_conflicts=True,
    )
    found = ProjectAccount.objects.filter(
        user__in={user for user, _, _ in wanted}, project__in={project for _, project, _ in wanted}
    )
    return {
        (user, project, currency): pk
        for pk, user, project, currency in found.values_list("pk", "user", "project", "currency")
    }


def fingerprint_of(cost: Cost) -> UUID:
    return keys.fingerprint(
        "project_cost", cost.user_id, cost.project, cost.amount_minor, cost.currency, cost.period,
        cost.description, cost.reference_id,
    )  # fmt: skip


def _recorded(
    cost: Cost,
    caller: str,
    kept: Mapping[UUID, ProjectCost],
    made: set[UUID],
    refusal: CreditsiteError | None,
) -> Recorded:
    """Return what became of a cost; of one that was told twice at once, the first was accepted."""
    row = kept.get(keys.digest(caller, cost.idempotency_key))
    if refusal is None and row is not None and row.fingerprint == fingerprint_of(cost):
        is_new = row.public_id in made
        made.discard(row.public_id)
        status = "accepted" if is_new else "replayed"
        return Recorded(cost.idempotency_key, status, row.public_id)
    refusal = refusal or IdempotencyKeyReused()
    return Recorded(cost.idempotency_key, "refused", code=refusal.code, why=str(refusal))


def refuse_impossible(
    cost: Cost,
    user: User | None,
    prices: Mapping[str, Decimal],
    at: datetime,
    added_by: User | None = None,
) -> None:
    """
    Refuse a cost that can never become credits.

    :param prices: of a credit, by currency.
    :raises InvalidRequest: it has no user, project, period, currency or amount that could be.
    :raises NotPermitted: it is of a project of ``added_by``.
    :raises UnknownCurrency: nothing says what a credit costs in its currency.
    """
    if user is None:
        raise InvalidRequest("There is no such active user.")
    if added_by is not None and user.pk == added_by.pk:
        raise NotPermitted("Nobody enters costs of their own.")
    if not 1 <= len(cost.project) <= LONGEST_PROJECT:
        raise InvalidRequest(f"A project has 1 to {LONGEST_PROJECT} characters.")
    if not 1 <= cost.amount_minor <= LARGEST_COST:
        raise InvalidRequest(f"A cost is 1 to {LARGEST_COST:,} minor units of its currency.")
    if not is_currency(cost.currency):
        raise InvalidRequest("The currency is none of ISO 4217, in lower case.")
    first = first_day(cost.period)
    if first is None:
        raise InvalidRequest("A period is a month such as 2026-01 or a day such as 2026-01-31.")
    # Somewhere it is tomorrow already.
    if first > (at.astimezone(UTC) + timedelta(days=1)).date():
        raise InvalidRequest("The period lies in the future.")
    if cost.currency not in prices:
        raise UnknownCurrency(cost.currency)


def first_day(period: str) -> date | None:
    """Return the day that a month or day begins with; ``None`` if it is neither."""
    if not PERIOD.fullmatch(period):
        return None
    try:
        return date.fromisoformat(period if len(period) == 10 else f"{period}-01")
    except ValueError:
        return None


def next_refresh(at: datetime) -> datetime:
    """Return the first instant after ``at`` at which costs become credits, counted from 1970."""
    interval = timedelta(minutes=settings_at(at).project_cost_refresh_minutes)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + ((at - epoch) // interval + 1) * interval


# --- Turning them into credits --------------------------------------------------------------------
def debit_due_costs(*, clock: Callable[[], datetime] = timezone.now) -> int:
    """
    Turn all costs that are due into debits, account by account; return how many debits were made.

    Any number of workers may. What cannot be debited now waits, and says for what; what fails is
    logged and left for the next time, and keeps no other from its turn.
    """
    made, passed = 0, set[int]()
    while True:
        at = clock()
        due = ProjectCost.objects.filter(status=CostStatus.WAITING, due_at__lte=at)
        accounts = due.exclude(account__in=passed).order_by("due_at").values_list("account")[:1]
        if not accounts:
            return made
        (account_id,) = accounts[0]
        try:
            debit = debit_account(account_id, at=at)
        except (Conflict, NotPermitted, Unavailable, UnknownCurrency) as refusal:
            due.filter(account=account_id).update(why=str(refusal)[:250])
            debit = None
        except Exception:
            log.exception("billing.project_debit_failed", account=account_id)
            debit = None
        made += debit is not None
        if debit is None:
            passed.add(account_id)


@transaction.atomic
def debit_account(account_id: int, *, at: datetime) -> ProjectDebit | None:
    """
    Turn the costs of one account that are due into one debit; ``None`` if there are none, or
    another worker is about it.

    Who pays is who pays for what the user spends; what that does not cover becomes their debt.

    :raises UnknownCurrency: credits are not sold in its currency any more.
    :raises WalletPaused: the wallet is paused.
    :raises WalletClosed: the wallet is closed.
    :raises CreditsDisabled: credits are switched off.
    """
    locked = ProjectAccount.objects.select_for_update(no_key=True, skip_locked=True)
    account = locked.select_related("user").filter(pk=account_id).first()
    if account is None:
        return None
    due = account.costs.filter(status=CostStatus.WAITING, due_at__lte=at).order_by("due_at", "pk")
    ids = list(due.values_list("pk", flat=True)[:COSTS_AT_A_TIME])
    payers = payers_of(account.user).wallet_ids
    set_apart_what_is_charged(account, payers, ids)
    costs = ProjectCost.objects.filter(pk__in=ids, status=CostStatus.WAITING)
    amount = costs.aggregate(total=Sum("amount_minor"))["total"]
    if not amount:
        return None
    rate, margin = rate_in(account.currency, at), settings_at(at).project_cost_margin
    due_credits = credits_due(amount, account.currency, rate.unit_price, margin)
    taken, account.ahead = rounded_up(due_credits, account.ahead)
    if taken > LARGEST_AMOUNT:
        raise CostTooLarge
    debit = ProjectDebit(
        account=account,
        at=at,
        amount_minor=amount,
        unit_price=rate.unit_price,
        margin=margin,
        due=due_credits,
        credits=taken,
    )
    if taken:
        debit.transaction_id = _draw(debit, account, payers, at)
    debit.save()
    account.save(update_fields=["ahead"])
    costs.update(status=CostStatus.DEBITED, debit=debit, why="")
    return debit


def set_apart_what_is_charged(
    account: ProjectAccount, payers: Sequence[int], ids: Sequence[int]
) -> None:
    """
    Say of costs whose usage was charged in credits, for the same project, that they are covered.

    Also where that was given back since: then nobody is to pay for it.
    """
    costs = account.costs.filter(pk__in=ids).exclude(reference_id="")
    references = list(costs.values_list("reference_id", flat=True))
    if not references:
        return
    charged = CreditTransaction.objects.filter(
        wallet__in=payers,
        kind=TransactionKind.USAGE,
        project=account.project,
        reference_id__in=references,
    )
    named = list(charged.values_list("reference_id", flat=True).distinct())
    costs.filter(reference_id__in=named).update(
        status=CostStatus.COVERED, why="Its usage was charged in credits."
    )


def _draw(
    debit: ProjectDebit, account: ProjectAccount, payers: Sequence[int], at: datetime
) -> UUID | None:
    key = f"project-debit:{debit.public_id}"
    posted = posting.draw(
        payers=payers,
        amount=debit.credits,
        short="debt",
        header=Header(
            kind=TransactionKind.USAGE,
            at=at,
            caller=CALLER,
            key=keys.digest(CALLER, key),
            fingerprint=keys.fingerprint("project_debit", debit.public_id, debit.credits),
            actor_id=account.user_id,
            project=account.project,
            reference_id=key,
            description="Project costs",
        ),
    )
    return posted.transaction_id


def credits_due(amount_minor: int, currency: str, unit_price: Decimal, margin: Decimal) -> Decimal:
    """
    Return what a cost comes to in credits, to a billionth: money × (1 + margin) ÷ price.

    :param margin: in percent.
    """
    with localcontext(prec=50):
        exact = in_units(amount_minor, currency) * (100 + margin) / 100 / unit_price
        return exact.quantize(EXACT, ROUND_HALF_UP)


def rounded_up(due: Decimal, ahead: Decimal) -> tuple[int, Decimal]:
    """
    Return the whole credits to take for ``due`` where ``ahead`` were taken in advance, and how many
    are ahead then: at least zero and less than one.
    """
    left = due - ahead
    taken = max(0, int(left.to_integral_value(ROUND_CEILING)))
    return taken, taken - left


# --- Taking one back before it becomes credits ----------------------------------------------------
@transaction.atomic
def void_costs(
    *, costs: Iterable[ProjectCost], reason: str, actor: User | None, at: datetime
) -> int:
    """
    Strike costs that wait: they never become credits. Return how many.

    :raises NotPermitted: ``actor`` may not, or one is of a project of their own.
    :raises CostNotWaiting: one was debited, or voided, meanwhile.
    """
    require(actor, "billing.void_projectcost")
    ids = sorted(cost.pk for cost in costs)
    locked = ProjectCost.objects.select_for_update(no_key=True, of=("self",)).order_by("pk")
    rows = list(locked.select_related("account__user").filter(pk__in=ids))
    for cost in rows:
        if actor is not None and cost.account.user_id == actor.pk:
            raise NotPermitted("Nobody voids costs of their own.")
        if cost.status != CostStatus.WAITING:
            raise CostNotWaiting
        cost.status, cost.why = CostStatus.VOIDED, reason[:250]
        cost.save(update_fields=["status", "why"])
        audit.record(
            "billing.project_cost.voided",
            actor=actor,
            target=cost,
            at=at,
            reason=reason,
            before={"status": CostStatus.WAITING},
            after={"status": CostStatus.VOIDED, "amount_minor": cost.amount_minor},
        )
    return len(rows)
