"""Posting the months that are paid for: each once, when it is due, by any number of workers."""

from collections.abc import Callable, Iterator
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from billing.choices import PromisedMove, ReviewKind, SliceStatus
from billing.models import Payment, PromisedMoney, Slice
from billing.queries.subscriptions import promised_of
from billing.services.reviews import open_review
from billing.services.rollover import expires_at, let_excess_expire
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind, WalletStatus
from ledger.errors import WalletClosed
from ledger.models import Entry
from ledger.services import posting
from ledger.services.allotments import CALLER
from ledger.services.posting import Header

AT_A_TIME = 200

log = structlog.get_logger(__name__)


def post_due_slices(
    *, clock: Callable[[], datetime] = timezone.now, subscription: int | None = None
) -> int:
    """
    Post what is due of the months that are paid for, those of days that were missed too.

    Return how many were posted. One that fails is logged and left for the next time; it does not
    keep others from theirs.

    :param subscription: only of that one.
    """
    posted = 0
    for slice_id in _due(clock(), subscription):
        try:
            posted += post_slice(slice_id, at=clock())
        except Exception:
            log.exception("billing.slice_failed", slice=slice_id)
    return posted


def due_slices(at: datetime) -> QuerySet[Slice]:
    """Return the months that are to be posted now, the oldest first."""
    is_due = Q(status=SliceStatus.DUE) | Q(
        Q(status=SliceStatus.SUSPENDED), ~Q(wallet__status=WalletStatus.CLOSED)
    )
    found = Slice.objects.filter(is_due, due_at__lte=at, voided__lt=F("credits"))
    return found.filter(payment__is_disputed=False).order_by("due_at", "pk")


def _due(at: datetime, subscription: int | None) -> Iterator[int]:
    """Yield each once, however many fail."""
    slices = due_slices(at)
    if subscription is not None:
        slices = slices.filter(subscription=subscription)
    last: tuple[datetime, int] | None = None
    while True:
        page = slices
        if last:
            page = slices.filter(Q(due_at__gt=last[0]) | Q(due_at=last[0], pk__gt=last[1]))
        rows = list(page.values_list("due_at", "pk")[:AT_A_TIME])
        yield from (pk for _, pk in rows)
        if len(rows) < AT_A_TIME:
            return
        last = rows[-1]


@transaction.atomic
def post_slice(slice_id: int, *, at: datetime) -> bool:
    """
    Give the credits of a month with their share of the money; return whether that was done.

    It is not if it was before, if somebody else is at its payment, if it is not due or its bank
    decides about a chargeback. Where the wallet is closed the month is held back for review.
    """
    payments = Payment.objects.select_for_update(no_key=True, skip_locked=True)
    payment = payments.filter(slices=slice_id).first()
    if payment is None:
        return False
    month = Slice.objects.select_related("version", "wallet").get(pk=slice_id)
    credits = month.credits - month.voided
    is_waiting = month.status != SliceStatus.POSTED and month.due_at <= at
    if payment.is_disputed or not credits or not is_waiting:
        return False
    promised = promised_of(payment)
    # The last one takes the remainder.
    money = promised.open_minor * credits // promised.open_credits
    try:
        with transaction.atomic():
            grant = _give(payment, month, credits, money, at)
    except WalletClosed:
        _hold_back(payment, month, at)
        return False
    _keep_posted(month, grant, money, at)
    return True


def _give(payment: Payment, month: Slice, credits: int, money: int, at: datetime) -> Entry:
    earlier = Slice.objects.filter(wallet=month.wallet_id, ends_at__lte=month.starts_at)
    let_excess_expire(
        wallet=month.wallet_id,
        version=month.version,
        grants=[grant for grant in earlier.values_list("grant", flat=True) if grant],
        at=at,
    )
    key = f"slice:{month.pk}"
    posted = posting.post_grant(
        wallet=month.wallet_id,
        amount=credits,
        credit_type=CreditType.PURCHASE,
        source=GrantSource.PLAN,
        paid_minor=money,
        currency=month.currency if money else "",
        expires_at=expires_at(month.version, month.ends_at, at),
        header=Header(
            kind=TransactionKind.ALLOCATION,
            at=at,
            caller=CALLER,
            key=keys.digest(CALLER, key),
            fingerprint=keys.fingerprint(key, month.wallet_id, credits, money),
            reference_id=payment.invoice_id or "",
            description=payment.description,
        ),
    )
    return Entry.objects.get(transaction=posted.transaction_id, amount__gt=0)


def _keep_posted(month: Slice, entry: Entry, money: int, at: datetime) -> None:
    """Say that a month is posted; what of it went back before is left as one of its own."""
    if month.voided:
        last = Slice.objects.filter(payment=month.payment_id).aggregate(last=Max("number"))["last"]
        Slice.objects.create(
            payment_id=month.payment_id,
            number=last + 1,
            wallet_id=month.wallet_id,
            subscription_id=month.subscription_id,
            version_id=month.version_id,
            starts_at=month.starts_at,
            ends_at=month.ends_at,
            due_at=month.due_at,
            credits=month.voided,
            voided=month.voided,
            currency=month.currency,
        )
    month.credits, month.voided = month.credits - month.voided, 0
    month.status, month.posted_at = SliceStatus.POSTED, at
    month.grant_id, month.paid_minor = entry.grant_id, money
    month.save()
    if money:
        PromisedMoney.objects.create(
            payment_id=month.payment_id,
            slice=month,
            move=PromisedMove.ALLOTTED,
            amount_minor=-money,
            currency=month.currency,
            at=at,
        )


def _hold_back(payment: Payment, month: Slice, at: datetime) -> None:
    Slice.objects.filter(pk=month.pk).update(status=SliceStatus.SUSPENDED)
    open_review(
        ReviewKind.CLOSED,
        payment=payment,
        object_id=payment.invoice_id or "",
        summary=f"The wallet was closed before {month} were given.",
        at=at,
    )
