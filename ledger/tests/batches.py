"""Batches for tests, in the states that their names say."""

from typing import Any

from accounts.models import Approval, User
from accounts.services import approvals
from accounts.services.jobs import run_job
from ledger.choices import BatchKind, CreditType
from ledger.models import Batch, BatchException, BatchItem, CreditTransaction, Wallet
from ledger.services import batches
from ledger.services.batch_files import BatchRow
from ledger.services.batch_words import phrase_of
from ledger.tests.factories import AT, finance, wallet_with_credits

WHY = "Thanks for testing the beta"


def drafted(kind: BatchKind = BatchKind.ADD, amount: int | None = 50, **more: Any) -> Batch:
    """Return a draft over all users; with ``rows``, of a file."""
    if "rows" in more:
        amount = None
        more = {"selection": {"of": "csv", "name": "some.csv", "sha256": "0" * 64}} | more
    request = {
        "kind": kind,
        "credit_type": None if kind == BatchKind.OPENING else CreditType.AWARD,
        "amount": amount,
        "selection": {"of": "all"},
        "reason": WHY,
        "at": AT,
    } | more
    if "maker" not in request:
        request["maker"] = finance()
    return batches.draft_batch(**request)


def planned(*args: Any, **more: Any) -> Batch:
    at = more.get("at", AT)
    return batches.plan_batch(batch=drafted(*args, **more), at=at)


def confirm(batch: Batch, **more: Any) -> Batch | Approval:
    """Confirm ``batch`` as its maker does who saw it as it is now."""
    request = {
        "plan_hash": batch.plan_hash,
        "phrase": phrase_of(batch),
        "actor": batch.maker,
        "at": AT,
    } | more
    return batches.confirm_batch(batch=batch, **request)


def approve(approval: Approval, checker: User | None = None, at: Any = AT) -> Approval:
    return approvals.approve(
        approval=approval, checker=checker or finance(), note="looks right", at=at
    )


def started(*args: Any, **more: Any) -> Batch:
    """Return a batch that was confirmed, and approved where that was needed."""
    return start(planned(*args, **more))


def start(batch: Batch, at: Any = AT) -> Batch:
    confirmed = confirm(batch, at=at)
    if isinstance(confirmed, Approval):
        assert approve(confirmed, at=at).status == "executed"
    return fresh(batch)


def run(batch: Batch, at: Any = AT, **more: Any) -> Batch:
    """Run a batch to its end."""
    assert batch.job is not None
    run_job(batch.job, clock=lambda: at, **more)
    return fresh(batch)


def done(*args: Any, **more: Any) -> Batch:
    batch = run(started(*args, **more))
    assert batch.job is not None
    assert batch.job.status == "done"
    return batch


def reversed_(batch: Batch, **more: Any) -> Batch:
    request = {"reason": "It was a mistake", "actor": batch.maker, "at": AT} | more
    return batches.reverse_batch(batch=batch, **request)


def fresh(batch: Batch) -> Batch:
    return Batch.objects.select_related("job", "maker", "approval").get(pk=batch.pk)


def users_with(number: int, **credits: int) -> list[Wallet]:
    return [wallet_with_credits(**credits) for _ in range(number)]


def row(wallet: Wallet, amount: int | None, line: int = 2, **more: Any) -> BatchRow:
    assert wallet.user is not None
    return BatchRow(line, wallet.user.email, amount=amount, **more)


def items_of(batch: Batch) -> dict[int, int]:
    return dict(BatchItem.objects.filter(batch=batch).values_list("wallet", "amount"))


def left_out_of(batch: Batch, *, at_run: bool = False) -> dict[Any, str]:
    rows = BatchException.objects.filter(batch=batch, is_at_run=at_run)
    return {
        wallet or f"line {line}": why
        for wallet, line, why in rows.values_list("wallet", "line", "why")
    }


def moved_by(batch: Batch) -> dict[int, int]:
    """Return what the ledger says that ``batch`` moved, by wallet."""
    rows = CreditTransaction.objects.filter(reference_id=str(batch.public_id))
    found: dict[int, int] = {}
    for wallet, amount in rows.values_list("wallet", "amount"):
        assert wallet not in found or batch.selection["of"] == "csv"
        found[wallet] = found.get(wallet, 0) + amount
    return found
