"""What disputes hold about a person: given to them, and what of it goes when they are erased."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.personal_data import Keeper, Section
from accounts.services.people_data import mentioning
from disputes.choices import OPEN
from disputes.models import Answer, Attachment, Decision, Dispute, DisputeEvent, PaymentDispute
from disputes.queries.timeline import attachments_of, decisions_of, timeline_of


class Complaints(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        count = disputes_of(user).filter(status__in=OPEN).count()
        return [f"They have open disputes ({count}): decide them first."] if count else []

    def erases(self, user: User) -> dict[str, int]:
        files = Attachment.objects.filter(dispute__in=disputes_of(user)).exclude(content=None)
        return {
            "disputes, in their words": disputes_of(user).filter(erased_at=None).count(),
            "files of disputes": files.count(),
        }

    def keeps(self, user: User) -> list[str]:
        count = disputes_of(user).count()
        said = f"{count:,} disputes with their credits, dates and decisions, without texts or files"
        return [f"{said}: they explain the books."] if count else []

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        own = [
            ("disputes.dispute", disputes_of(user)),
            ("disputes.paymentdispute", PaymentDispute.objects.filter(payment__user=user)),
        ]
        return {(kind, str(pk)) for kind, rows in own for pk in rows.values_list("pk", flat=True)}

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        words, opened = list(words), Q(pk__in=disputes_of(user))
        Dispute.objects.filter(
            opened | mentioning(words, "description", "other_reason"), erased_at=None
        ).update(description="", other_reason="", erased_at=at)
        theirs = Q(dispute__in=disputes_of(user))
        events = DisputeEvent.objects.exclude(text="").filter(theirs | mentioning(words, "text"))
        events.update(text="")
        decisions = Decision.objects.exclude(notes="").filter(theirs | mentioning(words, "notes"))
        decisions.update(notes="")
        files = theirs | Q(uploaded_by=user, by_staff=False) | mentioning(words, "name")
        Attachment.objects.exclude(content=None).filter(files).update(content=None, name="")
        paid = Q(dispute__payment__user=user)
        Answer.objects.filter(paid).update(evidence={}, reason="", error="")
        Answer.objects.filter(mentioning(words, "reason")).update(reason="")

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {"disputes": documents_of(user)}


def disputes_of(user: User) -> QuerySet[Dispute]:
    """Return the disputes that ``user`` opened, and those of their own wallet."""
    return Dispute.objects.filter(Q(opened_by=user) | Q(wallet__user=user))


def documents_of(user: User) -> Iterator[dict[str, Any]]:
    """Yield the disputes that ``user`` opened, with what was said to them and by them."""
    opened = Dispute.objects.filter(opened_by=user).select_related("reason").order_by("id")
    for dispute in opened.iterator(chunk_size=200):
        yield {
            "id": dispute.pk,
            "transaction_id": dispute.transaction_id,
            "status": dispute.status,
            "reason": dispute.other_reason or dispute.reason.label,
            "description": dispute.description,
            "charged": dispute.charged,
            "requested": dispute.requested,
            "submitted_at": dispute.submitted_at,
            "appealed_at": dispute.appealed_at,
            "timeline": [
                {
                    "kind": event.kind,
                    "by": "staff" if event.by_staff else "you",
                    "text": event.text,
                    "at": event.at,
                }
                for event in timeline_of(dispute, with_internal=False)
            ],
            "decisions": [
                {
                    "resolution": decision.resolution,
                    "refunded": decision.refunded,
                    "notes": decision.notes,
                    "decided_at": decision.decided_at,
                }
                for decision in decisions_of(dispute)
            ],
            "files": [
                {"name": file.name, "size": file.size, "uploaded_at": file.uploaded_at}
                for file in attachments_of(dispute, with_internal=False)
            ],
        }
