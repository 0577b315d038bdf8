"""Who hears by e-mail that something waits, and how it ended; the outbox sends it after commit."""

from collections.abc import Iterable

from accounts.choices import ApprovalStatus
from accounts.models import Approval, User
from accounts.services.notices import tell

OUTCOMES = {
    ApprovalStatus.EXECUTED: "It was approved, and done.",
    ApprovalStatus.FAILED: "It was approved, but could not be done any more.",
    ApprovalStatus.REFUSED: "It was refused.",
    ApprovalStatus.EXPIRED: "Nobody decided on it in time.",
}


def tell_checkers(approval: Approval, checkers: Iterable[User]) -> None:
    """Write to each of ``checkers`` that a colleague asks for something."""
    tell(
        checkers,
        subject="An approval waits for you",
        lines=[
            f"{approval.maker} asks for a second person:",
            f"{approval.sentence}",
            f"It waits under Approvals in the staff pages"
            f" until {approval.expires_at:%Y-%m-%d %H:%M} UTC.",
        ],
        facts=[("Reason", approval.reason)],
    )


def tell_maker(approval: Approval) -> None:
    """Write to who asked how it ended."""
    lines = [approval.sentence, OUTCOMES[ApprovalStatus(approval.status)]]
    lines += [line for line in (approval.error, approval.note) if line]
    tell([approval.maker], subject="What you asked for was decided", lines=lines)
