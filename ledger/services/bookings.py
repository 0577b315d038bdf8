"""
What adjustments of staff write into the books and the record, however they were decided.

Who may, how much, and whether it takes a second person is for ``adjustments`` to say.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Model

from accounts.models import User
from audit import services as audit
from ledger import errors, keys
from ledger.choices import CreditType, GrantSource, TransactionKind, WalletStatus
from ledger.models import CreditTransaction, Wallet
from ledger.queries.balances import balance_of
from ledger.queries.settings import settings_at
from ledger.services import posting
from ledger.services.posting import Header, Posting

KIND_OF_GRANT = {
    CreditType.AWARD: TransactionKind.AWARD,
    CreditType.PARTNER: TransactionKind.PARTNER,
    CreditType.PURCHASE: TransactionKind.PURCHASE,
}


class Asked(NamedTuple):
    """Who asks, why, when and under which key; under which approval, if a second person gave it."""

    actor: User | None
    reason: str
    caller: str
    idempotency_key: str | None
    fingerprint: UUID
    at: datetime
    approval_id: int | None = None

    def header(self, kind: TransactionKind, part: str = "") -> Header:
        """Return the header of a posting; ``part`` tells those of one request apart."""
        key, caller = self.idempotency_key, self.caller
        return Header(
            kind=kind,
            at=self.at,
            caller=caller,
            key=keys.digest(caller, f"{key}{part}") if key else keys.fresh(caller),
            fingerprint=self.fingerprint,
            actor_id=self.actor.pk if self.actor else None,
            description=self.reason,
        )

    def record(
        self,
        action: str,
        target: Model,
        *,
        before: Mapping[str, object],
        after: Mapping[str, object],
    ) -> None:
        audit.record(
            action,
            actor=self.actor,
            target=target,
            at=self.at,
            reason=self.reason,
            approval_id=self.approval_id,
            before=before,
            after=after,
        )


def book_addition(
    *,
    wallet: Wallet,
    amount: int,
    credit_type: CreditType,
    expires_at: datetime | None,
    asked: Asked,
) -> Posting:
    """
    Post a grant of ``amount`` credits.

    :raises InvalidAmount: ``expires_at`` has passed.
    :raises BalanceTooLarge: the balance would be above the largest that staff may reach.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    header = asked.header(KIND_OF_GRANT[credit_type])
    if expires_at is not None and expires_at <= asked.at and not _is_repeat(header):
        raise errors.InvalidAmount("Credits cannot expire in the past.")
    posted = posting.post_grant(
        wallet=wallet.pk,
        amount=amount,
        credit_type=credit_type,
        source=GrantSource.MANUAL,
        expires_at=expires_at,
        largest=settings_at(asked.at).largest_balance,
        header=header,
    )
    told = {"credit_type": credit_type.value, "amount": amount}
    _record_posting("ledger.credits.added", posted, wallet, asked, told)
    return posted


def book_removal(
    *, wallet: Wallet, amount: int, credit_type: CreditType | None, asked: Asked
) -> Posting:
    """
    Take ``amount`` credits: what is not held at once, the rest when the holds on it end.

    :raises InsufficientCredits: the wallet has less, held credits included.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    header = asked.header(TransactionKind.ADJUSTMENT)
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
    told = {"credit_type": credit_type, "amount": amount}
    _record_posting("ledger.credits.removed", posted, wallet, asked, told)
    return posted


def book_changes(
    *, wallet: Wallet, changes: Mapping[CreditType, int], asked: Asked
) -> list[Posting]:
    """
    Add to and take from the balances of ``wallet`` by type; what is held is not taken.

    :raises InsufficientCredits: a type has less that is not held.
    :raises BalanceTooLarge: a balance would be above the largest that staff may reach.
    :raises WalletClosed: credits would be added to a closed wallet.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    before = balance_of(wallet.pk, asked.at)
    postings = [
        _book_change(wallet, credit_type, change, asked)
        for credit_type, change in changes.items()
        if change
    ]
    if postings:
        asked.record(
            "ledger.wallet.adjusted",
            wallet,
            before={str(t): getattr(before, t) for t in changes},
            after={str(t): getattr(before, t) + change for t, change in changes.items()},
        )
    return postings


def _book_change(wallet: Wallet, credit_type: CreditType, change: int, asked: Asked) -> Posting:
    header = asked.header(TransactionKind.ADJUSTMENT, f":{credit_type}")
    if change < 0:
        return posting.draw(
            payers=[wallet.pk], amount=-change, types=[credit_type], any_status=True, header=header
        )
    return posting.post_grant(
        wallet=wallet.pk,
        amount=change,
        credit_type=credit_type,
        source=GrantSource.MANUAL,
        # A balance set at once was bounded by its target; the books may count what has expired.
        largest=settings_at(asked.at).largest_balance if asked.approval_id else None,
        header=header,
    )


def book_reversal(
    *, original: CreditTransaction, amount: int | None, partly: bool, asked: Asked
) -> Posting:
    """
    Put back what ``original`` took, or take back the grant that it gave.

    :raises CreditsiteError: as ``restore`` and ``take_back`` of :mod:`ledger.services.posting` do.
    """
    header = asked.header(TransactionKind.REVERSAL)
    if original.amount > 0:
        posted = posting.take_back(transaction=original.pk, partly=partly, header=header)
    else:
        posted = posting.restore(transaction=original.pk, amount=amount, header=header)
    told = {"amount": posted.amount}
    _record_posting("ledger.transaction.reversed", posted, original, asked, told)
    return posted


def _is_repeat(header: Header) -> bool:
    """Return whether the key was booked before: what has changed since is no reason to refuse."""
    return CreditTransaction.objects.filter(key=header.key).exists()


def _record_posting(
    action: str, posted: Posting, target: Model, asked: Asked, told: Mapping[str, object]
) -> None:
    """Record an act that was done now; a repeat of one was recorded when it was done."""
    if posted.is_new:
        balance = {"balance": posted.balance_after, "transaction": str(posted.transaction_id)}
        asked.record(
            action,
            target,
            before={"balance": (posted.balance_after or 0) - (posted.amount or 0)},
            after={**balance, **told},
        )
