"""One payment, read whole at Stripe and in the books, and compared; nothing moves."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from billing import gateway
from billing.models import Payment, StripeEvent
from billing.queries.differences import (
    DISPUTE_EFFECTS,
    REFUND_EFFECTS,
    AtStripe,
    Books,
    Difference,
    add_more,
    books_of,
    differences,
)
from billing.services.breaks import keep_breaks
from billing.stripe_objects import PaymentIntent

LOOKS = 5
# What changed so lately is being settled.
QUIET = timedelta(minutes=10)
# What an event that is not done yet is about is, too, unless it has failed for as long.
PATIENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Finding:
    """How a payment stands on both sides, and how they differ."""

    intent_id: str
    found: AtStripe
    payment: Payment | None
    differences: list[Difference]


def examine(intent_id: str, at: datetime) -> Finding:
    """
    Read a payment here and at Stripe, and say how they differ.

    Somebody who settles it meanwhile has it read again.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    looks = LOOKS
    while True:
        looks -= 1
        books = books_of({intent_id: ""}).get(intent_id)
        found = read_at_stripe(intent_id, books)
        if books is None and found.intent:
            books = books_of({intent_id: payment_named(found.intent)}).get(intent_id)
        if books:
            add_more(books)
        payment = books.payment if books else None
        reads = payment.reads if payment and payment.intent_id else None
        if not looks or reads_of(intent_id) == reads:
            return Finding(intent_id, found, payment, differences(books, found, intent_id, at))


def reads_of(intent_id: str) -> int | None:
    return Payment.objects.filter(intent_id=intent_id).values_list("reads", flat=True).first()


def payment_named(intent: PaymentIntent) -> str:
    """Return the public id of the payment that an intent says it is for, or nothing."""
    try:
        return str(UUID(intent.metadata.get("payment", "")))
    except ValueError:
        return ""


def read_at_stripe(intent_id: str, books: Books | None) -> AtStripe:
    try:
        intent = gateway.retrieve_payment_intent(intent_id)
    except gateway.StripeRefused as refusal:
        if refusal.reason != "resource_missing":
            raise
        return AtStripe(None)
    if books is None or not intent.received_minor:
        return AtStripe(intent)
    has_refunds = intent.refunded_minor or books.ids_of(REFUND_EFFECTS) or books.asked
    has_disputes = intent.is_disputed or books.ids_of(DISPUTE_EFFECTS.values())
    session_id = books.payment.session_id
    return AtStripe(
        intent,
        gateway.refunds_of(intent_id) if has_refunds else [],
        gateway.disputes_of(intent_id) if has_disputes else [],
        gateway.retrieve_checkout(session_id) if session_id else None,
    )


def keep(findings: Iterable[Finding], at: datetime) -> int:
    """
    Let the open breaks of these payments be what was found; return how many are under way.

    What differs while it is being settled is left as it is: neither a break, nor mended.
    """
    different = [each for each in findings if each.differences]
    lately = told_lately(at) if different else set()
    under_way = 0
    for each in findings:
        if each.differences and is_under_way(each, lately, at):
            under_way += 1
        else:
            keep_breaks(each.intent_id, each.differences, payment=each.payment, at=at)
    return under_way


def told_lately(at: datetime) -> set[str]:
    """Return all that Stripe's latest events are about: objects, and their payments."""
    ids: set[str] = set()
    for event in gateway.list_events(at - QUIET):
        item = event.payload["data"]["object"]
        named = (item.get(name) for name in ("id", "payment_intent", "charge", "invoice"))
        ids |= {each for each in named if isinstance(each, str)}
    return ids


def is_under_way(finding: Finding, lately: set[str], at: datetime) -> bool:
    """Return whether something happened so lately, or waits to be handled, that it is no break."""
    found, payment, intent = finding.found, finding.payment, finding.found.intent
    ids = {finding.intent_id, found.session.id if found.session else ""}
    ids |= {intent.charge or "" if intent else ""}
    ids |= {each.id for each in found.refunds} | {each.id for each in found.disputes}
    instants = [each.created_at for each in found.refunds]
    instants += [each.created_at for each in found.disputes]
    if intent and intent.charged_at:
        instants.append(intent.charged_at)
    if payment and payment.paid_at:
        instants.append(payment.paid_at)
    ids -= {""}
    if ids & lately or any(instant > at - QUIET for instant in instants):
        return True
    about = Q(object_id__in=ids) | Q(payload__payment_intent=finding.intent_id)
    waiting = StripeEvent.objects.filter(next_try_at__isnull=False, received_at__gt=at - PATIENCE)
    return waiting.filter(about).exists()
