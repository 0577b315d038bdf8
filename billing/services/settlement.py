"""
Payments as Stripe has them become payments as our books have them.

Whatever event comes, the whole state of its payment is read at Stripe, and the books are brought to
it. So it does not matter which events come, in which order, how often, or when.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from billing import gateway
from billing.choices import Effect, PaymentStatus, ReviewKind
from billing.errors import PaymentBusy
from billing.models import Payment, StripeCustomer
from billing.services.redemptions import redeem_promotion, release_promotion
from billing.services.returns import EFFECTS, note, take_back_what_returned
from billing.services.reviews import open_review
from billing.services.subscriptions import settle_invoice
from billing.stripe_objects import CheckoutSession, Dispute, PaymentIntent, Refund, uuid_in
from creditsite.money import format_money, is_currency
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.errors import WalletClosed
from ledger.models import Entry, Wallet
from ledger.services import posting
from ledger.services.allotments import CALLER
from ledger.services.posting import Header

READS = 5


@dataclass(frozen=True)
class State:
    """All that Stripe has on one payment, as it was when we asked."""

    intent: PaymentIntent
    refunds: list[Refund]
    disputes: list[Dispute]
    session: CheckoutSession | None


def settle_payment(
    intent_id: str,
    *,
    looks_for_disputes: bool = False,
    clock: Callable[[], datetime] = timezone.now,
) -> Payment | None:
    """
    Bring the books to what Stripe has on a payment: once, however often it is called.

    What nobody here asked for is kept as a suspended payment with a matter for review; ``None`` if
    nothing was paid on it either.

    :param looks_for_disputes: even where the charge itself does not say that it is disputed.
    :raises PaymentsUnavailable: Stripe did not answer.
    :raises PaymentBusy: others read the same payment all the time.
    """
    for _ in range(READS):
        if payment := begin_to_read(intent_id):
            if settled := bring_to(payment, read_state(payment, looks_for_disputes), clock()):
                return settled
        elif not find(gateway.retrieve_payment_intent(intent_id), clock):
            return None
    raise PaymentBusy


@transaction.atomic
def begin_to_read(intent_id: str) -> Payment | None:
    """
    Say that we are about to read a payment at Stripe; ``None``: it is not known here.

    Who began before, and has not acted yet, may have read what is old by now, and reads again.
    """
    payments = Payment.objects.select_for_update(no_key=True)
    payment = payments.filter(intent_id=intent_id).first()
    if payment:
        payment.reads += 1
        payment.save(update_fields=["reads"])
    return payment


def read_state(payment: Payment, looks_for_disputes: bool = False) -> State:
    intent = gateway.retrieve_payment_intent(payment.intent_id or "")
    has_refunds = intent.refunded_minor or payment.refunded_minor or payment.refunds.exists()
    has_disputes = (
        intent.is_disputed
        or looks_for_disputes
        or payment.effects.filter(effect__in=EFFECTS.values()).exists()
    )
    needs_session = payment.session_id and not payment.paid_at
    return State(
        intent,
        gateway.refunds_of(intent.id) if has_refunds else [],
        gateway.disputes_of(intent.id) if has_disputes else [],
        gateway.retrieve_checkout(payment.session_id or "") if needs_session else None,
    )


def find(intent: PaymentIntent, clock: Callable[[], datetime]) -> bool:
    """Find what an intent that is not known here is for; false if nothing was paid on it."""
    asks = intent.received_minor and "payment" not in intent.metadata
    if asks and (invoice_id := gateway.invoice_of_payment(intent.id)):
        settle_invoice(invoice_id, clock=clock)
    return adopt(intent)


@transaction.atomic
def adopt(intent: PaymentIntent) -> bool:
    """
    Find the payment that an intent of Stripe's is for, or make one that nobody here asked for.

    Return false for a stranger's intent on which nothing was paid.
    """
    if public_id := uuid_in(intent.metadata, "payment"):
        ours = Payment.objects.filter(public_id=public_id, intent_id=None)
        if ours.update(intent_id=intent.id):
            return True
    if Payment.objects.filter(intent_id=intent.id).exists():
        return True
    if not intent.received_minor or not is_currency(intent.currency):
        return False
    customer = StripeCustomer.objects.filter(customer_id=intent.customer or "").first()
    stranger = Payment(
        user=customer.user if customer else None,
        intent_id=intent.id,
        customer_id=intent.customer or "",
        currency=intent.currency,
        net_minor=intent.received_minor,
        created_at=intent.created_at,
    )
    Payment.objects.bulk_create([stranger], ignore_conflicts=True)
    return True


@transaction.atomic
def bring_to(read: Payment, state: State, at: datetime) -> Payment | None:
    """Bring the books to ``state``; ``None`` if somebody began to read it after us."""
    payment = Payment.objects.select_for_update(no_key=True).get(pk=read.pk)
    if payment.reads != read.reads:
        return None
    if state.intent.received_minor and payment.paid_at is None:
        receive(payment, state, at)
    elif state.intent.status == "canceled":
        end(payment, at)
    if payment.paid_at:
        take_back_what_returned(payment, state.refunds, state.disputes, at)
        free_promotion_of_nothing(payment, at)
    payment.save()
    return payment


def receive(payment: Payment, state: State, at: datetime) -> None:
    """Give the credits of a payment that was made, or hold them back and say why."""
    intent, session = state.intent, state.session
    payment.charged_minor, payment.paid_at = intent.received_minor, at
    payment.tax_minor = session.tax_minor if session else payment.tax_minor
    matter = what_is_wrong(payment, intent)
    if matter is None and payment.wallet:
        try:
            with transaction.atomic():
                credit(payment, payment.wallet, at)
        except WalletClosed:
            matter = ReviewKind.CLOSED, "The wallet was closed before the payment came."
    if matter:
        kind, why = matter
        payment.status = PaymentStatus.SUSPENDED
        payment.customer_id, payment.currency = intent.customer or "", intent.currency
        note(payment, intent.id, Effect.SUSPENDED, intent.received_minor, at)
        paid = format_money(intent.received_minor, intent.currency)
        open_review(
            kind, payment=payment, object_id=intent.id, summary=f"{paid} came in. {why}", at=at
        )


def what_is_wrong(payment: Payment, intent: PaymentIntent) -> tuple[ReviewKind, str] | None:
    if payment.wallet_id is None:
        who = "A user of ours paid" if payment.user_id else "The customer is not known here"
        return ReviewKind.UNKNOWN, f"{who}, and nothing here asked for it."
    asked = payment.net_minor + payment.tax_minor
    if (intent.received_minor, intent.currency) != (asked, payment.currency):
        return ReviewKind.MISMATCH, f"{format_money(asked, payment.currency)} were asked for."
    if payment.customer_id and intent.customer != payment.customer_id:
        return ReviewKind.MISMATCH, "Another customer paid it than was asked."
    return None


def credit(payment: Payment, wallet: Wallet, at: datetime) -> None:
    """
    Give what ``payment`` bought: its credits, and the bonus of its promotion.

    :raises WalletClosed: the wallet takes no credits any more.
    """
    posted = posting.post_grant(
        wallet=wallet.pk,
        amount=payment.credits,
        credit_type=CreditType.PURCHASE,
        source=GrantSource.PACKAGE,
        paid_minor=payment.net_minor,
        currency=payment.currency,
        header=Header(
            kind=TransactionKind.PURCHASE,
            at=at,
            caller=CALLER,
            key=keys.digest(CALLER, f"payment:{payment.intent_id}"),
            fingerprint=keys.fingerprint("payment", payment.intent_id, wallet.pk, payment.credits),
            reference_id=payment.intent_id or "",
            description=payment.description,
        ),
    )
    entry = Entry.objects.get(transaction=posted.transaction_id)
    if payment.redemption:
        payment.redemption = redeem_promotion(
            redemption=payment.redemption, wallet=wallet, reference=payment.intent_id or "", at=at
        )
    payment.grant_id, payment.status = entry.grant_id, PaymentStatus.CREDITED
    note(
        payment,
        payment.intent_id or "",
        Effect.CREDITED,
        payment.charged_minor,
        at,
        posted.transaction_id,
    )


def free_promotion_of_nothing(payment: Payment, at: datetime) -> None:
    """Free the promotion of a payment that bought nothing and went back whole."""
    went_back = payment.returned_minor == payment.charged_minor
    if payment.grant_id is None and went_back and payment.redemption:
        payment.redemption = release_promotion(redemption=payment.redemption, at=at)


def end(payment: Payment, at: datetime) -> None:
    """Say that nobody will pay it, and free its promotion. If it is paid after all, it counts."""
    if payment.status == PaymentStatus.OPEN:
        payment.status = PaymentStatus.ENDED
        if payment.redemption:
            payment.redemption = release_promotion(redemption=payment.redemption, at=at)


def end_checkout(session_id: str, *, at: datetime) -> None:
    """Say that the checkout of a payment has expired."""
    if payment := Payment.objects.filter(session_id=session_id).first():
        end_payment(payment, at=at)


@transaction.atomic
def end_payment(payment: Payment, *, at: datetime) -> None:
    """Say that nobody can pay ``payment`` any more; one that is paid stays as it is."""
    locked = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    end(locked, at)
    locked.save(update_fields=["status"])
