"""Who hears by e-mail that a batch was asked for, that it runs, and what came of it."""

from decimal import Decimal

from accounts.choices import JobStatus
from accounts.models import User
from accounts.services.approvals import possible_checkers
from accounts.services.notices import admins, tell
from ledger.models import Batch
from ledger.queries.batches import progress_of
from ledger.services.batch_words import sentence_of


def tell_requested(batch: Batch) -> None:
    """
    Write to who may decide on ``batch`` that it waits for them, and to every Admin.

    Whoever asks the approval need not write to them as well: its e-mail would say less.
    """
    checkers = possible_checkers(batch.approval) if batch.approval else []
    tell(
        {user.pk: user for user in _but_maker(batch, [*checkers, *admins()])}.values(),
        subject=f"Batch {batch.pk} waits for approval",
        lines=[
            f"{batch.maker} asks for a second person:",
            f"{sentence_of(batch)}.",
            "It waits under Approvals in the staff pages.",
        ],
        facts=_planned(batch),
    )


def tell_started(batch: Batch) -> None:
    """Write to every Admin but who asked for it that ``batch`` runs now, approved if it had to."""
    how = "It was approved, and runs now." if batch.approval else "It runs now."
    tell(
        _but_maker(batch, admins()),
        subject=f"Batch {batch.pk} has started",
        lines=[
            f"{sentence_of(batch)}.",
            f"{how} Its page under Batches in the staff pages shows how far it is.",
        ],
        facts=_planned(batch),
    )


def tell_finished(batch: Batch) -> None:
    """Write to every Admin, and to who asked for it, what came of ``batch``."""
    progress = progress_of(batch)
    is_done = progress.status == JobStatus.DONE
    tell(
        [*admins(), *([batch.maker] if batch.maker else [])],
        subject=f"Batch {batch.pk} {'is finished' if is_done else 'was cancelled'}",
        lines=[
            f"{sentence_of(batch)}.",
            "All of it is done."
            if is_done
            else "What was done before it was cancelled stays done; the rest was not.",
        ],
        facts=[
            ("Done", f"{progress.moved:,} of {progress.wallets_total:,}"),
            ("Credits moved", f"{progress.credits:,}"),
            *((f"Left out: {why}", f"{count:,}") for why, count in progress.reasons.items()),
        ],
    )


def _but_maker(batch: Batch, users: list[User]) -> list[User]:
    return [user for user in users if user != batch.maker]


def _planned(batch: Batch) -> list[tuple[str, str]]:
    cost = batch.plan["cost"]
    return [
        ("Asked for by", str(batch.maker or "the system")),
        ("Reason", batch.reason),
        ("Users", f"{batch.plan['wallets']:,}"),
        ("Credits", f"{batch.plan['credits']:,}"),
        ("At the recovery cost", f"{Decimal(cost['amount']):,} {cost['currency']}"),
    ]
