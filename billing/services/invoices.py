"""A paid invoice becomes a payment, and what its lines entitle to becomes the months to post."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import F, Sum

from billing.choices import Effect, PaymentStatus, PromisedMove, ReviewKind
from billing.entitlements import Line, entitlement_of, months_of, net_and_tax
from billing.models import OfferPrice, Payment, PromisedMoney, Slice, Subscription
from billing.queries.subscriptions import on_going
from billing.services.returns import note
from billing.services.reviews import open_review
from billing.stripe_objects import Invoice, InvoiceLine
from creditsite.money import format_money
from ledger.models import Wallet
from ledger.queries.settings import settings_at

Prices = Mapping[str, OfferPrice]
CYCLE = "subscription_cycle"
CLOCKS_DIFFER = timedelta(minutes=5)


def receive_invoice(
    subscription: Subscription, invoice: Invoice, prices: Prices, at: datetime
) -> Payment:
    """
    Make the payment of an invoice that was paid, with its months; or hold it back, and say why.

    The subscription is locked, and its wallet.
    """
    lines = [priced_line_of(line, prices[str(line.price)]) for line in known(invoice, prices)]
    net, tax = net_and_tax(invoice.paid_minor, invoice.total_minor, invoice.tax_minor)
    payment = Payment(
        user=subscription.user,
        wallet=subscription.wallet,
        subscription=subscription,
        invoice_id=invoice.id,
        intent_id=invoice.payment_intent,
        customer_id=invoice.customer or "",
        description=description_of(invoice, prices),
        currency=invoice.currency,
        net_minor=net,
        tax_minor=tax,
        charged_minor=invoice.paid_minor,
        created_at=invoice.created_at,
        paid_at=at,
    )
    why = what_is_wrong(subscription, invoice, prices)
    if why is None and subscription.wallet:
        set_anchor(subscription, invoice)
        why = schedule(payment, subscription.wallet, subscription, lines, at)
    if why:
        hold_back(payment, *why, at)
    else:
        note(payment, invoice.id, Effect.CREDITED, payment.charged_minor, at)
        say_if_second(payment, subscription, at)
    return payment


def known(invoice: Invoice, prices: Prices) -> list[InvoiceLine]:
    return [line for line in invoice.lines if line.price in prices]


def priced_line_of(line: InvoiceLine, price: OfferPrice) -> Line:
    return Line(
        version=price.version_id,
        credits=price.version.credits * price.months,
        price_minor=price.amount_minor,
        amount_minor=line.amount_minor,
        starts_at=line.period_start,
        ends_at=line.period_end,
        is_proration=line.is_proration,
    )


def description_of(invoice: Invoice, prices: Prices) -> str:
    lines = sorted(known(invoice, prices), key=lambda line: (line.amount_minor, line.period_end))
    if not lines:
        return ""
    price = prices[str(lines[-1].price)]
    change = "Change to " if lines[-1].is_proration else ""
    period = f"{lines[-1].period_start:%Y-%m-%d} to {lines[-1].period_end:%Y-%m-%d}"
    return f"{change}{price.version.name}, {period}"


def what_is_wrong(
    subscription: Subscription, invoice: Invoice, prices: Prices
) -> tuple[ReviewKind, str] | None:
    """Return why nobody knows what an invoice is for, if so."""
    if subscription.wallet_id is None:
        return ReviewKind.UNKNOWN, "The customer is not known here."
    if len(known(invoice, prices)) < len(invoice.lines) or not invoice.lines:
        return ReviewKind.UNKNOWN, "It is for something that is not sold here."
    if not any(line.amount_minor for line in invoice.lines):
        return ReviewKind.UNKNOWN, "Nothing was charged: it is for a trial, or for nothing."
    if not invoice.total_minor and invoice.subtotal_minor > 0:
        return ReviewKind.UNKNOWN, "All of its price was taken off in Stripe."
    if subscription.customer_id and invoice.customer != subscription.customer_id:
        return ReviewKind.MISMATCH, "Another customer paid it than subscribed."
    return None


def set_anchor(subscription: Subscription, invoice: Invoice) -> None:
    """Count months from where a subscription, or one at another interval, begins."""
    whole = [line.period_start for line in invoice.lines if not line.is_proration]
    if whole and (invoice.reason != CYCLE or subscription.anchor_at is None):
        subscription.anchor_at = max(whole)


def schedule(
    payment: Payment, wallet: Wallet, subscription: Subscription, lines: list[Line], at: datetime
) -> tuple[ReviewKind, str] | None:
    """Keep the payment with the months that it is for; say why not, if it is for none."""
    owed = owed_by(wallet)
    entitlement = entitlement_of(lines)
    payment.credits = max(entitlement - owed, 0)
    if payment.net_minor and not payment.credits:
        payment.credits = 0
        return ReviewKind.MISMATCH, (
            f"It buys no credits: earlier changes gave back {owed:,} that were given."
        )
    payment.entitlement, payment.status = entitlement, PaymentStatus.CREDITED
    payment.save()
    begins = min(line.starts_at for line in lines)
    months = months_of(
        lines,
        anchor=subscription.anchor_at or begins,
        time_zone=settings_at(at).time_zone,
        owed=owed,
    )
    Slice.objects.bulk_create(
        Slice(
            payment=payment,
            number=number,
            wallet=wallet,
            subscription=subscription,
            version_id=month.version,
            starts_at=month.starts_at,
            ends_at=month.ends_at,
            due_at=due_at(month.starts_at, at, is_first=month.starts_at <= begins),
            credits=month.credits,
            currency=payment.currency,
        )
        for number, month in enumerate(months, 1)
    )
    if payment.net_minor:
        PromisedMoney.objects.create(
            payment=payment,
            move=PromisedMove.PAID,
            amount_minor=payment.net_minor,
            currency=payment.currency,
            at=at,
        )
    return None


def due_at(starts_at: datetime, at: datetime, *, is_first: bool) -> datetime:
    """
    Return when a month falls due: at its beginning, by Stripe's clock, which may be ahead of ours.

    The first of an invoice has begun when that is paid: a local Stripe's clock is moved by months.
    """
    has_begun = is_first or starts_at - at < CLOCKS_DIFFER
    return min(starts_at, at) if has_begun else starts_at


def owed_by(wallet: Wallet) -> int:
    """Return what invoices gave back of credits that were given, and no later one made up for."""
    invoices = Payment.objects.filter(wallet=wallet, status=PaymentStatus.CREDITED)
    invoices = invoices.exclude(invoice_id=None)
    owed: int = invoices.aggregate(sum=Sum(F("credits") - F("entitlement"), default=0))["sum"]
    return owed


def hold_back(payment: Payment, kind: ReviewKind, why: str, at: datetime) -> None:
    payment.status, payment.credits, payment.entitlement = PaymentStatus.SUSPENDED, 0, 0
    payment.save()
    note(payment, payment.invoice_id or "", Effect.SUSPENDED, payment.charged_minor, at)
    paid = format_money(payment.charged_minor, payment.currency)
    open_review(
        kind,
        payment=payment,
        object_id=payment.invoice_id or "",
        summary=f"{paid} came in for a subscription. {why}",
        at=at,
    )


def say_if_second(payment: Payment, subscription: Subscription, at: datetime) -> None:
    """Ask staff to look at a wallet that two subscriptions are paid for."""
    if subscription.payments.exclude(pk=payment.pk).exists():
        return
    others = on_going(subscription.wallet_id or 0).exclude(pk=subscription.pk)
    if others.exists():
        open_review(
            ReviewKind.MISMATCH,
            payment=payment,
            object_id=payment.invoice_id or "",
            summary="The wallet has another subscription. Its credits were given; cancel one of the"
            " two, and refund it.",
            at=at,
        )
