"""
Disputes of payments: kept as Stripe has them, decided here, and answered at Stripe.

What becomes of the credits is ``billing``'s affair: it freezes what is left while the bank decides,
and takes it back if the dispute is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Approval, User
from accounts.permissions import require, staff_may
from accounts.services.approvals import approval_kind, request_approval
from accounts.services.notices import tell
from audit import services as audit
from billing import gateway
from billing.models import Payment
from billing.queries.payments import credits_of_refund
from billing.services.refunds import concerns
from billing.services.reviews import refuse_own_payment
from billing.services.settlement import settle_payment
from billing.stripe_objects import Dispute as StripeDispute
from creditsite.errors import Unavailable
from creditsite.money import format_money
from disputes import tasks
from disputes.choices import AnswerKind, AnswerStatus
from disputes.errors import AnswerWaits, InvalidEvidence, NotToBeAnswered, TooLateToAnswer
from disputes.models import Answer, PaymentDispute
from ledger.queries.settings import settings_at

ANSWER = "disputes.answer_paymentdispute"
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=6)
# What of Stripe's evidence is text.
EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "uncategorized_text",
)
MOST_EVIDENCE = 100_000
Payload = Mapping[str, Any]


def register() -> None:
    """Let :mod:`accounts.services.approvals` know that large payments are given up."""
    approval_kind(
        ANSWER,
        permission=ANSWER,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: concerns(_dispute(payload).payment, user),
        state=lambda payload, at: [
            f"It is {_dispute(payload).get_status_display()}.",
            f"Losing it takes {credits_of(_dispute(payload)):,} credits back.",
        ],
        dropped=dropped,
    )


# --- What Stripe tells ----------------------------------------------------------------------------
def follow(*, payment: Payment, disputes: Sequence[StripeDispute], at: datetime) -> None:
    """Keep the disputes of a payment as Stripe has them; tell staff of those that are new."""
    for dispute in disputes:
        kept, is_new = PaymentDispute.objects.update_or_create(
            dispute_id=dispute.id,
            defaults={
                "status": dispute.status,
                "amount_minor": dispute.amount_minor,
                "has_evidence": dispute.has_evidence,
                "evidence_due_at": dispute.evidence_due_at,
                "read_at": at,
            },
            create_defaults={
                "payment": payment,
                "status": dispute.status,
                "reason": dispute.reason,
                "amount_minor": dispute.amount_minor,
                "currency": dispute.currency,
                "has_evidence": dispute.has_evidence,
                "evidence_due_at": dispute.evidence_due_at,
                "opened_at": dispute.created_at,
                "read_at": at,
            },
        )
        if is_new and kept.is_to_be_answered:
            tell_opened(kept)


def tell_opened(dispute: PaymentDispute) -> None:
    """Write to who may answer it, in the transaction that is open."""
    until = dispute.evidence_due_at
    staff = User.objects.filter(is_staff=True, is_active=True).order_by("pk")
    tell(
        [user for user in staff if staff_may(user, ANSWER)],
        subject="A payment is disputed",
        lines=["Accept it, or contest it with evidence, in the staff pages."],
        facts=[
            ("Amount", format_money(dispute.amount_minor, dispute.currency)),
            ("Reason", dispute.reason.replace("_", " ")),
            *([("Answer until", f"{until:%Y-%m-%d %H:%M} UTC")] if until else []),
        ],
    )


# --- Deciding -------------------------------------------------------------------------------------
@transaction.atomic
def contest_dispute(
    *,
    dispute: PaymentDispute,
    evidence: Mapping[str, str],
    reason: str,
    actor: User,
    at: datetime,
) -> Answer:
    """
    Have the bank told why the payment was right, once and finally.

    :param evidence: texts by Stripe's names for them, of ``EVIDENCE``.
    :raises NotPermitted: ``actor`` may not answer disputes of payments.
    :raises OwnWallet: they paid it, or may spend what it bought.
    :raises InvalidEvidence: there is none, too much, or of a kind that Stripe does not know.
    :raises NotToBeAnswered: it is answered, or over.
    :raises AnswerWaits: an answer is on its way, or waits for a second person.
    :raises TooLateToAnswer: evidence was due before ``at``.
    """
    require(actor, ANSWER)
    given = {name: text for name, text in evidence.items() if text}
    if not given or not given.keys() <= {*EVIDENCE}:
        raise InvalidEvidence(f"Evidence is one or more of: {', '.join(EVIDENCE)}.")
    if sum(len(text) for text in given.values()) > MOST_EVIDENCE:
        raise InvalidEvidence(f"Evidence has {MOST_EVIDENCE:,} characters in all at the most.")
    locked = answerable(dispute, actor)
    if locked.evidence_due_at and at >= locked.evidence_due_at:
        raise TooLateToAnswer(until=locked.evidence_due_at)
    return _keep(locked, AnswerKind.CONTEST, given, reason, actor, at)


@transaction.atomic
def accept_dispute(
    *, dispute: PaymentDispute, reason: str, actor: User, at: datetime
) -> Answer | Approval:
    """
    Give a dispute up: the money goes back, and the credits with it, once Stripe has it so.

    Where that takes many credits, return the approval that it waits for.

    :raises NotPermitted: ``actor`` may not answer disputes of payments.
    :raises OwnWallet: they paid it, or may spend what it bought.
    :raises NotToBeAnswered: it is answered, or over.
    :raises AnswerWaits: an answer is on its way, or waits for a second person.
    """
    locked = answerable(dispute, actor)
    if credits_of(locked) <= settings_at(at).approval_adjustment_above:
        return _keep(locked, AnswerKind.ACCEPT, {}, reason, actor, at)
    locked.approval = request_approval(
        kind=ANSWER,
        payload={"dispute": locked.pk},
        maker=actor,
        reason=reason,
        at=at,
        about=locked.payment.user,
    )
    locked.save(update_fields=["approval"])
    return locked.approval


def answerable(dispute: PaymentDispute, actor: User) -> PaymentDispute:
    """Return the dispute, locked, if ``actor`` may answer it now."""
    require(actor, ANSWER)
    locked = _locked(dispute.pk)
    refuse_own_payment(actor, locked.payment)
    if not locked.is_to_be_answered:
        raise NotToBeAnswered(status=locked.status)
    is_on_its_way = locked.answers.filter(status=AnswerStatus.WAITING).exists()
    if is_on_its_way or locked.approval_id:
        raise AnswerWaits
    return locked


def credits_of(dispute: PaymentDispute) -> int:
    """Return how many credits losing the dispute would take back."""
    return credits_of_refund(dispute.payment, dispute.amount_minor)


def _keep(
    dispute: PaymentDispute,
    kind: AnswerKind,
    evidence: Mapping[str, str],
    reason: str,
    actor: User,
    at: datetime,
    approval_id: int | None = None,
) -> Answer:
    answer = Answer.objects.create(
        dispute=dispute,
        answered_status=dispute.status,
        kind=kind,
        evidence=dict(evidence),
        reason=reason,
        asked_by=actor,
        asked_at=at,
        next_try_at=at,
    )
    audit.record(
        f"disputes.payment.{'accepted' if kind == AnswerKind.ACCEPT else 'contested'}",
        actor=actor,
        target=dispute,
        at=at,
        reason=reason,
        before={"status": dispute.status},
        after={"answer": answer.pk, "evidence": sorted(evidence)},
        approval_id=approval_id,
    )
    transaction.on_commit(tasks.send_answers.delay, robust=True)
    return answer


def execute(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    dispute = _locked(payload["dispute"])
    if dispute.approval_id != approval.pk:
        raise AnswerWaits
    dispute.approval = None
    dispute.save(update_fields=["approval"])
    locked = answerable(dispute, approval.maker)
    kept = _keep(locked, AnswerKind.ACCEPT, {}, approval.reason, approval.maker, at, approval.pk)
    return {"answer": kept.pk}


def dropped(*, approval: Approval, at: datetime) -> None:
    PaymentDispute.objects.filter(approval=approval).update(approval=None)


def describe(payload: Payload) -> str:
    dispute = _dispute(payload)
    amount = format_money(dispute.amount_minor, dispute.currency)
    paid_by = dispute.payment.user or "somebody unknown"
    return f"Accept the dispute of {amount} of {dispute.payment}, paid by {paid_by}"


def _dispute(payload: Payload) -> PaymentDispute:
    return PaymentDispute.objects.select_related("payment__user", "payment__wallet").get(
        pk=payload["dispute"]
    )


def _locked(pk: int) -> PaymentDispute:
    rows = PaymentDispute.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("payment__user", "payment__wallet").get(pk=pk)


# --- Telling Stripe -------------------------------------------------------------------------------
def send_answers(*, clock: Callable[[], datetime] = timezone.now) -> None:
    """
    Have the answers that wait told to Stripe, until none is due or Stripe does not answer.

    Any number of workers may. Who dies over one leaves it to the next, who first looks whether
    Stripe has it; and both use the same key.
    """
    while answer := claim(clock()):
        try:
            send(answer, clock)
        except Unavailable as failure:
            _note_failure(answer, failure, clock())
            break
        except Exception as failure:
            _note_failure(answer, failure, clock())
            raise


@transaction.atomic
def claim(at: datetime) -> Answer | None:
    """Return an answer that is due, ours until its lease ends."""
    due = Answer.objects.filter(status=AnswerStatus.WAITING, next_try_at__lte=at)
    answer = due.select_for_update(skip_locked=True).order_by("next_try_at", "pk").first()
    if answer:
        answer.tries += 1
        answer.next_try_at = at + LEASE
        answer.save(update_fields=["tries", "next_try_at"])
    return answer


def send(answer: Answer, clock: Callable[[], datetime]) -> None:
    """
    Tell Stripe one answer, and bring the books to what came of it.

    :raises PaymentsUnavailable: Stripe did not answer; it may have been done.
    """
    dispute = answer.dispute
    intent_id = dispute.payment.intent_id or ""
    key = f"dispute-answer:{answer.key}"
    if answer.tries == 1 or not _is_answered(answer, intent_id, clock):
        try:
            if answer.kind == AnswerKind.ACCEPT:
                gateway.concede_dispute(dispute.dispute_id, idempotency_key=key)
            else:
                gateway.submit_dispute_evidence(
                    dispute.dispute_id, evidence=answer.evidence, idempotency_key=key
                )
        except gateway.StripeRefused as refusal:
            _end(answer, AnswerStatus.REFUSED, str(refusal))
            settle_payment(intent_id, looks_for_disputes=True, clock=clock)
            return
    settle_payment(intent_id, looks_for_disputes=True, clock=clock)
    _end(answer, AnswerStatus.SENT)


def _is_answered(answer: Answer, intent_id: str, clock: Callable[[], datetime]) -> bool:
    """Look at Stripe whether the dispute is in another state than when it was answered."""
    settle_payment(intent_id, looks_for_disputes=True, clock=clock)
    return PaymentDispute.objects.get(pk=answer.dispute_id).status != answer.answered_status


def _end(answer: Answer, status: AnswerStatus, error: str = "") -> None:
    Answer.objects.filter(pk=answer.pk, status=AnswerStatus.WAITING).update(
        status=status, next_try_at=None, error=error[:2000]
    )


def _note_failure(answer: Answer, failure: Exception, at: datetime) -> None:
    pause = min(FIRST_PAUSE * 2 ** min(answer.tries - 1, 20), LONGEST_PAUSE)
    Answer.objects.filter(pk=answer.pk, status=AnswerStatus.WAITING, tries=answer.tries).update(
        error=f"{type(failure).__name__}: {failure}"[:2000], next_try_at=at + pause
    )
