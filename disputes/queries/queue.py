"""Disputes as they wait: what is overdue first."""

from datetime import datetime
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from accounts.models import User
from disputes.choices import OPEN
from disputes.errors import DisputeNotFound
from disputes.models import Decision, Dispute

# Wherever a dispute is shown, ``told_decisions`` are its decisions in order.
DECISIONS = Prefetch(
    "decisions",
    queryset=Decision.objects.select_related("decided_by").order_by("round"),
    to_attr="told_decisions",
)
# By which the queue is ordered, and paged.
ORDER = ("due_at", "id")


def shown(rows: QuerySet[Dispute]) -> QuerySet[Dispute]:
    """Return ``rows`` with all that a dispute is listed with, in two queries for any number."""
    related = "reason", "opened_by", "assignee", "approval", "wallet__user", "wallet__team"
    # The model declares ``told_decisions`` as well, for who reads them.
    return rows.select_related(*related).prefetch_related(DECISIONS)  # type: ignore[no-redef]


def queue(
    *,
    at: datetime,
    status: str | None = None,
    assignee: User | int | None = None,
    overdue: bool | None = None,
) -> QuerySet[Dispute]:
    """
    Return the disputes that are open, or those of one status; order them by ``ORDER``.

    :param overdue: only what is, or is not, open beyond its deadline at ``at``.
    """
    rows = Dispute.objects.filter(status__in=[status] if status else OPEN)
    if assignee is not None:
        rows = rows.filter(assignee=assignee)
    if overdue is not None:
        late = {"status__in": OPEN, "due_at__lte": at}
        rows = rows.filter(**late) if overdue else rows.exclude(**late)
    return shown(rows)


def is_overdue(dispute: Dispute, at: datetime) -> bool:
    return dispute.is_open and dispute.due_at <= at


def dispute_named(dispute_id: UUID, among: QuerySet[Dispute] | None = None) -> Dispute:
    """
    Return one of the disputes ``among`` which to look, of all if left out.

    :raises DisputeNotFound: there is none of that id.
    """
    rows = Dispute.objects.all() if among is None else among
    dispute = shown(rows).filter(pk=dispute_id).first()
    if dispute is None:
        raise DisputeNotFound
    return dispute
