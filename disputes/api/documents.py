"""How disputes are told: to their users, and to staff, who see more."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.approvals import PersonDocument, ShortApprovalDocument
from disputes.choices import DisputeStatus, EventKind, FileType, Resolution
from disputes.models import Dispute
from disputes.queries.charges import open_credits
from disputes.queries.queue import is_overdue
from disputes.queries.timeline import attachments_of, timeline_of
from ledger.api.transactions import OrNull


class ReasonDocument(serializers.Serializer):
    code = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a serializer has one, too


class DecisionDocument(serializers.Serializer):
    round = serializers.IntegerField(help_text="1; 2 of an appeal.")
    resolution = serializers.ChoiceField(choices=Resolution.choices)
    asked = serializers.IntegerField(help_text="Credits to be given back.")
    refunded = serializers.IntegerField(help_text="Credits given back, in whatever form.")
    to_balance = serializers.IntegerField(help_text="Of them into the balance.")
    debt_reduced = serializers.IntegerField(help_text="Of them off what the wallet owes.")
    not_restorable = serializers.IntegerField(
        help_text="Credits that could not be given back: they were withdrawn since the charge."
    )
    transaction_id = serializers.UUIDField(allow_null=True, help_text="That gave them back.")
    notes = serializers.CharField(allow_blank=True, help_text="Why, for the user.")
    decided_at = serializers.DateTimeField()


class DecisionForStaffDocument(DecisionDocument):
    decided_by = PersonDocument()


class EventDocument(serializers.Serializer):
    kind = serializers.ChoiceField(choices=EventKind.choices)
    by_staff = serializers.BooleanField()
    text = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()


class EventForStaffDocument(EventDocument):
    actor = PersonDocument(allow_null=True, help_text="null for the system.")
    is_internal = serializers.BooleanField(help_text="Not shown to the user.")
    details = serializers.DictField(source="data", help_text="Numbers and codes of what happened.")


class AttachmentDocument(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True)
    content_type = serializers.ChoiceField(choices=FileType.choices)
    size = serializers.IntegerField(help_text="In bytes.")
    by_staff = serializers.BooleanField()
    uploaded_at = serializers.DateTimeField()


class AttachmentForStaffDocument(AttachmentDocument):
    is_internal = serializers.BooleanField(help_text="Not shown to the user.")


class DisputeDocument(serializers.Serializer):
    id = serializers.UUIDField()
    transaction_id = serializers.UUIDField(help_text="The charge.")
    user_id = serializers.IntegerField(source="opened_by_id", help_text="Who disputes it.")
    status = serializers.ChoiceField(choices=DisputeStatus.choices)
    is_appealed = serializers.SerializerMethodField()
    version = serializers.IntegerField(help_text="Of its state. Send it back to change just that.")
    feature = OrNull(help_text="That was charged.")
    charged = serializers.IntegerField(help_text="Credits that the charge took.")
    requested_refund = serializers.IntegerField(source="requested")
    reason_code = serializers.CharField(source="reason_id", help_text="Of a listed reason.")
    reason_label = serializers.CharField(source="reason.label")
    other_reason = OrNull(help_text="What was sent instead of a listed reason.")
    description = serializers.CharField(allow_blank=True)
    submitted_at = serializers.DateTimeField()
    appealed_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(help_text="Until when it is to be decided.")
    decisions = DecisionDocument(many=True, source="told_decisions")

    def get_is_appealed(self, dispute: Dispute) -> bool:
        return dispute.round > 1


class AppealDocument(serializers.Serializer):
    description = serializers.CharField(source="text", allow_blank=True)
    appealed_at = serializers.DateTimeField(source="at")


def appeal_document(dispute: Dispute) -> Any:
    appeal = dispute.events.filter(kind=EventKind.APPEALED).first() if dispute.round > 1 else None
    return AppealDocument(appeal).data if appeal else None


class FullDisputeDocument(DisputeDocument):
    appeal = serializers.SerializerMethodField()
    timeline = serializers.SerializerMethodField(help_text="Oldest first.")
    attachments = serializers.SerializerMethodField()

    @extend_schema_field(AppealDocument(allow_null=True))
    def get_appeal(self, dispute: Dispute) -> Any:
        return appeal_document(dispute)

    @extend_schema_field(EventDocument(many=True))
    def get_timeline(self, dispute: Dispute) -> Any:
        return EventDocument(timeline_of(dispute, with_internal=False), many=True).data

    @extend_schema_field(AttachmentDocument(many=True))
    def get_attachments(self, dispute: Dispute) -> Any:
        return AttachmentDocument(attachments_of(dispute, with_internal=False), many=True).data


class QueuedDisputeDocument(DisputeDocument):
    user = PersonDocument(source="opened_by")
    wallet_user_id = serializers.IntegerField(source="wallet.user_id", allow_null=True)
    wallet_team_id = serializers.UUIDField(source="wallet.team.public_id", allow_null=True)
    assignee = PersonDocument(allow_null=True)
    is_overdue = serializers.SerializerMethodField()
    approval = ShortApprovalDocument(allow_null=True, help_text="That a decision waits for.")
    decisions = DecisionForStaffDocument(many=True, source="told_decisions")

    def get_is_overdue(self, dispute: Dispute) -> bool:
        return is_overdue(dispute, timezone.now())


class DisputeForStaffDocument(QueuedDisputeDocument):
    open_credits = serializers.SerializerMethodField(
        help_text="What of the charge is not given back yet."
    )
    appeal = serializers.SerializerMethodField()
    timeline = serializers.SerializerMethodField(help_text="Oldest first.")
    attachments = serializers.SerializerMethodField()

    def get_open_credits(self, dispute: Dispute) -> int:
        return open_credits(dispute.transaction_id)

    @extend_schema_field(AppealDocument(allow_null=True))
    def get_appeal(self, dispute: Dispute) -> Any:
        return appeal_document(dispute)

    @extend_schema_field(EventForStaffDocument(many=True))
    def get_timeline(self, dispute: Dispute) -> Any:
        events = timeline_of(dispute, with_internal=self.sees_internal(dispute))
        return EventForStaffDocument(events, many=True).data

    @extend_schema_field(AttachmentForStaffDocument(many=True))
    def get_attachments(self, dispute: Dispute) -> Any:
        files = attachments_of(dispute, with_internal=self.sees_internal(dispute))
        return AttachmentForStaffDocument(files, many=True).data

    @staticmethod
    def sees_internal(dispute: Dispute) -> bool:
        """Whoever disputes it themselves does not read what colleagues write about that."""
        return not getattr(dispute, "is_of_reader", False)


class ResolvedDocument(serializers.Serializer):
    dispute = DisputeForStaffDocument()
    decision = DecisionForStaffDocument()


class OfResolutionDocument(serializers.Serializer):
    resolution = serializers.ChoiceField(choices=Resolution.choices)
    decided = serializers.IntegerField()
    refunded = serializers.IntegerField()


class OfReasonDocument(ReasonDocument):
    submitted = serializers.IntegerField()
    refunded = serializers.IntegerField()


class OfFeatureDocument(serializers.Serializer):
    feature = OrNull()
    submitted = serializers.IntegerField()
    charged = serializers.IntegerField()
    upheld = serializers.IntegerField(help_text="Those after which credits were given back.")
    refunded = serializers.IntegerField()


class OfReviewerDocument(serializers.Serializer):
    user_id = serializers.IntegerField()
    email = serializers.EmailField()
    decided = serializers.IntegerField()
    upheld = serializers.IntegerField(help_text="Those in which they gave credits back.")
    refunded = serializers.IntegerField()
    average_seconds = serializers.IntegerField()


class StatisticsDocument(serializers.Serializer):
    pending = serializers.IntegerField(help_text="Now.")
    under_review = serializers.IntegerField(help_text="Now.")
    overdue = serializers.IntegerField(help_text="Now.")
    submitted = serializers.IntegerField()
    requested = serializers.IntegerField(help_text="Credits.")
    decided = serializers.IntegerField()
    appeals_decided = serializers.IntegerField()
    refunded = serializers.IntegerField(help_text="Credits.")
    average_seconds = serializers.IntegerField(
        allow_null=True, help_text="From a dispute or an appeal to its decision."
    )
    median_seconds = serializers.IntegerField(allow_null=True)
    slowest_tenth_seconds = serializers.IntegerField(
        allow_null=True, help_text="A tenth of them took longer."
    )
    resolutions = OfResolutionDocument(many=True)
    reasons = OfReasonDocument(many=True)
    features = OfFeatureDocument(many=True)
    reviewers = OfReviewerDocument(many=True)
