"""
Money that went back: what refunds and chargebacks take from what a payment gave.

All follows from one figure, what went back in all by Stripe's own account; so whatever the order in
which one hears of it, and however often, the books end the same.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from billing.choices import (
    Effect,
    PaymentStatus,
    PromisedMove,
    RefundStatus,
    ReviewKind,
    SliceStatus,
)
from billing.events import payment_disputed
from billing.models import Payment, PaymentEffect, PromisedMoney, Refund
from billing.queries.payments import (
    bought_by,
    grants_of,
    lot_of,
    lot_of_payment,
    owed_for,
    share,
)
from billing.queries.subscriptions import promised_of
from billing.services.payment_mail import tell_effect
from billing.services.receipts import issue_receipt
from billing.services.reviews import open_review
from billing.stripe_objects import Dispute
from billing.stripe_objects import Refund as StripeRefund
from creditsite.money import format_money
from ledger import keys
from ledger.choices import TransactionKind
from ledger.models import Grant
from ledger.services import posting
from ledger.services.allotments import CALLER
from ledger.services.posting import Header

NOT_SENT = {"failed", "canceled"}
DECIDING = {"needs_response", "under_review"}
ASKING = {"warning_needs_response", "warning_under_review"}
EFFECTS = {
    **dict.fromkeys(DECIDING, Effect.DISPUTED),
    **dict.fromkeys(ASKING, Effect.INQUIRY),
    "warning_closed": Effect.CLOSED,
    "lost": Effect.LOST,
    "won": Effect.WON,
}
STATUSES = {
    **dict.fromkeys(NOT_SENT, RefundStatus.FAILED),
    "succeeded": RefundStatus.SUCCEEDED,
}


def take_back_what_returned(
    payment: Payment, refunds: Sequence[StripeRefund], disputes: Sequence[Dispute], at: datetime
) -> None:
    """
    Bring the grants of a paid ``payment``, which is locked, to what these say; the caller saves it.
    """
    sent = [refund for refund in refunds if refund.status not in NOT_SENT]
    lost = [dispute for dispute in disputes if dispute.status == "lost"]
    payment.refunded_minor = sum(refund.amount_minor for refund in sent)
    payment.charged_back_minor = sum(dispute.amount_minor for dispute in lost)
    gone = payment.refunded_minor + payment.charged_back_minor
    before, payment.returned_minor = payment.returned_minor, min(payment.charged_minor, gone)
    transaction = _move_credits(payment, at) if payment.returned_minor != before else None
    _freeze(payment, any(dispute.status in DECIDING for dispute in disputes), at)
    _note_refunds(payment, refunds, transaction, at)
    _note_disputes(payment, disputes, transaction, at)


def _move_credits(payment: Payment, at: datetime) -> UUID | None:
    """Take back, or give back, in all grants of the payment; return the first transaction of it."""
    if payment.status != PaymentStatus.CREDITED or payment.wallet_id is None:
        return None
    posting.lock_wallet(payment.wallet_id)  # A reversal may carry credits over, out of one grant.
    part = payment.returned_minor, payment.charged_minor
    lot = lot_of_payment(payment)
    credits, money = share(bought_by(payment), *part), share(payment.net_minor, *part)
    if payment.invoice_id:
        credits, money = _take_promised(payment, credits, money, at)
    moved = _spread(payment, lot, credits, money, at)
    if payment.redemption and payment.redemption.grant_id:
        bonus = lot_of(payment.redemption.grant_id)
        _spread(payment, bonus, share(bonus[-1].amount, *part), 0, at)
    if moved and (owed := owed_for(lot)):
        open_review(
            ReviewKind.DEBT,
            payment=payment,
            object_id=payment.intent_id or "",
            summary=f"{owed:,} credits are owed.",
            at=at,
        )
    return moved


def _take_promised(payment: Payment, target: int, minor: int, at: datetime) -> tuple[int, int]:
    """
    Take as much of what is to go back as there is from what is not allotted yet; return the rest.

    The months to come go first, the last one before the others.
    """
    promised = promised_of(payment)
    taken_minor = min(promised.minor, minor)
    # A credit stays as long as there is money that it must carry.
    most = promised.credits if taken_minor == promised.minor else promised.credits - 1
    taken = min(most, target)
    unposted = payment.slices.exclude(status=SliceStatus.POSTED)
    months = list(unposted.order_by("-due_at", "-number"))
    voided = parts(taken, [(month.voided, month.credits) for month in months])
    for month, part in zip(months, voided, strict=True):
        if month.voided != part:
            month.voided = part
            month.save(update_fields=["voided"])
    if taken_minor != promised.returned_minor:
        PromisedMoney.objects.create(
            payment=payment,
            move=PromisedMove.RETURNED,
            amount_minor=promised.returned_minor - taken_minor,
            currency=payment.currency,
            at=at,
        )
    return target - taken, minor - taken_minor


def _spread(
    payment: Payment, lot: list[Grant], target: int, returned_minor: int, at: datetime
) -> UUID | None:
    """Tell each grant of ``lot``, newest first, its part of what is to be taken back in all."""
    first = None
    targets = parts(target, [(g.clawback_target, g.amount - g.carried) for g in lot])
    moneys = parts(
        returned_minor, [(g.returned_minor, g.paid_minor - g.carried_minor) for g in lot]
    )
    for grant, part, money in zip(lot, targets, moneys, strict=True):
        was = (grant.clawback_target, grant.returned_minor)
        if (part, money) == was:
            continue
        posted = posting.claw_back(
            grant=grant.pk,
            target=part,
            returned_minor=money,
            header=Header(
                kind=(
                    TransactionKind.CLAWBACK
                    if (part, money) > was
                    else TransactionKind.REINSTATEMENT
                ),
                at=at,
                caller=CALLER,
                # One for each time that the payment is settled: it is locked meanwhile.
                key=keys.digest(CALLER, f"payment:{payment.pk}:{payment.reads}:{grant.pk}"),
                fingerprint=keys.fingerprint("claw_back", grant.pk, part, money),
                reference_id=payment.intent_id or "",
            ),
        )
        first = first or posted.transaction_id
    return first


def parts(total: int, shares: Sequence[tuple[int, int]]) -> list[int]:
    """
    Return what each has of ``total`` when only the difference to what they have moves.

    Each share is what one has and the most that it may; the first are filled first, and emptied
    last.
    """
    difference = total - sum(has for has, _ in shares)
    found = [has for has, _ in shares]
    order = range(len(shares)) if difference > 0 else reversed(range(len(shares)))
    for n in order:
        has, most = shares[n]
        moved = max(min(difference, most - has), -has)
        found[n] += moved
        difference -= moved
    return found


def _freeze(payment: Payment, is_disputed: bool, at: datetime) -> None:
    """Freeze what is left while a chargeback is decided; thaw it afterwards."""
    if payment.is_disputed != is_disputed:
        grants = grants_of(payment)
        if grants and payment.redemption and payment.redemption.grant_id:
            grants.append(payment.redemption.grant_id)
        if grants:
            posting.freeze(grants=grants, frozen=is_disputed, at=at)
    payment.is_disputed = is_disputed


def note(
    payment: Payment,
    object_id: str,
    effect: Effect,
    amount_minor: int,
    at: datetime,
    transaction: UUID | None = None,
) -> bool:
    """Keep what an object did to the payment, and write to whom it concerns; say if it is new."""
    _, is_new = PaymentEffect.objects.get_or_create(
        object_id=object_id,
        effect=effect,
        defaults={
            "payment": payment,
            "amount_minor": amount_minor,
            "transaction_id": transaction,
            "at": at,
        },
    )
    if is_new and effect == Effect.CREDITED:
        issue_receipt(payment, at=at)
    if is_new:
        tell_effect(payment, effect, amount_minor)
    return is_new


def _note_refunds(
    payment: Payment, refunds: Iterable[StripeRefund], transaction: UUID | None, at: datetime
) -> None:
    for refund in refunds:
        _note_on_ours(payment, refund)
        effect = Effect.REFUND_FAILED if refund.status in NOT_SENT else Effect.REFUNDED
        is_new = note(payment, refund.id, effect, refund.amount_minor, at, transaction)
        if is_new and refund.status == "failed":
            open_review(
                ReviewKind.REFUND_FAILED,
                payment=payment,
                object_id=refund.id,
                summary=f"{format_money(refund.amount_minor, refund.currency)} came back"
                f" from the bank: {refund.failure or 'no reason given'}.",
                at=at,
            )


def _note_on_ours(payment: Payment, refund: StripeRefund) -> None:
    """Say on the refund that staff asked for, if this is it, what became of it."""
    key = refund.metadata.get("refund", "")
    ours = Refund.objects.filter(payment=payment, refund_id=refund.id).first() or next(
        (each for each in payment.refunds.filter(refund_id=None) if str(each.key) == key), None
    )
    if ours:
        ours.status = STATUSES.get(refund.status, RefundStatus.PENDING)
        ours.refund_id, ours.next_try_at, ours.error = refund.id, None, refund.failure or ""
        ours.save(update_fields=["status", "refund_id", "next_try_at", "error"])


def _note_disputes(
    payment: Payment, disputes: Sequence[Dispute], transaction: UUID | None, at: datetime
) -> None:
    if disputes:
        payment_disputed.publish(payment=payment, disputes=disputes, at=at)
    for dispute in disputes:
        effect = EFFECTS.get(dispute.status)
        if effect is None:
            continue
        is_new = note(payment, dispute.id, effect, dispute.amount_minor, at, transaction)
        if is_new and effect in {Effect.DISPUTED, Effect.INQUIRY}:
            until = dispute.evidence_due_at
            open_review(
                ReviewKind.DISPUTE,
                payment=payment,
                object_id=dispute.id,
                summary=f"{format_money(dispute.amount_minor, dispute.currency)},"
                f" {dispute.reason.replace('_', ' ')}."
                + (f" Answer until {until:%Y-%m-%d %H:%M} UTC." if until else ""),
                at=at,
            )
