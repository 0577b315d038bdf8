"""What users and staff are told of disputes by e-mail; the outbox sends it after commit."""

from collections.abc import Iterable

from accounts.models import User
from accounts.permissions import staff_may
from accounts.services.notices import tell
from disputes.choices import REFUNDS, Resolution
from disputes.models import Decision, Dispute
from disputes.queries.sides import REVIEW

OUTCOMES = {
    Resolution.FULL_REFUND: "We agree with you and have given your credits back.",
    Resolution.PARTIAL_REFUND: "We agree in part and have given some of your credits back.",
    Resolution.EXPLANATION: "We have looked into it. The charge stands; below is why.",
    Resolution.REJECTED: "We have looked into it and do not agree. The charge stands.",
}


def tell_user(dispute: Dispute, subject: str, *lines: str, **facts: str) -> None:
    """Write to who opened the dispute, in the transaction that is open, if they are still here."""
    if not dispute.opened_by.is_active:
        return
    tell(
        [dispute.opened_by],
        subject=subject,
        lines=lines,
        facts=[
            *((name.replace("_", " ").capitalize(), fact) for name, fact in facts.items()),
            ("Charge", f"{dispute.charged:,} credits"),
            ("Dispute", str(dispute.pk)),
        ],
    )


def tell_submitted(dispute: Dispute) -> None:
    tell_user(
        dispute,
        "We have your dispute",
        "You told us that a charge was wrong. Somebody will look into it by"
        f" {dispute.due_at:%Y-%m-%d %H:%M} UTC.",
        asked_for=f"{dispute.requested:,} credits",
    )


def tell_taken(dispute: Dispute) -> None:
    tell_user(dispute, "We are looking into your dispute", "Somebody has begun to look into it.")


def tell_appealed(dispute: Dispute) -> None:
    tell_user(
        dispute,
        "We have your appeal",
        "Somebody else than before will look into it by"
        f" {dispute.due_at:%Y-%m-%d %H:%M} UTC. What they decide is final.",
    )


def tell_decided(dispute: Dispute, decision: Decision) -> None:
    facts = {}
    lines = [OUTCOMES[Resolution(decision.resolution)]]
    if decision.resolution in REFUNDS:
        facts["given_back"] = f"{decision.refunded:,} credits"
    if decision.debt_reduced:
        lines.append(
            f"{decision.debt_reduced:,} of these credits made smaller what the wallet owes."
        )
    if decision.not_restorable:
        lines.append(
            f"{decision.not_restorable:,} credits could not be given back: what they were taken"
            " from has been withdrawn since."
        )
    lines.append(decision.notes)
    if decision.round == 1:
        lines.append("If you do not agree you can appeal once; somebody else decides then.")
    tell_user(dispute, "Your dispute was decided", *lines, **facts)


def tell_message(dispute: Dispute, text: str) -> None:
    tell_user(dispute, "A message about your dispute", text)


def tell_assignee(dispute: Dispute, subject: str, *lines: str) -> None:
    """Write to whom the dispute is assigned."""
    if dispute.assignee is not None and dispute.assignee.is_active:
        tell([dispute.assignee], subject=subject, lines=lines, facts=[("Dispute", str(dispute.pk))])


def tell_digest(*, new: int, overdue: int, open: int) -> None:
    """Write to all who review what has come in, and what has become overdue, since the last."""
    tell(
        reviewers(),
        subject="Disputes wait for you",
        lines=["They wait in the queue of disputes in the staff pages, the most urgent first."],
        facts=[("New", f"{new:,}"), ("Now overdue", f"{overdue:,}"), ("Open in all", f"{open:,}")],
    )


def reviewers() -> Iterable[User]:
    """Return the active staff who may review disputes."""
    staff = User.objects.filter(is_staff=True, is_active=True).order_by("pk")
    return [user for user in staff if staff_may(user, REVIEW)]
