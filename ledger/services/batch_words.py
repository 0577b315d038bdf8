"""What a batch is called: the sentence that staff read, and the phrase that they type."""

from typing import Any

from ledger.choices import BatchKind, ShortPolicy
from ledger.models import Batch


def sentence_of(batch: Batch) -> str:
    """Return what ``batch`` does, as one sentence without its full stop."""
    if batch.kind == BatchKind.REVERSAL:
        return f"Reverse batch {batch.reverses_id} of {_users(batch)}"
    if batch.kind == BatchKind.OPENING:
        return f"Enter opening balances of {_in_all(batch)} for {_users(batch)}{_file(batch)}"
    verb, to = ("Add", "to") if batch.kind == BatchKind.ADD else ("Deduct", "from")
    up_to = "up to " if batch.policy == ShortPolicy.TAKE else ""
    if batch.amount is None:
        return f"{verb} {up_to}{_in_all(batch)} {to} {_users(batch)}{_file(batch)}"
    each = "each of " if batch.plan.get("wallets") != 1 else ""
    return f"{verb} {up_to}{batch.amount:,} {batch.credit_type} credits {to} {each}{_users(batch)}"


def phrase_for(batch: Batch, plan: dict[str, Any]) -> str:
    """Return what is to be typed to confirm that ``batch`` does what ``plan`` says."""
    users = f"{plan['wallets']:,} {'USER' if plan['wallets'] == 1 else 'USERS'}"
    if batch.kind == BatchKind.REVERSAL:
        return f"REVERSE BATCH {batch.reverses_id} OF {users}"
    amount = f"{plan['credits']:,} IN ALL" if batch.amount is None else f"{batch.amount:,}"
    verb, to = {
        BatchKind.ADD: ("ADD", "TO"),
        BatchKind.DEDUCT: ("DEDUCT", "FROM"),
        BatchKind.OPENING: ("ENTER", "FOR"),
    }[BatchKind(batch.kind)]
    return f"{verb} {amount} {to} {users}"


def phrase_of(batch: Batch) -> str:
    """Return what is to be typed to confirm ``batch``; "" when it is small."""
    return str(batch.plan.get("phrase", ""))


def _users(batch: Batch) -> str:
    if "wallets" not in batch.plan:
        return "users yet to be counted"
    wallets = batch.plan["wallets"]
    return f"{wallets:,} {'user' if wallets == 1 else 'users'}"


def _in_all(batch: Batch) -> str:
    credit_type = f"{batch.credit_type} " if batch.credit_type else ""
    if "credits" not in batch.plan:
        return f"{credit_type}credits"
    return f"{batch.plan['credits']:,} {credit_type}credits in all"


def _file(batch: Batch) -> str:
    return f", by file {batch.selection['name']}" if batch.selection["of"] == "csv" else ""
