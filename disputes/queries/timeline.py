"""What happened to a dispute, in order, as staff or its user are shown it."""

from django.db.models import QuerySet

from disputes.models import Attachment, Decision, Dispute, DisputeEvent


def timeline_of(dispute: Dispute, *, with_internal: bool) -> QuerySet[DisputeEvent]:
    """Return the events of a dispute, oldest first; users are shown none that is internal."""
    events = dispute.events.select_related("actor").order_by("id")
    return events if with_internal else events.filter(is_internal=False)


def attachments_of(dispute: Dispute, *, with_internal: bool) -> QuerySet[Attachment]:
    """Return the files of a dispute without their contents, oldest first."""
    files = dispute.attachments.defer("content").order_by("id")
    return files if with_internal else files.filter(is_internal=False)


def decisions_of(dispute: Dispute) -> QuerySet[Decision]:
    return dispute.decisions.select_related("decided_by").order_by("round")
