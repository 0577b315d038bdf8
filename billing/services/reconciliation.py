"""Runs that compare Stripe with the books: asked for, done by one worker at a time, told."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing import gateway, tasks
from billing.choices import BreakKind, ReconciliationStatus
from billing.errors import ReconciliationRunning
from billing.models import Break, Payment, Reconciliation
from billing.services.breaks import is_settleable, keep_breaks
from billing.services.comparison import Comparison, forget_known_after_all, windows
from billing.services.examination import examine
from billing.services.reconciliation_mail import tell_breaks
from billing.services.reviews import refuse_own_payment
from billing.services.settlement import settle_payment
from billing.services.subscriptions import settle_invoice
from creditsite.errors import Conflict, InvalidRequest

# A worker that was not heard of for so long has died.
LEASE = timedelta(minutes=20)
# A run that Stripe does not let be done is tried again for so long.
PATIENCE = timedelta(hours=12)
LONGEST_DAYS = 3_660
# Seconds between the tries of one window.
PAUSES = (2.0, 15.0)
Clock = Callable[[], datetime]

log = structlog.get_logger(__name__)


# --- Asking ---------------------------------------------------------------------------------------
@transaction.atomic
def ask_for_run(*, days: int, reason: str, actor: User | None, at: datetime) -> Reconciliation:
    """
    Have what was made at Stripe in the last ``days`` compared with the books, soon.

    :raises NotPermitted: ``actor`` may not.
    :raises InvalidRequest: that is no day, or more than ten years.
    :raises ReconciliationRunning: one waits to be done already.
    """
    require(actor, "billing.run_reconciliation")
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidRequest(f"Reconcile 1 to {LONGEST_DAYS:,} days.")
    waits = [ReconciliationStatus.WAITING, ReconciliationStatus.RUNNING]
    if actor and Reconciliation.objects.filter(status__in=waits).exists():
        raise ReconciliationRunning
    run = Reconciliation.objects.create(
        since=at - timedelta(days=days), until=at, asked_at=at, is_nightly=actor is None
    )
    if actor:
        audit.record("billing.reconciliation.asked", actor=actor, target=run, at=at, reason=reason)
    transaction.on_commit(tasks.work_reconciliations.delay, robust=True)
    return run


# --- Working --------------------------------------------------------------------------------------
def work_runs(*, clock: Clock = timezone.now) -> None:
    """Do the runs that wait, one after the other; also those whose worker has died."""
    while run := claim(clock()):
        try:
            work(run, clock=clock)
        except gateway.PaymentsUnavailable as failure:
            put_off(run, failure, clock())
            break
        except Exception as failure:
            put_off(run, failure, clock())
            raise


def claim(at: datetime) -> Reconciliation | None:
    """Return a run that is to be done, ours as long as we are heard of; one at a time runs."""
    status = ReconciliationStatus
    dead = Q(status=status.RUNNING, beat_at__lt=at - LEASE)
    try:
        with transaction.atomic():
            due = Reconciliation.objects.filter(Q(status=status.WAITING) | dead)
            # One that has died goes first: nobody else may run before.
            rows = due.select_for_update(skip_locked=True).order_by("status", "pk")
            run = rows.first()
            if run:
                begin(run, at)
            return run
    except IntegrityError:
        return None  # Another one runs.


def begin(run: Reconciliation, at: datetime) -> None:
    """:raises IntegrityError: another one runs."""
    run.status, run.started_at, run.beat_at = ReconciliationStatus.RUNNING, at, at
    run.save(update_fields=["status", "started_at", "beat_at"])


def start_at_once(*, since: datetime, at: datetime) -> Reconciliation:
    """
    Begin a run that the caller works itself.

    :raises ReconciliationRunning: another one is under way.
    """
    if lost := Reconciliation.objects.filter(
        status=ReconciliationStatus.RUNNING, beat_at__lt=at - LEASE
    ):
        lost.update(status=ReconciliationStatus.WAITING)
    try:
        with transaction.atomic():
            return Reconciliation.objects.create(
                status=ReconciliationStatus.RUNNING,
                since=since,
                until=at,
                asked_at=at,
                started_at=at,
                beat_at=at,
            )
    except IntegrityError:
        raise ReconciliationRunning from None


def work(run: Reconciliation, *, clock: Clock) -> None:
    """
    Compare Stripe with the books, and keep what differs.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    comparison = Comparison(clock)
    for begins, ends in windows(run.since, run.until):
        patiently(comparison, begins, ends)
        if not beat(run, clock()):
            return  # Somebody believes that we have died, and does it again.
    comparison.finish(run.since, run.until)
    end(run, comparison, clock())


def patiently(comparison: Comparison, begins: datetime, ends: datetime) -> None:
    for pause in PAUSES:
        try:
            comparison.compare(begins, ends)
        except gateway.PaymentsUnavailable:
            time.sleep(pause)
        else:
            return
    comparison.compare(begins, ends)


def beat(run: Reconciliation, at: datetime) -> bool:
    """Say that we are alive; return whether the run is still ours."""
    ours = Reconciliation.objects.filter(
        pk=run.pk, status=ReconciliationStatus.RUNNING, started_at=run.started_at
    )
    return bool(ours.update(beat_at=at))


@transaction.atomic
def end(run: Reconciliation, comparison: Comparison, at: datetime) -> None:
    still = open_breaks()
    run.payments, run.under_way = comparison.payments, comparison.under_way
    run.figures = comparison.figures
    run.breaks = still.count()
    run.new_breaks = still.filter(first_seen_at__gte=run.started_at).count()
    run.status, run.ended_at, run.error = ReconciliationStatus.DONE, at, ""
    run.save()
    log.info("stripe.reconciled", payments=run.payments, breaks=run.breaks)
    if run.is_nightly and run.breaks:
        tell_breaks(run, still)


def open_breaks() -> QuerySet[Break]:
    """Return the breaks that are there and that nobody has explained."""
    return Break.objects.filter(gone_at=None, explained_at=None)


def put_off(
    run: Reconciliation, failure: BaseException, at: datetime, *, again: bool = True
) -> None:
    """Have a run tried again, or give it up after half a day."""
    is_over = not again or run.asked_at < at - PATIENCE
    run.status = ReconciliationStatus.FAILED if is_over else ReconciliationStatus.WAITING
    run.ended_at, run.error = (
        (at if is_over else None),
        f"{type(failure).__name__}: {failure}"[:2000],
    )
    run.save(update_fields=["status", "ended_at", "error"])


def work_nightly(*, at: datetime) -> None:
    """Ask for the run of the night, where payments are set up."""
    if settings.STRIPE_SECRET_KEY:
        ask_for_run(days=settings.RECONCILIATION_DAYS, reason="", actor=None, at=at)


# --- Settling -------------------------------------------------------------------------------------
def settle_break(
    *, item: Break, reason: str, actor: User, clock: Callable[[], datetime]
) -> Payment | None:
    """
    Have the payment of a break settled, as an event that never came would have.

    :raises NotPermitted: ``actor`` may not.
    :raises OwnWallet: it is about a payment or a wallet of their own.
    :raises Conflict: settling does not mend breaks of its kind, or it is gone.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    require(actor, "billing.settle_break")
    if not is_settleable(Break.objects.get(pk=item.pk)):
        raise Conflict("Settling does not mend this, or it is gone.")
    if item.payment:
        refuse_own_payment(actor, item.payment)
    with transaction.atomic():
        audit.record("billing.break.settled", actor=actor, target=item, at=clock(), reason=reason)
    if item.kind == BreakKind.INVOICE:
        settle_invoice(item.object_id, clock=clock)
        forget_known_after_all(clock())
        return Payment.objects.filter(invoice_id=item.object_id).first()
    payment = settle_payment(item.intent_id, looks_for_disputes=True, clock=clock)
    finding = examine(item.intent_id, clock())
    keep_breaks(item.intent_id, finding.differences, payment=finding.payment, at=clock())
    return payment
