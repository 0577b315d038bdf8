"""
Adjustments of many wallets at once: drafted, planned, confirmed by their maker, run, reversed.

What is confirmed is the plan that was shown, known by its hash, and nothing else. A large one waits
for a second person; ``batch_runs`` does the work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services import jobs
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from creditsite.errors import CreditsiteError, InvalidRequest
from creditsite.text import clean_text, one_line
from ledger import errors
from ledger.choices import BatchKind, BatchStatus, CreditType, ShortPolicy
from ledger.models import Batch, BatchItem, Wallet
from ledger.queries.batches import progress_of, wallets_of
from ledger.queries.settings import settings_at
from ledger.services import batch_mail, batch_plans, batch_runs
from ledger.services.batch_files import BatchRow
from ledger.services.batch_words import phrase_of, sentence_of
from ledger.services.posting import LARGEST_AMOUNT

__all__ = ["phrase_of", "sentence_of"]

RUN, CONTROL = "ledger.run_batch", "ledger.control_batch"
PLAN_LIVES = timedelta(minutes=60)
# What one maker confirms within it without a second person counts together.
WINDOW = timedelta(hours=24)
ENDED = {"done", "cancelled"}


def register() -> None:
    """Make batches a kind of job, and confirming large ones a kind of request."""
    batch_runs.register()
    approval_kind(
        RUN,
        permission=RUN,
        execute=start_approved,
        describe=lambda payload: sentence_of(_batch(payload)),
        concerns=concerns,
        state=state_of,
        dropped=discard_dropped,
    )


# --- Drafting and planning ------------------------------------------------------------------------
@transaction.atomic
def draft_batch(
    *,
    kind: BatchKind,
    credit_type: CreditType | None,
    amount: int | None,
    selection: Mapping[str, Any],
    policy: ShortPolicy = ShortPolicy.SKIP,
    reason: str,
    maker: User | None,
    at: datetime,
    expires_at: datetime | None = None,
    rows: Iterable[BatchRow] | None = None,
) -> Batch:
    """
    Say what is to be done to whom, and why; :func:`plan_batch` works out what that comes to.

    :param credit_type: of every line; a file of opening balances has its own, and ``None`` here.
    :param amount: for each wallet; ``None`` for a file, whose lines have their own.
    :param selection: {"of": "all"}, {"of": "filter", "query": {…}} as in the address of the list of
        users, or {"of": "csv", "name": …, "sha256": …} with its ``rows``.
    :param policy: what a deduction does to a wallet that has less.
    :param maker: who confirms it; ``None`` for the system.
    :param expires_at: of the credits that are added.
    :raises NotPermitted: ``maker`` may not run batches.
    :raises InvalidAmount: an amount is out of range, or the credits would expire in the past.
    :raises InvalidRequest: the selection, the reason or the file will not do.
    """
    require(maker, RUN)
    reason = clean_text(one_line(reason), 500)
    if not reason:
        raise InvalidRequest("Say why.")
    _refuse_bad_terms(kind, credit_type, amount, rows is not None, expires_at, at)
    if rows is None:
        wallets_of(selection)
    elif selection.get("of") != "csv" or not selection.get("name"):
        raise InvalidRequest("Lines come from a file that has a name.")
    batch = Batch.objects.create(
        kind=kind,
        credit_type=credit_type or "",
        amount=amount,
        selection=selection,
        policy=policy if kind == BatchKind.DEDUCT else ShortPolicy.SKIP,
        expires_at=expires_at,
        reason=reason,
        maker=maker,
        created_at=at,
    )
    if rows is not None:
        batch_plans.keep_rows(batch, rows)
    return batch


def _refuse_bad_terms(
    kind: BatchKind,
    credit_type: CreditType | None,
    amount: int | None,
    is_file: bool,
    expires_at: datetime | None,
    at: datetime,
) -> None:
    if kind == BatchKind.REVERSAL:
        raise InvalidRequest("A reversal is made of the batch that it reverses.")
    if (kind == BatchKind.OPENING) != (credit_type is None) or (amount is None) != is_file:
        raise InvalidRequest("A batch has one type and one amount, or a file that tells them.")
    if kind == BatchKind.OPENING and not is_file:
        raise InvalidRequest("Opening balances come from a file.")
    largest = settings_at(at).largest_balance if kind == BatchKind.ADD else LARGEST_AMOUNT
    if amount is not None and not 1 <= amount <= largest:
        raise errors.InvalidAmount(f"An amount is 1 to {largest:,} credits for each.")
    if expires_at is not None and (kind != BatchKind.ADD or expires_at <= at):
        raise errors.InvalidAmount("Credits that are added expire in the future.")


@transaction.atomic
def plan_batch(*, batch: Batch, at: datetime) -> Batch:
    """
    Work out what ``batch`` would do now, and freeze it under its hash for an hour.

    A plan may be made anew until it is confirmed.

    :raises NotPermitted: who made it may not run batches any more.
    :raises BatchNotInState: it is confirmed or discarded.
    """
    batch = _locked(batch)
    require(batch.maker, RUN)
    _expect(batch, "planned", BatchStatus.DRAFT, BatchStatus.PLANNED)
    if batch.status == BatchStatus.PLANNED:
        batch.status = BatchStatus.DRAFT
        batch.save(update_fields=["status"])
    batch.plan = batch_plans.make_plan(batch, at)
    batch.planned_at, batch.plan_expires_at = at, at + PLAN_LIVES
    batch.plan_hash = batch_plans.hash_of(batch, batch.plan)
    batch.status = BatchStatus.PLANNED
    batch.save(update_fields=["plan", "planned_at", "plan_expires_at", "plan_hash", "status"])
    audit.record(
        "ledger.batch.planned",
        actor=batch.maker,
        target=batch,
        at=at,
        reason=batch.reason,
        after={"plan_hash": batch.plan_hash, "plan": batch.plan},
    )
    return batch


# --- Confirming -----------------------------------------------------------------------------------
def confirm_batch(
    *, batch: Batch, plan_hash: str, phrase: str, actor: User | None, at: datetime
) -> Batch | Approval:
    """
    Start ``batch`` as it was planned; of a large one, return the approval that it waits for.

    Confirming it again changes nothing. That it was refused is kept on record.

    :param plan_hash: of the plan that was shown.
    :param phrase: what was typed; :func:`phrase_of` says what it must be.
    :raises NotPermitted: ``actor`` may not run batches.
    :raises NotYourBatch: somebody else made it.
    :raises ConcernsYou: it touches a wallet of the actor's own.
    :raises BatchNotInState: it is no plan.
    :raises PlanChanged: it is another plan, or its items are not what was hashed.
    :raises PlanExpired: the plan is older than an hour.
    :raises WrongPhrase: something else was typed.
    :raises NothingToMove: there is nobody in it.
    """
    with _refusals_recorded(batch, actor, at):
        if actor is not None:
            # One confirmation of theirs at a time, since they count together; and the groups that
            # they have now.
            actor = User.objects.select_for_update(no_key=True).get(pk=actor.pk)
        require(actor, RUN)
        batch = _locked(batch)
        if batch.maker_id != (actor.pk if actor else None):
            raise errors.NotYourBatch
        if batch.status in {BatchStatus.WAITING, BatchStatus.STARTED}:
            if plan_hash != batch.plan_hash:
                raise errors.PlanChanged
            return batch.approval or batch if batch.status == BatchStatus.WAITING else batch
        _refuse_to_confirm(batch, plan_hash, phrase, at)
        if actor is None or not why_approval(batch, at):
            if actor is not None and concerns({"batch": batch.pk}, actor):
                raise errors.OwnWallet
            return batch_runs.start(batch, at)
        return _ask(batch, actor, at)


def _refuse_to_confirm(batch: Batch, plan_hash: str, phrase: str, at: datetime) -> None:
    _expect(batch, "confirmed", BatchStatus.PLANNED)
    if plan_hash != batch.plan_hash:
        raise errors.PlanChanged
    if batch.plan_expires_at is None or at >= batch.plan_expires_at:
        raise errors.PlanExpired
    if phrase_of(batch) and phrase != phrase_of(batch):
        raise errors.WrongPhrase(phrase=phrase_of(batch))
    if not batch.plan["items"]:
        raise errors.NothingToMove


def why_approval(batch: Batch, at: datetime) -> str:
    """Return why confirming ``batch`` takes a second person; "" where it does not."""
    if batch.maker is None:
        return ""
    settings = settings_at(at)
    alone = Batch.objects.filter(
        maker=batch.maker, approval=None, status=BatchStatus.STARTED, confirmed_at__gt=at - WINDOW
    ).exclude(pk=batch.pk)
    plans = [batch.plan, *alone.values_list("plan", flat=True)]
    together = f" together with {len(plans) - 1:,} of the last 24 hours" if plans[1:] else ""
    most, most_wallets = (
        settings.approval_batch_credits_above,
        settings.approval_batch_wallets_above,
    )
    if sum(plan["credits"] for plan in plans) > most:
        return f"It moves more than {most:,} credits{together}."
    if sum(plan["wallets"] for plan in plans) > most_wallets:
        return f"It is of more than {most_wallets:,} wallets{together}."
    return ""


def _ask(batch: Batch, actor: User, at: datetime) -> Approval:
    approval = request_approval(
        kind=RUN,
        payload={
            "batch": batch.pk,
            "plan_hash": batch.plan_hash,
            "kind": batch.kind,
            "credit_type": batch.credit_type,
            "wallets": batch.plan["wallets"],
            "credits": batch.plan["credits"],
        },
        maker=actor,
        reason=batch.reason,
        at=at,
        idempotency_key=f"batch:{batch.public_id}",
        tells_checkers=False,
    )
    batch.status, batch.approval, batch.confirmed_at = BatchStatus.WAITING, approval, at
    batch.save(update_fields=["status", "approval", "confirmed_at"])
    batch_mail.tell_requested(batch)
    return approval


@contextmanager
def _refusals_recorded(batch: Batch, actor: User | None, at: datetime) -> Iterator[None]:
    """Run the block as one transaction; that it was refused is kept though it is not."""
    try:
        with transaction.atomic():
            yield
    except CreditsiteError as refusal:
        with transaction.atomic():
            audit.record(
                "ledger.batch.denied", actor=actor, target=batch, at=at, reason=str(refusal)
            )
        raise


# --- The second person ----------------------------------------------------------------------------
def start_approved(
    *, payload: Mapping[str, Any], approval: Approval, at: datetime
) -> dict[str, Any]:
    """
    Start the batch that ``approval`` is of.

    :raises BatchNotInState: it does not wait for this approval.
    :raises PlanChanged: its plan is not the one that was asked for.
    """
    batch = _locked(_batch(payload))
    _expect(batch, "started", BatchStatus.WAITING)
    if batch.approval_id != approval.pk or batch.plan_hash != payload["plan_hash"]:
        raise errors.PlanChanged
    batch = batch_runs.start(batch, at, approval_id=approval.pk)
    return {"job": batch.job_id}


def discard_dropped(*, approval: Approval, at: datetime) -> None:
    """Discard the batch of an approval that was not given."""
    Batch.objects.filter(approval=approval, status=BatchStatus.WAITING).update(
        status=BatchStatus.DISCARDED
    )


def concerns(payload: Mapping[str, Any], user: User) -> bool:
    """Return whether a wallet that ``user`` owns or may spend from is in the batch."""
    seats = user.memberships.values("team")
    theirs = Wallet.objects.filter(Q(user=user) | Q(team__in=seats) | Q(user__owned_team__in=seats))
    items = BatchItem.objects.filter(batch=payload["batch"], wallet__in=list(theirs))
    return items.exists()


def state_of(payload: Mapping[str, Any], at: datetime) -> list[str]:
    """Say what the plan comes to, for who decides on it."""
    plan = _batch(payload).plan
    lines = [f"{plan['wallets']:,} wallets, {plan['credits']:,} credits at the most."]
    if plan["would_fall_below"]:
        lines.append(
            f"Wallets with less than that: {plan['would_fall_below']:,}; credits missing:"
            f" {plan['shortfall']:,}. As it stood, {plan['expected']:,} credits move."
        )
    return lines + [f"Left out: {count:,} ({why})." for why, count in plan["excluded"].items()]


def _batch(payload: Mapping[str, Any]) -> Batch:
    return Batch.objects.get(pk=payload["batch"])


# --- From there on --------------------------------------------------------------------------------
@transaction.atomic
def discard_batch(*, batch: Batch, actor: User | None, reason: str, at: datetime) -> Batch:
    """
    Give ``batch`` up before it is confirmed.

    :raises NotPermitted: ``actor`` may not run batches.
    :raises BatchNotInState: it is confirmed; what waits for approval is withdrawn there.
    """
    require(actor, RUN)
    batch = _locked(batch)
    _expect(batch, "discarded", BatchStatus.DRAFT, BatchStatus.PLANNED)
    batch.status = BatchStatus.DISCARDED
    batch.save(update_fields=["status"])
    audit.record("ledger.batch.discarded", actor=actor, target=batch, at=at, reason=reason)
    return batch


@transaction.atomic
def reverse_batch(*, batch: Batch, reason: str, actor: User | None, at: datetime) -> Batch:
    """
    Plan the reversal of ``batch``, a batch of its own, to be confirmed like any other.

    It takes back what is left of what was added, and puts back what was taken. A reversal that is
    only planned yet is planned anew.

    :raises NotPermitted: ``actor`` may not run batches.
    :raises BatchNotInState: it has not ended, or is a reversal itself.
    :raises AlreadyReversed: a reversal of it was confirmed.
    """
    require(actor, RUN)
    batch = _locked(batch)
    status = progress_of(batch).status
    if batch.kind == BatchKind.REVERSAL or status not in ENDED:
        what = "a reversal" if batch.kind == BatchKind.REVERSAL else status
        raise errors.BatchNotInState(verb="reversed", status=what)
    for other in batch.reversals.exclude(status=BatchStatus.DISCARDED):
        if other.status not in {BatchStatus.DRAFT, BatchStatus.PLANNED}:
            raise errors.AlreadyReversed
        discard_batch(batch=other, actor=actor, reason="Planned anew.", at=at)
    reversal = Batch.objects.create(
        kind=BatchKind.REVERSAL,
        credit_type=batch.credit_type,
        selection={"of": "batch", "id": batch.pk},
        policy=ShortPolicy.TAKE,
        reason=clean_text(one_line(reason), 500),
        maker=actor,
        created_at=at,
        reverses=batch,
    )
    return plan_batch(batch=reversal, at=at)


@transaction.atomic
def pause_batch(*, batch: Batch, actor: User, reason: str, at: datetime) -> Batch:
    """
    Stop ``batch`` after the chunks that are being worked.

    :raises NotPermitted: ``actor`` may not control batches.
    :raises JobNotInState: it is not running.
    """
    jobs.pause_job(job=_job_of(batch, actor, "paused"), actor=actor, reason=reason, at=at)
    return _fresh(batch)


@transaction.atomic
def resume_batch(*, batch: Batch, actor: User, reason: str, at: datetime) -> Batch:
    """
    Let ``batch`` go on where it stopped.

    :raises NotPermitted: ``actor`` may not control batches.
    :raises JobNotInState: it is neither paused nor failed.
    """
    jobs.resume_job(job=_job_of(batch, actor, "resumed"), actor=actor, reason=reason, at=at)
    return _fresh(batch)


@transaction.atomic
def cancel_batch(*, batch: Batch, actor: User, reason: str, at: datetime) -> Batch:
    """
    End ``batch`` after the chunks that are being worked. What it did stays done.

    :raises NotPermitted: ``actor`` may not control batches.
    :raises JobNotInState: it has ended already.
    """
    jobs.cancel_job(job=_job_of(batch, actor, "cancelled"), actor=actor, reason=reason, at=at)
    return _fresh(batch)


def work_batch(
    *, batch: Batch, at: datetime, report: Callable[[jobs.Progress], None] | None = None
) -> Batch:
    """
    Work a batch that was started, here, until it is done or stopped; others may be at it too.

    :raises BatchNotInState: it was never started; that somebody tried is kept on record.
    """
    batch = _fresh(batch)
    with _refusals_recorded(batch, None, at):
        if batch.job is None:
            raise errors.BatchNotInState(verb="run", status=batch.status)
    jobs.run_job(batch.job, report=report)
    return _fresh(batch)


def _job_of(batch: Batch, actor: User, verb: str) -> jobs.Job:
    require(actor, CONTROL)
    job = _fresh(batch).job
    if job is None:
        raise errors.BatchNotInState(verb=verb, status=batch.status)
    return job


def _fresh(batch: Batch) -> Batch:
    return Batch.objects.select_related("maker", "approval", "job", "reverses").get(pk=batch.pk)


def _locked(batch: Batch) -> Batch:
    """Return the row as it is now; who else moves it waits until this transaction ends."""
    Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
    return _fresh(batch)


def _expect(batch: Batch, verb: str, *statuses: BatchStatus) -> None:
    if batch.status not in statuses:
        raise errors.BatchNotInState(verb=verb, status=batch.status)
