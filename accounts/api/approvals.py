"""What waits for a second person: for staff in person, and never for a service key."""

from typing import Any, cast
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.recent import RecentSignInRequired
from accounts.choices import ApprovalStatus
from accounts.errors import ApprovalNotWaiting, ConcernsYou, NotYourRequest, OwnRequest
from accounts.models import Approval, User
from accounts.services import approvals
from creditsite.apikit.fields import StrictChar, StrictSerializer
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView, body_of, document_of
from creditsite.errors import NotFound


class ShortApprovalDocument(serializers.Serializer):
    id = serializers.UUIDField(source="public_id")
    kind = serializers.CharField()
    status = serializers.SerializerMethodField()
    expires_at = serializers.DateTimeField()

    def get_status(self, approval: Approval) -> ApprovalStatus:
        return approval.status_at(timezone.now())


class WaitingDocument(serializers.Serializer):
    approval = ShortApprovalDocument()


class PersonDocument(serializers.Serializer):
    id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()


class ApprovalDocument(ShortApprovalDocument):
    sentence = serializers.CharField(help_text="What was asked for, in words.")
    payload = serializers.DictField(help_text="What was asked for, to the letter.")
    reason = serializers.CharField()
    maker = PersonDocument(help_text="Who asked.")
    asked_at = serializers.DateTimeField()
    checker = PersonDocument(allow_null=True, help_text="Who decided; null for the system.")
    decided_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField(allow_blank=True, help_text="Why it was decided so.")
    result = serializers.DictField(allow_null=True, help_text="What came of it.")
    error = serializers.CharField(allow_blank=True, help_text="Why it failed.")


class ApprovalListQuery(ListQuery):
    status = serializers.ChoiceField(choices=ApprovalStatus.choices, required=False)
    mine = serializers.ChoiceField(
        choices=["asked", "to_decide"],
        required=False,
        help_text="What the caller asked for, or what waits for them.",
    )


class DecisionRequest(StrictSerializer):
    note = StrictChar(max_length=500, help_text="Why; the other person reads it.")


class ApprovalListView(ApiView):
    query_class = ApprovalListQuery

    @operation("listApprovals", answers={200: page_of(ApprovalDocument)})
    def get(self, request: Request) -> Response:
        """What was asked for, the latest first."""
        at, rows = timezone.now(), asked_for()
        if self.query.get("mine") == "asked":
            rows = rows.filter(maker=actor_of(request))
        elif self.query.get("mine") == "to_decide":
            rows = rows & approvals.waiting_for(actor_of(request), at)
        if status := self.query.get("status"):
            rows = rows.filter(approvals.is_in(ApprovalStatus(status), at))
        return page_response(request, rows, by=["id"], query=self.query, document=ApprovalDocument)


class ApprovalView(ApiView):
    @operation("getApproval", answers={200: ApprovalDocument}, refusals=[NotFound])
    def get(self, request: Request, approval_id: UUID) -> Response:
        """One request, and how it ended."""
        return answer(approval_named(approval_id))


DECIDING_REFUSALS = [OwnRequest, ConcernsYou, RecentSignInRequired, ApprovalNotWaiting, NotFound]


class ApproveView(ApiView):
    @operation(
        "approve",
        body=DecisionRequest,
        answers={200: ApprovalDocument},
        refusals=DECIDING_REFUSALS,
    )
    def post(self, request: Request, approval_id: UUID) -> Response:
        """
        Approve a colleague's request, and do what it asks for.

        `status` says what came of it: `executed`; `failed`, with the `error`, if the books refuse
        it now; `refused`, if who asked may not do it any more.
        """
        return answer(
            approvals.approve(checker=actor_of(request), **decision(request, approval_id))
        )


class RefuseView(ApiView):
    @operation(
        "refuse",
        body=DecisionRequest,
        answers={200: ApprovalDocument},
        refusals=DECIDING_REFUSALS,
    )
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Refuse a colleague's request."""
        return answer(approvals.refuse(checker=actor_of(request), **decision(request, approval_id)))


class WithdrawView(ApiView):
    @operation(
        "withdraw",
        body=DecisionRequest,
        answers={200: ApprovalDocument},
        refusals=[NotYourRequest, ApprovalNotWaiting, NotFound],
    )
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Take back a request of one's own."""
        return answer(approvals.withdraw(maker=actor_of(request), **decision(request, approval_id)))


def decision(request: Request, approval_id: UUID) -> dict[str, Any]:
    """Return what is decided on and why, as the services take it."""
    note = body_of(request, DecisionRequest)["note"]
    return {"approval": approval_named(approval_id), "note": note, "at": timezone.now()}


def actor_of(request: Request) -> User:
    return cast("User", request.user)


def answer(approval: Approval) -> Response:
    return Response(document_of(ApprovalDocument, approval))


def asked_for() -> QuerySet[Approval]:
    return Approval.objects.select_related("maker", "checker")


def approval_named(public_id: UUID) -> Approval:
    """
    Return the approval that the API names so.

    :raises NotFound: there is none.
    """
    approval = asked_for().filter(public_id=public_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    return approval


def waits(approval: Approval) -> Response:
    """Answer that a request waits for a second person."""
    document: dict[str, Any] = document_of(WaitingDocument, {"approval": approval})
    return Response(document, 202)
