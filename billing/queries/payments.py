"""What a payment bought, what is left of it, and what of its money may go back."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.urls import NoReverseMatch, reverse

from accounts.models import User
from billing.choices import PaymentStatus
from billing.models import Payment
from billing.queries.subscriptions import Promised, promised_of
from ledger.choices import TransactionKind
from ledger.models import Debt, Entry, Grant, Restoration


def lot_of(grant_id: UUID) -> list[Grant]:
    """Return a grant as it is now, and all that was carried over from it, newest first."""
    grant = Grant.objects.get(pk=grant_id)
    lot, latest = [grant], [grant]
    while latest:
        carried = Grant.objects.filter(wallet=grant.wallet_id, carried_from__in=latest)
        latest = list(carried.order_by("effective_at", "pk"))
        lot += latest
    return lot[::-1]


def grants_of(payment: Payment) -> list[UUID]:
    """Return the grants of what it bought, newest first: one, or one for each month so far."""
    if payment.grant_id:
        return [payment.grant_id]
    months = payment.slices.exclude(grant=None).order_by("-posted_at", "-number")
    return list(months.values_list("grant", flat=True))


def lot_of_payment(payment: Payment) -> list[Grant]:
    """Return those grants as they are, and what was carried over from them, newest first."""
    return [grant for grant_id in grants_of(payment) for grant in lot_of(grant_id)]


def bought_by(payment: Payment) -> int:
    """Return the credits that a payment bought, those of months to come too."""
    return payment.grant.amount if payment.grant else payment.credits


def owed_for(lot: list[Grant]) -> int:
    """Return the credits that are still owed on account of these grants."""
    debts = Debt.objects.filter(grant__in=lot, is_open=True)
    return debts.aggregate(sum=Sum("outstanding"))["sum"] or 0


@dataclass(frozen=True)
class Standing:
    """
    What became of what a payment bought: credits, and money in minor units with tax.

    ``free`` can be spent now; ``promised`` are of months to come; ``refundable_minor`` is what the
    rule gives back.
    """

    credits: int = 0
    spent: int = 0
    expired: int = 0
    taken_back: int = 0
    held: int = 0
    left: int = 0
    free: int = 0
    owed: int = 0
    bonus: int = 0
    bonus_left: int = 0
    promised: int = 0
    refundable_minor: int = 0


def standing_of(payment: Payment, at: datetime) -> Standing:
    """
    Return how a payment stands; refundable = paid × (remaining not held) ÷ amount.

    Nothing can be refunded while a chargeback is decided. Of what was never credited, all can.
    """
    open_minor = payment.charged_minor - payment.returned_minor
    if payment.status != PaymentStatus.CREDITED:
        return Standing(refundable_minor=0 if payment.is_disputed else open_minor)
    lot = lot_of_payment(payment)
    promised = promised_of(payment) if payment.invoice_id else Promised(0, 0, 0, 0)
    bonus_id = payment.redemption.grant_id if payment.redemption else None
    bonuses = lot_of(bonus_id) if bonus_id else []
    free = sum(g.remaining - g.held for g in lot if is_live(g, at))
    expired = expired_of(lot)
    amount = bought_by(payment)
    unused = free + promised.open_credits
    by_rule = payment.charged_minor * unused // amount if amount else 0
    owed = owed_for(lot)
    return Standing(
        credits=amount,
        spent=sum(g.consumed for g in lot) - expired,
        expired=expired,
        taken_back=sum(g.clawback_target for g in lot) - owed + promised.void,
        held=sum(g.held for g in lot),
        left=sum(g.remaining for g in lot),
        free=free,
        owed=owed,
        bonus=bonuses[-1].amount if bonuses else 0,
        bonus_left=sum(g.remaining for g in bonuses),
        promised=promised.open_credits,
        refundable_minor=0 if payment.is_disputed else min(by_rule, open_minor),
    )


def is_live(grant: Grant, at: datetime) -> bool:
    return not grant.is_frozen and (grant.expires_at is None or grant.expires_at > at)


def expired_of(lot: list[Grant]) -> int:
    """Return the credits that expired unspent, less what was put back of them."""
    lines = {
        (transaction, position): -amount
        for transaction, position, amount in Entry.objects.filter(
            grant__in=lot, transaction__kind=TransactionKind.EXPIRY
        ).values_list("transaction_id", "position", "amount")
    }
    restored = Restoration.objects.filter(original__in={transaction for transaction, _ in lines})
    for transaction, position, amount in restored.values_list("original_id", "position", "amount"):
        if (transaction, position) in lines:
            lines[transaction, position] -= amount
    return sum(lines.values())


def share(whole: int, returned_minor: int, charged_minor: int) -> int:
    """Return what of ``whole`` goes back with the money: floor(whole × returned ÷ charged)."""
    return whole * returned_minor // charged_minor if charged_minor else 0


def credits_of_refund(payment: Payment, amount_minor: int) -> int:
    """Return how many credits a refund of so much would take back."""
    if payment.status != PaymentStatus.CREDITED:
        return 0
    amount, charged = bought_by(payment), payment.charged_minor
    before = share(amount, payment.returned_minor, charged)
    after = min(payment.returned_minor + amount_minor, charged)
    return share(amount, after, charged) - before


def payments_of(user: User) -> QuerySet[Payment]:
    """Return what ``user`` paid or is to pay, with all that they are shown of it."""
    related = "price__version__offer", "redemption__promotion"
    return Payment.objects.filter(user=user).select_related(*related)


def receipt_path(payment: Payment) -> str:
    """Return where the receipt of a paid payment is."""
    try:
        return reverse("billing_receipt", args=[payment.public_id])
    except NoReverseMatch:
        return reverse("billing_payment", args=[payment.public_id])
