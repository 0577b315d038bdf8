"""Breaks between Stripe and the books: kept while they last, explained or settled by staff."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.choices import SETTLEABLE, BreakKind
from billing.errors import AlreadyExplained
from billing.models import Break, Payment
from billing.queries.differences import Difference
from billing.services.reviews import refuse_own_payment

LONGEST = 300


@transaction.atomic
def keep_breaks(
    intent_id: str, found: Iterable[Difference], *, payment: Payment | None, at: datetime
) -> None:
    """Let the open breaks of an intent be those ``found``, and no others."""
    open_breaks = {
        (each.kind, each.object_id): each
        for each in Break.objects.select_for_update(no_key=True).filter(
            intent_id=intent_id, gone_at=None
        )
    }
    for difference in found:
        known = open_breaks.pop((difference.kind, difference.object_id), None)
        keep_break(known, difference, intent_id, payment, at)
    gone = [each.pk for each in open_breaks.values()]
    Break.objects.filter(pk__in=gone).update(gone_at=at)


def keep_break(
    known: Break | None,
    difference: Difference,
    intent_id: str,
    payment: Payment | None,
    at: datetime,
) -> None:
    """Say that a break is still there; one that was explained counts again if it has changed."""
    says = {
        "stripe_says": difference.stripe_says[:LONGEST],
        "books_say": difference.books_say[:LONGEST],
    }
    seen = says | {"payment": payment, "last_seen_at": at}
    if known is None:
        new = Break(
            kind=difference.kind,
            object_id=difference.object_id,
            intent_id=intent_id,
            first_seen_at=at,
            **seen,
        )
        Break.objects.bulk_create([new], ignore_conflicts=True)
        return
    if (known.stripe_says, known.books_say) != (says["stripe_says"], says["books_say"]):
        seen |= {"explained_at": None, "explained_by": None, "explanation": ""}
    Break.objects.filter(pk=known.pk).update(**seen)


@transaction.atomic
def explain_break(*, item: Break, reason: str, actor: User, at: datetime) -> Break:
    """
    Say why a break may stay: it counts no longer, until either side says something else.

    :raises NotPermitted: ``actor`` may not.
    :raises OwnWallet: it is about a payment or a wallet of their own.
    :raises AlreadyExplained: somebody did, or it is gone.
    """
    require(actor, "billing.explain_break")
    locked = Break.objects.select_for_update(no_key=True).get(pk=item.pk)
    if locked.payment:
        refuse_own_payment(actor, locked.payment)
    if locked.explained_at or locked.gone_at:
        raise AlreadyExplained
    locked.explained_at, locked.explained_by, locked.explanation = at, actor, reason
    locked.save(update_fields=["explained_at", "explained_by", "explanation"])
    audit.record(
        "billing.break.explained",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"stripe": locked.stripe_says, "books": locked.books_say},
    )
    return locked


def is_settleable(item: Break) -> bool:
    is_about_one = bool(item.intent_id) or item.kind == BreakKind.INVOICE
    return item.gone_at is None and item.kind in SETTLEABLE and is_about_one
