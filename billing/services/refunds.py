"""
Refunds that staff ask for: decided here, made at Stripe, and taken from the books by what Stripe
says became of them.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from billing import gateway, tasks
from billing.choices import PaymentStatus, RefundStatus, ReviewKind
from billing.errors import NotRefundable, RefundWaiting
from billing.models import Payment, Refund
from billing.queries.payments import credits_of_refund, standing_of
from billing.services.reviews import open_review, refuse_own_payment
from billing.services.settlement import settle_payment
from creditsite.errors import Unavailable
from creditsite.money import format_money
from ledger import errors, keys
from ledger.queries.settings import settings_at
from ledger.queries.wallets import is_own_wallet
from ledger.services import posting
from ledger.services.bookings import Asked
from ledger.services.second_person import approval_waiting

REFUND = "billing.refund_payment"
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=6)
Payload = Mapping[str, Any]


def register() -> None:
    """Let :mod:`accounts.services.approvals` know large refunds."""
    approval_kind(
        REFUND,
        permission=REFUND,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: concerns(_payment(payload), user),
        state=state,
    )


# --- Asking ---------------------------------------------------------------------------------------
@transaction.atomic
def refund_payment(
    *,
    payment: Payment,
    amount_minor: int,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> Refund | Approval:
    """
    Send money of a payment back, as far as the rule goes; its credits follow once Stripe has it.

    Where that takes many credits, or nobody knows what was paid for, return the approval that it
    waits for.

    :param amount_minor: with tax, in minor units of the payment's currency.
    :raises NotPermitted: ``actor`` may not refund payments.
    :raises OwnWallet: they paid it, or may spend what it bought.
    :raises NotRefundable: the rule gives back less.
    :raises RefundWaiting: another one of this payment is on its way.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, REFUND)
    refuse_own_payment(actor, payment)
    fingerprint = keys.fingerprint("refund", reason, payment.pk, amount_minor)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    if known := _known(asked):
        return known
    locked = _refundable(payment, amount_minor, at)
    if actor is None or not takes_two(locked, amount_minor, at):
        return _keep(locked, amount_minor, asked)
    return request_approval(
        kind=REFUND,
        payload={"payment": locked.pk, "amount_minor": amount_minor},
        maker=actor,
        reason=reason,
        at=at,
        about=locked.user,
        caller=caller,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )


def takes_two(payment: Payment, amount_minor: int, at: datetime) -> bool:
    """Return whether a refund waits for a second person."""
    if payment.status != PaymentStatus.CREDITED:
        return True
    return credits_of_refund(payment, amount_minor) > settings_at(at).approval_adjustment_above


def execute(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    payment = _payment(payload)
    refuse_own_payment(approval.maker, payment)
    locked = _refundable(payment, payload["amount_minor"], at)
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    return {"refund": _keep(locked, payload["amount_minor"], asked).pk}


def describe(payload: Payload) -> str:
    payment = _payment(payload)
    amount = format_money(payload["amount_minor"], payment.currency)
    return f"Refund {amount} of {payment}, paid by {payment.user or 'somebody unknown'}"


def state(payload: Payload, at: datetime) -> list[str]:
    payment = _payment(payload)
    refundable = standing_of(payment, at).refundable_minor
    credits = credits_of_refund(payment, payload["amount_minor"])
    return [
        f"By the rule {format_money(refundable, payment.currency)} can be refunded now.",
        f"It takes {credits:,} of its credits back.",
    ]


def concerns(payment: Payment, user: User) -> bool:
    paid = payment.user_id == user.pk
    return paid or (payment.wallet is not None and is_own_wallet(user, payment.wallet))


def _payment(payload: Payload) -> Payment:
    return Payment.objects.select_related("user", "wallet", "grant").get(pk=payload["payment"])


def _known(asked: Asked) -> Refund | None:
    """:raises IdempotencyKeyReused: the key asked for another refund."""
    key = keys.digest(asked.caller, asked.idempotency_key or "")
    known = Refund.objects.filter(request_key=key).first()
    if known and known.fingerprint != asked.fingerprint:
        raise errors.IdempotencyKeyReused
    return known


def _refundable(payment: Payment, amount_minor: int, at: datetime) -> Payment:
    """
    Return the payment, locked, and its wallet with it, so that nothing is spent meanwhile.

    :raises NotRefundable: the rule gives back less.
    :raises RefundWaiting: another refund is on its way.
    """
    locked = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    if locked.refunds.filter(status=RefundStatus.WAITING).exists():
        raise RefundWaiting
    if locked.wallet_id:
        posting.lock_wallet(locked.wallet_id)
    refundable = standing_of(locked, at).refundable_minor
    if not 1 <= amount_minor <= refundable:
        raise NotRefundable(format_money(refundable, locked.currency))
    return locked


def _keep(payment: Payment, amount_minor: int, asked: Asked) -> Refund:
    refund = Refund.objects.create(
        payment=payment,
        amount_minor=amount_minor,
        reason=asked.reason,
        asked_by=asked.actor,
        asked_at=asked.at,
        request_key=keys.digest(asked.caller, asked.idempotency_key or ""),
        fingerprint=asked.fingerprint,
        next_try_at=asked.at,
    )
    audit.record(
        "billing.refund.asked",
        actor=asked.actor,
        target=payment,
        at=asked.at,
        reason=asked.reason,
        before={"returned_minor": payment.returned_minor},
        after={"refund_minor": amount_minor, "currency": payment.currency, "refund": refund.pk},
        approval_id=asked.approval_id,
    )
    transaction.on_commit(tasks.send_refunds.delay, robust=True)
    return refund


# --- Sending --------------------------------------------------------------------------------------
def send_refunds(*, clock: Callable[[], datetime] = timezone.now) -> None:
    """
    Have the refunds that wait made at Stripe, until none is due or Stripe does not answer.

    Any number of workers may. Who dies over one leaves it to the next, who first looks whether
    Stripe has it; and both use the same key.
    """
    while refund := claim(clock()):
        try:
            send(refund, clock)
        except Unavailable as failure:
            _note_failure(refund, failure, clock())
            break
        except Exception as failure:
            _note_failure(refund, failure, clock())
            raise


@transaction.atomic
def claim(at: datetime) -> Refund | None:
    """Return a refund that is due, ours until its lease ends."""
    due = Refund.objects.filter(status=RefundStatus.WAITING, next_try_at__lte=at)
    refund = due.select_for_update(skip_locked=True).order_by("next_try_at", "pk").first()
    if refund:
        refund.tries += 1
        refund.next_try_at = at + LEASE
        refund.save(update_fields=["tries", "next_try_at"])
    return refund


def send(refund: Refund, clock: Callable[[], datetime]) -> None:
    """
    Have one refund made, and the credits follow it.

    :raises PaymentsUnavailable: Stripe did not answer; it may have been done.
    """
    payment = refund.payment
    intent_id = payment.intent_id or ""
    if refund.tries > 1:
        settle_payment(intent_id, clock=clock)  # Which finds it at Stripe, if it is there.
        refund.refresh_from_db()
        if refund.status != RefundStatus.WAITING:
            return
    try:
        gateway.refund_payment(
            payment_intent=intent_id,
            amount_minor=refund.amount_minor,
            currency=payment.currency,
            metadata={"refund": str(refund.key)},
            idempotency_key=f"refund:{refund.key}",
        )
    except gateway.StripeRefused as refusal:
        _note_refusal(refund, refusal, clock())
        return
    settle_payment(intent_id, clock=clock)


@transaction.atomic
def _note_refusal(refund: Refund, refusal: gateway.StripeRefused, at: datetime) -> None:
    waiting = Refund.objects.filter(pk=refund.pk, status=RefundStatus.WAITING)
    if waiting.update(status=RefundStatus.REFUSED, next_try_at=None, error=str(refusal)[:2000]):
        amount = format_money(refund.amount_minor, refund.payment.currency)
        open_review(
            ReviewKind.REFUND_REFUSED,
            payment=refund.payment,
            object_id=f"refund:{refund.pk}",
            summary=f"{amount} were not refunded: {refusal}",
            at=at,
        )


def _note_failure(refund: Refund, failure: Exception, at: datetime) -> None:
    pause = min(FIRST_PAUSE * 2 ** min(refund.tries - 1, 20), LONGEST_PAUSE)
    Refund.objects.filter(pk=refund.pk, status=RefundStatus.WAITING, tries=refund.tries).update(
        error=f"{type(failure).__name__}: {failure}"[:2000], next_try_at=at + pause
    )
