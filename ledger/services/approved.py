"""Adjustments that a second person approves: what that person reads, and what is booked then."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from accounts.models import Approval, User
from accounts.services.approvals import approval_kind
from ledger.choices import CreditType
from ledger.models import CreditTransaction, Wallet
from ledger.queries.balances import balance_of
from ledger.queries.reversals import effects_of_reversal
from ledger.queries.wallets import is_own_wallet
from ledger.services import bookings, posting
from ledger.services.adjustments import refuse_own_wallet
from ledger.services.bookings import Asked

Payload = Mapping[str, Any]


def register() -> None:
    """Let :mod:`accounts.services.approvals` know the adjustments."""
    of_wallet = partial(approval_kind, concerns=concerns_wallet, state=state_of_wallet)
    of_wallet(
        "ledger.add_credits",
        permission="ledger.adjust_wallet",
        execute=add_credits,
        describe=describe_addition,
    )
    of_wallet(
        "ledger.remove_credits",
        permission="ledger.adjust_wallet",
        execute=remove_credits,
        describe=describe_removal,
    )
    of_wallet(
        "ledger.set_balances",
        permission="ledger.set_balances",
        execute=change_balances,
        describe=describe_changes,
    )
    approval_kind(
        "ledger.reverse_transaction",
        permission="ledger.reverse_credittransaction",
        execute=reverse_transaction,
        describe=describe_reversal,
        concerns=concerns_wallet_of_transaction,
        state=state_of_transaction,
    )


# --- What is booked -------------------------------------------------------------------------------
def add_credits(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    expires_at = payload["expires_at"]
    posted = bookings.book_addition(
        wallet=_wallet_for(payload, approval),
        amount=payload["amount"],
        credit_type=CreditType(payload["credit_type"]),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        asked=_asked(approval, at),
    )
    return {"transactions": [str(posted.transaction_id)]}


def remove_credits(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    credit_type = payload["credit_type"]
    posted = bookings.book_removal(
        wallet=_wallet_for(payload, approval),
        amount=payload["amount"],
        credit_type=CreditType(credit_type) if credit_type else None,
        asked=_asked(approval, at),
    )
    return {"transactions": [str(posted.transaction_id)]}


def change_balances(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    postings = bookings.book_changes(
        wallet=_wallet_for(payload, approval),
        changes=_changes(payload),
        asked=_asked(approval, at),
    )
    return {"transactions": [str(posted.transaction_id) for posted in postings]}


def reverse_transaction(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    original = _transaction(payload)
    refuse_own_wallet(actor=approval.maker, wallet=original.wallet)
    posted = bookings.book_reversal(
        original=original,
        amount=payload["amount"],
        partly=payload["partly"],
        asked=_asked(approval, at),
    )
    return {"transactions": [str(posted.transaction_id)]}


def _asked(approval: Approval, at: datetime) -> Asked:
    return Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )


def _wallet_for(payload: Payload, approval: Approval) -> Wallet:
    """
    Return the wallet, locked: nothing else moves it until the transaction ends.

    :raises OwnWallet: it has become the maker's own since they asked.
    """
    posting.lock_wallet(payload["wallet"])
    wallet = Wallet.objects.get(pk=payload["wallet"])
    refuse_own_wallet(actor=approval.maker, wallet=wallet)
    return wallet


# --- What is read ---------------------------------------------------------------------------------
def describe_addition(payload: Payload) -> str:
    expires_at = payload["expires_at"]
    until = f", until {datetime.fromisoformat(expires_at):%Y-%m-%d %H:%M} UTC" if expires_at else ""
    return (
        f"Add {payload['amount']:,} {payload['credit_type']} credits to {_wallet(payload)}{until}"
    )


def describe_removal(payload: Payload) -> str:
    credit_type = payload["credit_type"]
    kind = f"{credit_type} credits" if credit_type else "credits of any type"
    return f"Remove {payload['amount']:,} {kind} from {_wallet(payload)}"


def describe_changes(payload: Payload) -> str:
    changes = ", ".join(f"{change:+,} {name}" for name, change in _changes(payload).items())
    return f"Change the balances of {_wallet(payload)}: {changes}"


def describe_reversal(payload: Payload) -> str:
    original = _transaction(payload)
    part = f"{payload['amount']:,} credits" if payload["amount"] else "all that is left"
    return (
        f"Reverse {part} of no. {original.number} of {original.wallet}, {original.kind} of"
        f" {original.amount:+,} credits{', though partly spent' if payload['partly'] else ''}"
    )


def state_of_wallet(payload: Payload, at: datetime) -> list[str]:
    """Say what the wallet has now, and what a change would make of it."""
    balance = balance_of(payload["wallet"], at)
    figures = ", ".join(f"{t.value} {getattr(balance, t):,}" for t in CreditType)
    held = f"; {balance.held:,} of them are held" if balance.held else ""
    lines = [f"{_wallet(payload)} has now: {figures}{held}."]
    return lines + [
        f"{name}: {getattr(balance, name):,} → {getattr(balance, name) + change:,} ({change:+,})"
        for name, change in _changes(payload).items()
    ]


def state_of_transaction(payload: Payload, at: datetime) -> list[str]:
    return effects_of_reversal(_transaction(payload), at)


def concerns_wallet(payload: Payload, user: User) -> bool:
    return is_own_wallet(user, _wallet(payload))


def concerns_wallet_of_transaction(payload: Payload, user: User) -> bool:
    return is_own_wallet(user, _transaction(payload).wallet)


def _wallet(payload: Payload) -> Wallet:
    return Wallet.objects.with_owner().get(pk=payload["wallet"])


def _transaction(payload: Payload) -> CreditTransaction:
    rows = CreditTransaction.objects.select_related("wallet__user", "wallet__team")
    return rows.get(pk=payload["transaction"])


def _changes(payload: Payload) -> dict[CreditType, int]:
    """Return the differences by type, in the order in which types are always listed."""
    changes = payload.get("changes", {})
    return {t: changes[t.value] for t in CreditType if t.value in changes}
