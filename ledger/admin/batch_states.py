"""How far a batch is, in the words and colours of its pages."""

from datetime import datetime
from typing import NamedTuple

from accounts.choices import JobStatus
from ledger.choices import BatchKind, BatchStatus
from ledger.models import Batch

PLAN_EXPIRED = "plan expired"
WORDS: dict[str, str] = {
    BatchStatus.PLANNED: "to be confirmed",
    BatchStatus.WAITING: "waiting for approval",
    JobStatus.PENDING: "queued",
}
COLOURS = {
    "draft": "info",
    "to be confirmed": "info",
    PLAN_EXPIRED: "warning",
    "waiting for approval": "warning",
    "queued": "primary",
    "running": "primary",
    "paused": "warning",
    "failed": "danger",
    "cancelled": "danger",
    "done": "success",
    "discarded": "warning",
}
PLANS = {BatchStatus.DRAFT, BatchStatus.PLANNED}
# What a page goes on asking about, until it changes.
LIVE = {JobStatus.PENDING, JobStatus.RUNNING}
HALTED = {JobStatus.PAUSED, JobStatus.FAILED}
ENDED = {JobStatus.DONE, JobStatus.CANCELLED}


def state_of(batch: Batch, at: datetime) -> str:
    """Return where ``batch`` stands; once it has started, that is where its job stands."""
    if batch.job is not None:
        return WORDS.get(batch.job.status, batch.job.status)
    if batch.status == BatchStatus.PLANNED and is_expired(batch, at):
        return PLAN_EXPIRED
    return WORDS.get(batch.status, batch.status)


def is_expired(batch: Batch, at: datetime) -> bool:
    return batch.plan_expires_at is not None and at >= batch.plan_expires_at


def is_to_confirm(batch: Batch, at: datetime) -> bool:
    """Return whether ``batch`` is a plan in time that would move something."""
    is_planned = batch.status == BatchStatus.PLANNED and not is_expired(batch, at)
    return is_planned and bool(batch.plan.get("wallets"))


def is_a_plan(batch: Batch) -> bool:
    return batch.status in PLANS


def takes(batch: Batch) -> bool:
    """Return whether ``batch`` takes credits away."""
    if batch.reverses is not None:
        return not takes(batch.reverses)
    return batch.kind == BatchKind.DEDUCT


def job_is(batch: Batch, statuses: set[JobStatus]) -> bool:
    return batch.job is not None and batch.job.status in statuses


def is_reversible(batch: Batch) -> bool:
    """Return whether ``batch`` has ended, and no reversal of it is under way."""
    if batch.kind == BatchKind.REVERSAL or not job_is(batch, ENDED):
        return False
    reversals = Batch.objects.filter(reverses=batch)
    return not reversals.exclude(status=BatchStatus.DISCARDED).exists()


# --- The trail ------------------------------------------------------------------------------------
class Step(NamedTuple):
    """A step on the way of a batch: ``state`` is done, now, stopped or ahead."""

    label: str
    state: str
    at: datetime | None = None
    by: str = ""


def trail(batch: Batch | None, at: datetime, *, takes_two: bool = False) -> list[Step]:
    """Return the steps of ``batch``, or of a new one, and how far it has gone."""
    if batch is None:
        ahead = [Step(label, "ahead") for label in ("Preview", "Confirm", "Run", "Result")]
        return [Step("Draft", "now"), *ahead]
    approval = batch.approval
    ended_at = batch.job.finished_at if batch.job else None
    steps = [
        Step("Draft", "done", batch.created_at, str(batch.maker or "the system")),
        Step("Preview", "done", batch.planned_at),
        Step("Confirm", "done", batch.confirmed_at),
    ]
    if approval is not None:
        steps.append(Step("Approval", "done", approval.decided_at, str(approval.checker or "")))
    elif takes_two:
        steps.append(Step("Approval", "done"))
    steps += [Step("Run", "done", ended_at), Step("Result", "done", ended_at)]
    position = next((n for n, step in enumerate(steps) if step.at is None), len(steps) - 1)
    if has_stopped(batch, at):
        steps[position] = steps[position]._replace(state="stopped")
    elif steps[position].at is None:
        steps[position] = steps[position]._replace(state="now")
    return [
        step._replace(state="ahead", at=None) if number > position else step
        for number, step in enumerate(steps)
    ]


def has_stopped(batch: Batch, at: datetime) -> bool:
    is_off = batch.status == BatchStatus.DISCARDED or state_of(batch, at) == PLAN_EXPIRED
    return is_off or job_is(batch, HALTED | {JobStatus.CANCELLED})
