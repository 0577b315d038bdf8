"""What staff do to a wallet by hand: with a reason, on record, and never to their own."""

from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Model

from accounts.models import User
from audit import services as audit
from ledger import errors, keys
from ledger.choices import CreditType, GrantSource, TransactionKind, WalletStatus
from ledger.models import CreditTransaction, Wallet
from ledger.queries.balances import balance_of, held_by_type
from ledger.queries.wallets import is_own_wallet
from ledger.services import posting
from ledger.services.posting import LARGEST_AMOUNT, Header, Posting

KIND_OF_GRANT = {
    CreditType.AWARD: TransactionKind.AWARD,
    CreditType.PARTNER: TransactionKind.PARTNER,
    CreditType.PURCHASE: TransactionKind.PURCHASE,
}


def refuse_own_wallet(*, actor: User, wallet: Wallet) -> None:
    """
    Refuse an actor who owns ``wallet`` or may spend from it, superusers included.

    :raises OwnWallet: they do.
    """
    if is_own_wallet(actor, wallet):
        raise errors.OwnWallet


@transaction.atomic
def add_credits(
    *,
    wallet: Wallet,
    amount: int,
    credit_type: CreditType,
    reason: str,
    actor: User,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
    expires_at: datetime | None = None,
) -> Posting:
    """
    Give ``wallet`` credits of ``credit_type``; purchased ones are entered unfunded.

    :raises InvalidAmount: ``amount`` is not between 1 and the largest balance, or ``expires_at``
        has passed.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises BalanceTooLarge: the balance would be above the largest that staff may reach.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    if not 1 <= amount <= settings.LARGEST_BALANCE:
        raise errors.InvalidAmount(
            f"Staff add 1 to {settings.LARGEST_BALANCE:,} credits at a time."
        )
    refuse_own_wallet(actor=actor, wallet=wallet)
    header = _header(
        KIND_OF_GRANT[credit_type], "add", at, caller, idempotency_key, actor, reason,
        wallet.pk, amount, credit_type.value, expires_at,
    )  # fmt: skip
    if expires_at is not None and expires_at <= at and not _is_repeat(header):
        raise errors.InvalidAmount("Credits cannot expire in the past.")
    posted = posting.post_grant(
        wallet=wallet.pk,
        amount=amount,
        credit_type=credit_type,
        source=GrantSource.MANUAL,
        expires_at=expires_at,
        largest=settings.LARGEST_BALANCE,
        header=header,
    )
    _record(
        "ledger.credits.added",
        posted,
        wallet,
        actor,
        reason,
        at,
        credit_type=credit_type.value,
        amount=amount,
    )
    return posted


@transaction.atomic
def remove_credits(
    *,
    wallet: Wallet,
    amount: int,
    reason: str,
    actor: User,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
    credit_type: CreditType | None = None,
) -> Posting:
    """
    Take credits from ``wallet``, of one type or in burn-down order over all.

    Takes what is not held; the rest leaves when the holds on it end.

    :raises InvalidAmount: ``amount`` is not between 1 and 1,000,000,000.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises InsufficientCredits: the wallet has less, held credits included.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    if not 1 <= amount <= LARGEST_AMOUNT:
        raise errors.InvalidAmount(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    refuse_own_wallet(actor=actor, wallet=wallet)
    header = _header(
        TransactionKind.ADJUSTMENT, "remove", at, caller, idempotency_key, actor, reason,
        wallet.pk, amount, credit_type,
    )  # fmt: skip
    if wallet.status == WalletStatus.CLOSED and not _is_repeat(header):
        raise errors.WalletClosed
    posted = posting.draw(
        payers=[wallet.pk],
        amount=amount,
        types=[credit_type] if credit_type else None,
        short="wait",
        any_status=True,
        header=header,
    )
    _record(
        "ledger.credits.removed",
        posted,
        wallet,
        actor,
        reason,
        at,
        credit_type=credit_type,
        amount=amount,
    )
    return posted


@transaction.atomic
def set_balances(
    *,
    wallet: Wallet,
    targets: Mapping[CreditType, int],
    version: int,
    reason: str,
    actor: User,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> list[Posting]:
    """
    Bring the balances of ``wallet`` to exactly ``targets``, each between 0 and the largest balance.

    Each becomes a difference to what the wallet has now; ``version`` is the wallet's when the form
    was opened. Repeating the request changes nothing and returns no postings.

    :raises InvalidAmount: a target is out of range.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises StaleVersion: the wallet has changed since ``version``.
    :raises BelowHeld: a target is below what open holds pin.
    :raises WalletClosed: credits would be added to a closed wallet.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    if not all(0 <= target <= settings.LARGEST_BALANCE for target in targets.values()):
        raise errors.InvalidAmount(f"A balance is 0 to {settings.LARGEST_BALANCE:,} credits.")
    refuse_own_wallet(actor=actor, wallet=wallet)
    Wallet.objects.select_for_update(no_key=True).get(pk=wallet.pk)
    # All targets are in each fingerprint: a type that did not change left nothing to compare with.
    asked = {str(credit_type): target for credit_type, target in targets.items()}
    headers = {
        credit_type: _header(
            TransactionKind.ADJUSTMENT, "set", at, caller, f"{idempotency_key}:{credit_type}",
            actor, reason, wallet.pk, credit_type.value, asked, version,
        )
        for credit_type in CreditType
    }  # fmt: skip
    prints = {header.key: header.fingerprint for header in headers.values()}
    if done := CreditTransaction.objects.filter(key__in=prints).values_list("key", "fingerprint"):
        if any(prints[key] != fingerprint for key, fingerprint in done):
            raise errors.IdempotencyKeyReused
        return []
    before = balance_of(wallet.pk, at)
    if before.version != version:
        raise errors.StaleVersion
    held = held_by_type(wallet.pk)
    postings = []
    for credit_type, target in targets.items():
        if target < held.get(credit_type, 0):
            raise errors.BelowHeld(held=held[credit_type])
        change = target - getattr(before, credit_type)
        if change > 0:
            postings.append(
                posting.post_grant(
                    wallet=wallet.pk,
                    amount=change,
                    credit_type=credit_type,
                    source=GrantSource.MANUAL,
                    header=headers[credit_type],
                )
            )
        elif change < 0:
            postings.append(
                posting.draw(
                    payers=[wallet.pk],
                    amount=-change,
                    types=[credit_type],
                    any_status=True,
                    header=headers[credit_type],
                )
            )
    if postings:
        audit.record(
            "ledger.wallet.adjusted",
            actor=actor,
            target=wallet,
            at=at,
            reason=reason,
            before={str(t): getattr(before, t) for t in targets},
            after={str(t): target for t, target in targets.items()},
        )
    return postings


@transaction.atomic
def reverse_transaction(
    *,
    original: CreditTransaction,
    reason: str,
    actor: User,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
    amount: int | None = None,
    partly: bool = False,
) -> Posting:
    """
    Reverse a transaction: put back what it took, or take back the grant that it gave.

    :param amount: how much of what it took; all that is not given back yet when left out.
    :param partly: take what is left of a grant that is partly spent or held.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises NotReversible: its kind is not reversed this way (payments are refunded).
    :raises AlreadyReversed: nothing of it is left to reverse.
    :raises PartlySpent: it gave a grant that is partly spent or held, and not ``partly``.
    :raises ExceedsTaken: ``amount`` is more than is left to put back.
    :raises NothingToRestore: what it took was voided or written off since.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    refuse_own_wallet(actor=actor, wallet=original.wallet)
    header = _header(
        TransactionKind.REVERSAL,
        "reverse",
        at,
        caller,
        idempotency_key,
        actor,
        reason,
        original.pk,
        amount,
        partly,
    )
    if original.amount > 0:
        posted = posting.take_back(transaction=original.pk, partly=partly, header=header)
    else:
        posted = posting.restore(transaction=original.pk, amount=amount, header=header)
    _record(
        "ledger.transaction.reversed", posted, original, actor, reason, at, amount=posted.amount
    )
    return posted


@transaction.atomic
def pause_wallet(*, wallet: Wallet, reason: str, actor: User, at: datetime) -> None:
    """
    Stop spends and new holds of ``wallet``; captures, releases, awards and sales go on.

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


def _header(
    kind: TransactionKind,
    act: str,
    at: datetime,
    caller: str,
    idempotency_key: str | None,
    actor: User,
    reason: str,
    *asked: object,
) -> Header:
    return Header(
        kind=kind,
        at=at,
        caller=caller,
        key=keys.digest(caller, idempotency_key) if idempotency_key else keys.fresh(caller),
        fingerprint=keys.fingerprint(act, reason, *asked),
        actor_id=actor.pk,
        description=reason,
    )


def _is_repeat(header: Header) -> bool:
    """Return whether the key was booked before: what has changed since is no reason to refuse."""
    return CreditTransaction.objects.filter(key=header.key).exists()


def _record(
    action: str,
    posted: Posting,
    target: Model,
    actor: User,
    reason: str,
    at: datetime,
    **after: object,
) -> None:
    """Record an act that was done now; a repeat of one was recorded when it was done."""
    if posted.is_new:
        audit.record(
            action,
            actor=actor,
            target=target,
            at=at,
            reason=reason,
            before={"balance": (posted.balance_after or 0) - (posted.amount or 0)},
            after={
                "balance": posted.balance_after,
                "transaction": str(posted.transaction_id),
                **after,
            },
        )
