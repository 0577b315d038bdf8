"""What staff do: work the queue, write, decide, and see how disputes go."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.approvals import WaitingDocument, waits
from accounts.api.callers import caller_of, idempotency_key, user_named
from accounts.errors import ApprovalEnded
from accounts.models import Approval
from creditsite.apikit.fields import (
    MAX_ID,
    CreditsField,
    PeriodQuery,
    QueryInteger,
    StrictChar,
    StrictSerializer,
    UserIdField,
)
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView, body_of, document_of
from creditsite.errors import NotFound
from disputes import errors
from disputes.api.documents import (
    DisputeForStaffDocument,
    QueuedDisputeDocument,
    ResolvedDocument,
    StatisticsDocument,
)
from disputes.api.users import VersionField, user_of
from disputes.choices import OPEN, DisputeStatus, Resolution
from disputes.models import Dispute
from disputes.queries.queue import ORDER, dispute_named, queue
from disputes.queries.sides import is_own
from disputes.queries.statistics import statistics
from disputes.services.messages import LONGEST_TEXT, add_note, write_to_user
from disputes.services.resolution import LONGEST_NOTES, resolve_dispute
from disputes.services.review import assign_dispute, review_dispute
from ledger.errors import (
    AlreadyReversed,
    ExceedsTaken,
    IdempotencyKeyReused,
    NothingToRestore,
    OwnWallet,
)

USUAL_PERIOD = timedelta(days=30)


class QueueQuery(ListQuery):
    status = serializers.ChoiceField(
        choices=DisputeStatus.choices, required=False, help_text="All that are open if left out."
    )
    assignee = QueryInteger(
        min_value=1, max_value=MAX_ID, required=False, help_text="The id of a member of staff."
    )
    overdue = serializers.ChoiceField(choices=["true", "false"], required=False)


class ReviewRequest(StrictSerializer):
    notes = StrictChar(max_length=LONGEST_NOTES, help_text="For staff; the user sees none of it.")
    assignee = UserIdField(required=False, help_text="Who is to look into it; you if left out.")
    version = VersionField()


class AssignRequest(StrictSerializer):
    assignee = UserIdField(allow_null=True, help_text="Who is to look into it; null for nobody.")
    notes = StrictChar(max_length=LONGEST_NOTES, required=False, help_text="For them.")
    version = VersionField()


class StaffMessageRequest(StrictSerializer):
    text = StrictChar(max_length=LONGEST_TEXT)
    audience = serializers.ChoiceField(
        choices=["user", "staff"], help_text="The user gets it by e-mail as well; staff keep it."
    )


class ResolveRequest(StrictSerializer):
    resolution = serializers.ChoiceField(
        choices=Resolution.choices,
        help_text="A full refund gives back what was asked for, as far as it is left.",
    )
    refund_amount = CreditsField(
        required=False, help_text="Credits of a partial refund, and of nothing else."
    )
    notes = StrictChar(max_length=LONGEST_NOTES, help_text="Why; the user is told.")
    version = VersionField()


class QueueView(ApiView):
    query_class = QueueQuery

    @operation("listDisputeQueue", answers={200: page_of(QueuedDisputeDocument)})
    def get(self, request: Request) -> Response:
        """What waits, overdue first and then by deadline; what is decided, the latest due first."""
        overdue = self.query.get("overdue")
        status = self.query.get("status")
        rows = queue(
            at=timezone.now(),
            status=status,
            assignee=self.query.get("assignee"),
            overdue=None if overdue is None else overdue == "true",
        )
        return page_response(
            request,
            rows,
            by=ORDER,
            newest_first=status is not None and status not in OPEN,
            query=self.query,
            document=QueuedDisputeDocument,
        )


class StaffDisputeView(ApiView):
    @operation("getDisputeAsStaff", answers={200: DisputeForStaffDocument}, refusals=[NotFound])
    def get(self, request: Request, dispute_id: UUID) -> Response:
        """A dispute with all of its timeline; of one's own, as much as its user sees."""
        return Response(as_staff_sees(request, dispute_named(dispute_id)))


STATE_REFUSALS = [NotFound, OwnWallet, errors.DisputeNotInState, errors.DisputeChanged]


class ReviewView(ApiView):
    @operation(
        "reviewDispute",
        body=ReviewRequest,
        answers={200: DisputeForStaffDocument},
        refusals=[*STATE_REFUSALS, errors.SameReviewer, errors.CannotReview],
    )
    def put(self, request: Request, dispute_id: UUID) -> Response:
        """Take a pending dispute under review, for yourself or for a colleague."""
        body = body_of(request, ReviewRequest)
        dispute = dispute_named(dispute_id)
        assignee = user_named(body["assignee"]) if "assignee" in body else None
        reviewed = review_dispute(
            dispute=dispute,
            notes=body["notes"],
            assignee=assignee,
            actor=user_of(request),
            at=timezone.now(),
            version=body.get("version"),
        )
        return Response(as_staff_sees(request, reviewed))


class AssignView(ApiView):
    @operation(
        "assignDispute",
        body=AssignRequest,
        answers={200: DisputeForStaffDocument},
        refusals=[*STATE_REFUSALS, errors.CannotReview],
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Give an open dispute to a colleague, or to nobody."""
        body = body_of(request, AssignRequest)
        dispute = dispute_named(dispute_id)
        assignee = user_named(body["assignee"]) if body["assignee"] is not None else None
        assigned = assign_dispute(
            dispute=dispute,
            assignee=assignee,
            notes=body.get("notes", ""),
            actor=user_of(request),
            at=timezone.now(),
            version=body.get("version"),
        )
        return Response(as_staff_sees(request, assigned))


class StaffMessageView(ApiView):
    @operation(
        "writeInDisputeAsStaff",
        body=StaffMessageRequest,
        answers={200: DisputeForStaffDocument},
        refusals=[NotFound, OwnWallet],
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Write to the user, or a note that only staff see."""
        body = body_of(request, StaffMessageRequest)
        dispute = dispute_named(dispute_id)
        write = write_to_user if body["audience"] == "user" else add_note
        write(dispute=dispute, text=body["text"], actor=user_of(request), at=timezone.now())
        return Response(as_staff_sees(request, dispute))


class ResolveView(ApiView):
    @operation(
        "resolveDispute",
        body=ResolveRequest,
        answers={200: ResolvedDocument, 202: WaitingDocument},
        refusals=[
            *STATE_REFUSALS,
            errors.SameReviewer,
            errors.DisputeWaits,
            IdempotencyKeyReused,
            ApprovalEnded,
            AlreadyReversed,
            ExceedsTaken,
            NothingToRestore,
        ],
        takes_key=True,
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """
        Decide a dispute that is under review; many credits wait for a second person.

        Credits go back to where they came from; the decision says what could not be given back.
        """
        body = body_of(request, ResolveRequest)
        key = idempotency_key(request)
        done = resolve_dispute(
            dispute=dispute_named(dispute_id),
            resolution=Resolution(body["resolution"]),
            refund_amount=body.get("refund_amount"),
            notes=body["notes"],
            actor=user_of(request),
            caller=caller_of(request),
            at=timezone.now(),
            idempotency_key=key,
            version=body.get("version"),
        )
        if isinstance(done, Approval):
            return waits(done)
        dispute = read_by(request, dispute_named(dispute_id))
        document = document_of(ResolvedDocument, {"dispute": dispute, "decision": done.decision})
        headers = {} if done.is_new else {"Idempotent-Replayed": "true"}
        return Response(document, headers=headers)


class StatisticsView(ApiView):
    query_class = PeriodQuery

    @operation("getDisputeStatistics", answers={200: StatisticsDocument})
    def get(self, request: Request) -> Response:
        """How disputes go, in a period: the last 30 days if nothing else is said."""
        at = timezone.now()
        until = self.query.get("until", at)
        since = self.query.get("since", until - USUAL_PERIOD)
        return Response(StatisticsDocument(statistics(since=since, until=until, at=at)).data)


def read_by(request: Request, dispute: Dispute) -> Dispute:
    """Return ``dispute`` with a note of whether it is the reader's own."""
    dispute.is_of_reader = is_own(user_of(request), dispute)
    return dispute


def as_staff_sees(request: Request, dispute: Dispute) -> dict[str, object]:
    return document_of(DisputeForStaffDocument, read_by(request, dispute_named(dispute.pk)))
