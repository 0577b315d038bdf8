"""Costs of projects from a CSV file that staff upload, or that a command reads."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import IO, Any, NamedTuple

from django.db import transaction

from accounts.identity import normalise_email
from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from billing.errors import WrongLines
from billing.models import ProjectCost
from billing.queries.rates import prices_at, rate_in
from billing.services.project_costs import (
    Cost,
    credits_due,
    record_costs,
    refuse_impossible,
)
from creditsite.errors import InvalidRequest
from creditsite.money import format_money, is_currency, parse_money
from creditsite.text import clean_text, one_line
from ledger import keys
from ledger.errors import OwnWallet
from ledger.queries.settings import settings_at
from ledger.services.batch_files import quoted, read_lines
from ledger.services.bookings import Asked
from ledger.services.second_person import approval_waiting

ADD = "billing.add_projectcost"
COLUMNS = ("id", "email", "project", "cost", "currency", "period", "description", "reference")
REQUIRED = ("id", "email", "project", "cost", "currency", "period")
# Of a file that staff upload: what a person can answer for, and an approval can show.
MOST_LINES = 1_000
LINES_AT_A_TIME = 1_000
CALLER = "project-costs"


class Line(NamedTuple):
    """A line of a file: its cost, or what is wrong with it."""

    number: int
    cost: Cost | None
    why: str = ""


class Uploaded(NamedTuple):
    """How many costs of a file are new, and how many were entered before."""

    new: int
    repeated: int


def register() -> None:
    """Let :mod:`accounts.services.approvals` know large files of costs."""
    approval_kind(
        ADD,
        permission=ADD,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: any(row["user_id"] == user.pk for row in payload["costs"]),
    )


# --- Reading --------------------------------------------------------------------------------------
def read_costs(file: IO[bytes], *, at: datetime) -> Iterator[Line]:
    """
    Yield each line of a CSV file of costs, whose columns are ``COLUMNS``.

    ``id`` is the platform's own name of a cost, by which it is entered once for ever.

    :raises InvalidRequest: it is no such file.
    """
    rows, prices = read_lines(file, COLUMNS, required=REQUIRED, one_of=()), prices_at(at)
    for batch in _batches(rows):
        emails = {normalise_email(cells["email"]) for _, cells, errors in batch if not errors}
        users = {u.email: u for u in User.objects.filter(email__in=emails, is_active=True)}
        for number, cells, errors in batch:
            yield _line(number, cells, errors, users, prices, at)


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == LINES_AT_A_TIME:
            yield batch
            batch = []
    yield batch


def _line(
    number: int,
    cells: Mapping[str, str],
    errors: list[str],
    users: Mapping[str, User],
    prices: Mapping[str, Decimal],
    at: datetime,
) -> Line:
    if errors:
        return Line(number, None, "; ".join(errors))
    user = users.get(normalise_email(cells["email"]))
    if user is None:
        return Line(number, None, f"nobody active has the e-mail {quoted(cells['email'])}")
    currency = cells["currency"].lower()
    try:
        if not cells["id"] or len(cells["id"]) > 200:
            raise InvalidRequest("An id has 1 to 200 characters.")
        if not is_currency(currency):
            raise InvalidRequest(f"The currency is {quoted(cells['currency'])}, not one as USD.")
        cost = Cost(
            idempotency_key=cells["id"],
            user_id=user.pk,
            project=clean_text(one_line(cells["project"]), 200),
            amount_minor=parse_money(cells["cost"], currency),
            currency=currency,
            period=cells["period"],
            description=clean_text(one_line(cells["description"]), 250),
            reference_id=clean_text(one_line(cells["reference"]), 200),
        )
        refuse_impossible(cost, user, prices, at)
    except InvalidRequest as refusal:
        return Line(number, None, str(refusal))
    return Line(number, cost)


# --- Uploading ------------------------------------------------------------------------------------
@transaction.atomic
def upload_costs(
    *,
    file: IO[bytes],
    name: str,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> Uploaded | Approval:
    """
    Enter the costs of a file, all of them or none; return the approval where they wait for one.

    Each cost is entered once for ever under its ``id``, whatever file it is in.

    :raises NotPermitted: ``actor`` may not.
    :raises InvalidRequest: it is no file of costs, or has no line or too many.
    :raises WrongLines: it names the lines that cannot be, or that are entered differently already.
    :raises OwnWallet: a cost is of ``actor``'s own project.
    """
    require(actor, ADD)
    costs = _costs_of(file, at)
    rows = [asdict(cost) for cost in costs]
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    fingerprint = keys.fingerprint("project_costs", reason, name, digest)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    if actor is not None and any(cost.user_id == actor.pk for cost in costs):
        raise OwnWallet
    if actor is None or not takes_two(costs, at):
        return _enter(costs, name, asked)
    return request_approval(
        kind=ADD,
        payload={"file": name, "costs": rows},
        maker=actor,
        reason=reason,
        at=at,
        about=None,
        caller=caller,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )


def _costs_of(file: IO[bytes], at: datetime) -> list[Cost]:
    costs, wrong = [], []
    for line in read_costs(file, at=at):
        if line.number > MOST_LINES + 1:
            raise InvalidRequest(
                f"A file has {MOST_LINES:,} lines at the most; import_project_costs takes more."
            )
        if line.cost:
            costs.append(line.cost)
        else:
            wrong.append(f"Line {line.number:,}: {line.why}")
    if wrong:
        raise WrongLines(wrong)
    if not costs:
        raise InvalidRequest("The file names the columns, and has no line after that.")
    return costs


def takes_two(costs: list[Cost], at: datetime) -> bool:
    """Return whether so much, or for so many, waits for a second person."""
    settings = settings_at(at)
    users = len({cost.user_id for cost in costs})
    return (
        users > settings.approval_batch_wallets_above
        or credits_about(costs, at) > settings.approval_batch_credits_above
    )


def credits_about(costs: list[Cost], at: datetime) -> int:
    """Return about how many credits they come to, at the rates and the margin of now."""
    margin = settings_at(at).project_cost_margin
    total = 0
    for currency, amount in totals_of(costs).items():
        total += int(credits_due(amount, currency, rate_in(currency, at).unit_price, margin))
    return total


def totals_of(costs: list[Cost]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for cost in costs:
        totals[cost.currency] = totals.get(cost.currency, 0) + cost.amount_minor
    return totals


def execute(*, payload: Mapping[str, Any], approval: Approval, at: datetime) -> dict[str, Any]:
    costs = [Cost(**row) for row in payload["costs"]]
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    return _enter(costs, payload["file"], asked)._asdict()


def describe(payload: Mapping[str, Any]) -> str:
    costs = [Cost(**row) for row in payload["costs"]]
    users = len({cost.user_id for cost in costs})
    money = ", ".join(format_money(amount, code) for code, amount in totals_of(costs).items())
    return f"Enter {len(costs):,} project costs of {users:,} users, {money} in all"


def _enter(costs: list[Cost], name: str, asked: Asked) -> Uploaded:
    recorded = record_costs(costs=costs, caller=CALLER, at=asked.at, added_by=asked.actor)
    if refused := [f"{each.idempotency_key}: {each.why}" for each in recorded if each.why]:
        raise WrongLines(refused)
    done = Uploaded(
        sum(each.status == "accepted" for each in recorded),
        sum(each.status == "replayed" for each in recorded),
    )
    audit.record(
        "billing.project_costs.entered",
        actor=asked.actor,
        target=ProjectCost.objects.get(public_id=str(recorded[0].cost_id)),
        at=asked.at,
        reason=asked.reason,
        after={"file": name, "money": totals_of(costs), **done._asdict()},
        approval_id=asked.approval_id,
    )
    return done
