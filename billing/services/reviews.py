"""What a person should look at: opened by the system, resolved by staff who say what they did."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind
from audit import services as audit
from billing.choices import ReviewKind
from billing.errors import AlreadyResolved
from billing.models import Payment, ReviewItem
from ledger import keys
from ledger.choices import TransactionKind
from ledger.errors import InvalidAmount
from ledger.models import Wallet
from ledger.queries.wallets import is_own_wallet
from ledger.services import posting
from ledger.services.adjustments import refuse_own_wallet
from ledger.services.bookings import Asked
from ledger.services.posting import LARGEST_AMOUNT, Posting
from ledger.services.second_person import approval_waiting, booked_or_asked

WRITE_OFF = "billing.write_off_debt"
Payload = Mapping[str, Any]


def register() -> None:
    """Let :mod:`accounts.services.approvals` know the write-off of large debts."""
    approval_kind(
        WRITE_OFF,
        permission=WRITE_OFF,
        execute=execute_write_off,
        describe=lambda payload: (
            f"Write off {payload['amount']:,} credits that {_wallet(payload)} owes"
        ),
        concerns=lambda payload, user: is_own_wallet(user, _wallet(payload)),
        state=lambda payload, at: [f"It owes {_wallet(payload).debt:,} credits now."],
    )


def open_review(
    kind: ReviewKind, *, payment: Payment, object_id: str, summary: str, at: datetime
) -> None:
    """Ask staff to look at a payment; about one object there is one open matter of a kind."""
    ReviewItem.objects.update_or_create(
        kind=kind,
        object_id=object_id,
        resolved_at=None,
        defaults={"summary": summary[:500]},
        create_defaults={"payment": payment, "opened_at": at, "summary": summary[:500]},
    )


@transaction.atomic
def resolve_review(*, item: ReviewItem, reason: str, actor: User, at: datetime) -> ReviewItem:
    """
    Say what was done about a matter.

    :raises NotPermitted: ``actor`` may not.
    :raises OwnWallet: it is about a wallet of their own.
    :raises AlreadyResolved: somebody has.
    """
    require(actor, "billing.resolve_reviewitem")
    locked = ReviewItem.objects.select_for_update(no_key=True).get(pk=item.pk)
    refuse_own_payment(actor, locked.payment)
    if locked.resolved_at:
        raise AlreadyResolved
    locked.resolved_at, locked.resolved_by, locked.resolution = at, actor, reason
    locked.save(update_fields=["resolved_at", "resolved_by", "resolution"])
    audit.record("billing.review.resolved", actor=actor, target=locked, at=at, reason=reason)
    return locked


def refuse_own_payment(actor: User | None, payment: Payment) -> None:
    """
    Refuse an actor who paid it, or may spend what it bought.

    :raises OwnWallet: they did, or may.
    """
    wallet = payment.wallet or Wallet.objects.filter(user=payment.user_id or 0).first()
    if wallet:
        refuse_own_wallet(actor=actor, wallet=wallet)


@transaction.atomic
def write_off_debt(
    *,
    wallet: Wallet,
    amount: int,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> Posting | Approval:
    """
    Strike credits off that ``wallet`` owes, the oldest debt first: nobody will pay them.

    Of many, return the approval that it waits for.

    :raises NotPermitted: ``actor`` may not write off debts.
    :raises InvalidAmount: ``amount`` is not between 1 and 1,000,000,000.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises ExceedsDebt: less is owed.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, WRITE_OFF)
    if not 1 <= amount <= LARGEST_AMOUNT:
        raise InvalidAmount(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("write_off", reason, wallet.pk, amount)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    return booked_or_asked(
        lambda: _book_write_off(wallet, amount, asked),
        moved=amount,
        kind=WRITE_OFF,
        payload={"wallet": wallet.pk, "amount": amount},
        wallet=wallet,
        asked=asked,
    )


def execute_write_off(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    wallet = _wallet(payload)
    refuse_own_wallet(actor=approval.maker, wallet=wallet)
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    posted = _book_write_off(wallet, payload["amount"], asked)
    return {"transactions": [str(posted.transaction_id)]}


def _book_write_off(wallet: Wallet, amount: int, asked: Asked) -> Posting:
    posted = posting.write_off(
        wallet=wallet.pk, amount=amount, header=asked.header(TransactionKind.WRITE_OFF)
    )
    if posted.is_new:
        owed = posted.owed or 0
        asked.record(
            "billing.debt.written_off",
            wallet,
            before={"debt": owed + amount},
            after={"debt": owed, "transaction": str(posted.transaction_id)},
        )
    return posted


def _wallet(payload: Payload) -> Wallet:
    return Wallet.objects.with_owner().get(pk=payload["wallet"])
