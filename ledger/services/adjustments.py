"""What staff do to a wallet by hand: with a reason, on record, and never to their own."""

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from accounts.models import Approval, User
from accounts.permissions import require
from audit import services as audit
from ledger import errors, keys
from ledger.choices import CreditType, TransactionKind, WalletStatus
from ledger.models import CreditTransaction, Wallet
from ledger.queries.balances import balance_of, held_by_type
from ledger.queries.settings import settings_at
from ledger.queries.wallets import is_own_wallet
from ledger.services import posting
from ledger.services.bookings import (
    Asked,
    book_addition,
    book_changes,
    book_removal,
    book_reversal,
)
from ledger.services.posting import LARGEST_AMOUNT, Header, Posting
from ledger.services.second_person import approval_waiting, booked_or_asked


def refuse_own_wallet(*, actor: User | None, wallet: Wallet) -> None:
    """
    Refuse an actor who owns ``wallet`` or may spend from it, superusers included.

    :raises OwnWallet: they do.
    """
    if actor is not None and is_own_wallet(actor, wallet):
        raise errors.OwnWallet


@transaction.atomic
def add_credits(
    *,
    wallet: Wallet,
    amount: int,
    credit_type: CreditType,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
    expires_at: datetime | None = None,
) -> Posting | Approval:
    """
    Give ``wallet`` credits of ``credit_type``; purchased ones are entered unfunded.

    Of many, return the approval that it waits for.

    :raises NotPermitted: ``actor`` may not adjust wallets.
    :raises InvalidAmount: ``amount`` is not between 1 and the largest balance, or ``expires_at``
        has passed.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises BalanceTooLarge: the balance would be above the largest that staff may reach.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, "ledger.adjust_wallet")
    largest = settings_at(at).largest_balance
    if not 1 <= amount <= largest:
        raise errors.InvalidAmount(f"Staff add 1 to {largest:,} credits at a time.")
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("add", reason, wallet.pk, amount, credit_type.value, expires_at)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    return booked_or_asked(
        lambda: book_addition(
            wallet=wallet,
            amount=amount,
            credit_type=credit_type,
            expires_at=expires_at,
            asked=asked,
        ),
        moved=amount,
        kind="ledger.add_credits",
        payload={
            "wallet": wallet.pk,
            "amount": amount,
            "credit_type": credit_type.value,
            "expires_at": expires_at and expires_at.isoformat(),
        },
        wallet=wallet,
        asked=asked,
    )


@transaction.atomic
def remove_credits(
    *,
    wallet: Wallet,
    amount: int,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
    credit_type: CreditType | None = None,
) -> Posting | Approval:
    """
    Take credits from ``wallet``, of one type or in burn-down order over all.

    Takes what is not held; the rest leaves when the holds on it end. Of many, return the approval
    that it waits for.

    :raises NotPermitted: ``actor`` may not adjust wallets.
    :raises InvalidAmount: ``amount`` is not between 1 and 1,000,000,000.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises InsufficientCredits: the wallet has less, held credits included.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, "ledger.adjust_wallet")
    if not 1 <= amount <= LARGEST_AMOUNT:
        raise errors.InvalidAmount(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("remove", reason, wallet.pk, amount, credit_type)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    return booked_or_asked(
        lambda: book_removal(wallet=wallet, amount=amount, credit_type=credit_type, asked=asked),
        moved=amount,
        kind="ledger.remove_credits",
        payload={"wallet": wallet.pk, "amount": amount, "credit_type": credit_type},
        wallet=wallet,
        asked=asked,
    )


@transaction.atomic
def set_balances(
    *,
    wallet: Wallet,
    targets: Mapping[CreditType, int],
    version: int,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> list[Posting] | Approval:
    """
    Bring the balances of ``wallet`` to exactly ``targets``, each between 0 and the largest balance.

    Each becomes a difference to what the wallet has now; ``version`` is the wallet's when the form
    was opened. Repeating the request changes nothing and returns no postings. If many credits move,
    return the approval that it waits for: it binds the differences, not the targets.

    :raises NotPermitted: ``actor`` may not set balances.
    :raises InvalidAmount: a target is out of range.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises StaleVersion: the wallet has changed since ``version``.
    :raises BelowHeld: a target is below what open holds pin.
    :raises WalletClosed: credits would be added to a closed wallet.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, "ledger.set_balances")
    largest = settings_at(at).largest_balance
    if not all(0 <= target <= largest for target in targets.values()):
        raise errors.InvalidAmount(f"A balance is 0 to {largest:,} credits.")
    refuse_own_wallet(actor=actor, wallet=wallet)
    asked_for = {str(credit_type): target for credit_type, target in targets.items()}
    fingerprint = keys.fingerprint("set", reason, wallet.pk, asked_for, version)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    posting.lock_wallet(wallet.pk)
    if _were_set(asked):
        return []
    before = balance_of(wallet.pk, at)
    if before.version != version:
        raise errors.StaleVersion
    held = held_by_type(wallet.pk)
    for credit_type, target in targets.items():
        if target < held.get(credit_type, 0):
            raise errors.BelowHeld(held=held[credit_type])
    changes = {t: target - getattr(before, t) for t, target in targets.items()}
    return booked_or_asked(
        lambda: book_changes(wallet=wallet, changes=changes, asked=asked),
        moved=sum(abs(change) for change in changes.values()),
        kind="ledger.set_balances",
        payload={"wallet": wallet.pk, "changes": {str(t): n for t, n in changes.items() if n}},
        wallet=wallet,
        asked=asked,
    )


def _were_set(asked: Asked) -> bool:
    """
    Return whether balances were set under this key before.

    :raises IdempotencyKeyReused: to something else.
    """
    # A type that did not change left nothing behind; one that did has the print of the request.
    digests = [asked.header(TransactionKind.ADJUSTMENT, f":{t}").key for t in CreditType]
    done = CreditTransaction.objects.filter(key__in=digests).values_list("fingerprint", flat=True)
    if set(done) - {asked.fingerprint}:
        raise errors.IdempotencyKeyReused
    return bool(done)


@transaction.atomic
def reverse_transaction(
    *,
    original: CreditTransaction,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
    amount: int | None = None,
    partly: bool = False,
) -> Posting | Approval:
    """
    Reverse a transaction: put back what it took, or take back the grant that it gave.

    Of many credits, return the approval that it waits for.

    :param amount: how much of what it took; all that is not given back yet when left out.
    :param partly: take what is left of a grant that is partly spent or held.
    :raises NotPermitted: ``actor`` may not reverse transactions.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises NotReversible: its kind is not reversed this way (payments are refunded).
    :raises AlreadyReversed: nothing of it is left to reverse.
    :raises PartlySpent: it gave a grant that is partly spent or held, and not ``partly``.
    :raises ExceedsTaken: ``amount`` is more than is left to put back.
    :raises NothingToRestore: what it took was voided or written off since.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, "ledger.reverse_credittransaction")
    refuse_own_wallet(actor=actor, wallet=original.wallet)
    fingerprint = keys.fingerprint("reverse", reason, original.pk, amount, partly)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    return booked_or_asked(
        lambda: book_reversal(original=original, amount=amount, partly=partly, asked=asked),
        moved=abs(original.amount) if amount is None else amount,
        kind="ledger.reverse_transaction",
        payload={"transaction": str(original.pk), "amount": amount, "partly": partly},
        wallet=original.wallet,
        asked=asked,
    )


@transaction.atomic
def pause_wallet(*, wallet: Wallet, reason: str, actor: User, at: datetime) -> None:
    """
    Stop spends and new holds of ``wallet``; captures, releases, awards and sales go on.

    :raises NotPermitted: ``actor`` may not pause wallets.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises Conflict: the wallet is not active.
    """
    _move(
        wallet, WalletStatus.ACTIVE, WalletStatus.PAUSED, "ledger.wallet.paused", reason, actor, at
    )


@transaction.atomic
def resume_wallet(*, wallet: Wallet, reason: str, actor: User, at: datetime) -> None:
    """
    Let a paused ``wallet`` spend again.

    :raises NotPermitted: ``actor`` may not pause wallets.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises Conflict: the wallet is not paused.
    """
    _move(
        wallet, WalletStatus.PAUSED, WalletStatus.ACTIVE, "ledger.wallet.resumed", reason, actor, at
    )


def void_partner_credits(*, user: User, at: datetime, actor: User | None) -> None:
    """
    Void the partner credits of a user whose partner status ended; a new partner gets none by this.

    :raises OwnWallet: ``actor`` owns or shares the wallet.
    """
    wallet = Wallet.objects.filter(user=user).first()
    if wallet is None:
        return
    if actor:
        refuse_own_wallet(actor=actor, wallet=wallet)
    if user.is_partner:
        return
    posting.void(
        wallet=wallet.pk,
        types=[CreditType.PARTNER],
        header=Header(
            kind=TransactionKind.VOID,
            at=at,
            caller=f"user:{actor.pk}" if actor else "system",
            key=keys.fresh("system"),
            fingerprint=keys.fingerprint("void", wallet.pk),
            actor_id=actor.pk if actor else None,
            description="Partner status ended",
        ),
    )


def _move(
    wallet: Wallet,
    expected: WalletStatus,
    status: WalletStatus,
    action: str,
    reason: str,
    actor: User,
    at: datetime,
) -> None:
    require(actor, "ledger.pause_wallet")
    refuse_own_wallet(actor=actor, wallet=wallet)
    if not posting.set_status(wallet=wallet.pk, expected=expected, status=status):
        raise errors.Conflict(
            f"Only a wallet that is {expected.label.lower()} can be {action.rsplit('.')[-1]}."
        )
    audit.record(
        action,
        actor=actor,
        target=wallet,
        at=at,
        reason=reason,
        before={"status": expected},
        after={"status": status},
    )
