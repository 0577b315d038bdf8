"""What users do: see the reasons, dispute, follow, appeal, write."""

from typing import cast
from uuid import UUID

import django_filters as filters
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of, idempotency_key, subject_of
from accounts.models import User
from creditsite.apikit.fields import (
    CreditsField,
    StrictChar,
    StrictInteger,
    StrictSerializer,
    StrictUUID,
)
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView, body_of, document_of
from creditsite.errors import NotFound
from disputes import errors
from disputes.api.documents import DisputeDocument, FullDisputeDocument, ReasonDocument
from disputes.choices import DisputeStatus
from disputes.models import Dispute, DisputeReason
from disputes.queries.queue import dispute_named, shown
from disputes.queries.sides import visible_to
from disputes.services.messages import LONGEST_TEXT, write_to_staff
from disputes.services.submission import (
    LONGEST_DESCRIPTION,
    LONGEST_REASON,
    SHORTEST_DESCRIPTION,
    appeal_dispute,
    submit_dispute,
)
from ledger.api.filters import filtered
from ledger.api.wallets import UserQuery
from ledger.errors import ExceedsTaken, IdempotencyKeyReused

LARGEST_VERSION = 2**31 - 1


class VersionField(StrictInteger):
    """The version that the caller saw; a change since is a 409 ``stale_version``."""

    def __init__(self) -> None:
        super().__init__(
            min_value=1,
            max_value=LARGEST_VERSION,
            required=False,
            help_text="That was shown: if it has changed since, nothing is done.",
        )


class DescriptionField(StrictChar):
    def __init__(self) -> None:
        super().__init__(min_length=SHORTEST_DESCRIPTION, max_length=LONGEST_DESCRIPTION)


class SubmitRequest(StrictSerializer):
    transaction_id = StrictUUID(help_text="The charge.")
    reason = StrictChar(
        max_length=LONGEST_REASON,
        help_text="Code or label of a listed reason; another text is kept under `other`.",
    )
    description = DescriptionField()
    requested_refund = CreditsField(help_text="Credits, at most what is not given back yet.")


class AppealRequest(StrictSerializer):
    description = DescriptionField()
    version = VersionField()


class MessageRequest(StrictSerializer):
    text = StrictChar(max_length=LONGEST_TEXT)


class DisputeListQuery(UserQuery, ListQuery):
    status = serializers.ChoiceField(choices=DisputeStatus.choices, required=False)


class DisputeFilter(filters.FilterSet):
    status = filters.CharFilter("status")


class ReasonListView(ApiView):
    query_class = ListQuery

    @operation("listDisputeReasons", answers={200: page_of(ReasonDocument)})
    def get(self, request: Request) -> Response:
        """The reasons to choose from, as they are to be listed."""
        return page_response(
            request,
            DisputeReason.objects.filter(is_active=True),
            by=["position", "code"],
            newest_first=False,
            query=self.query,
            document=ReasonDocument,
        )


class SubmitView(ApiView):
    throttle_scope = "disputes"

    @operation(
        "submitDispute",
        body=SubmitRequest,
        answers={201: FullDisputeDocument},
        refusals=[
            NotFound,
            errors.NotYourCharge,
            IdempotencyKeyReused,
            errors.NotDisputable,
            errors.AlreadyDisputed,
            errors.TooLateToDispute,
            errors.NothingToDispute,
            ExceedsTaken,
        ],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Say that a charge was wrong, and ask for credits back. A charge is disputed once."""
        body = body_of(request, SubmitRequest)
        submitted = submit_dispute(
            transaction_id=body["transaction_id"],
            reason=body["reason"],
            description=body["description"],
            requested=body["requested_refund"],
            actor=user_of(request),
            caller=caller_of(request),
            at=timezone.now(),
            idempotency_key=idempotency_key(request),
        )
        headers = {} if submitted.is_new else {"Idempotent-Replayed": "true"}
        return answer(submitted.dispute, 201, headers)


class MyDisputesView(ApiView):
    query_class = DisputeListQuery

    @operation("listDisputes", answers={200: page_of(DisputeDocument)}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """A user's disputes, and those of wallets that they answer for; newest first."""
        rows = shown(visible_to(subject_of(request, self.query.get("user_id"))))
        return page_response(
            request,
            filtered(DisputeFilter, self.query, rows),
            by=["id"],
            query=self.query,
            document=DisputeDocument,
        )


class DisputeView(ApiView):
    query_class = UserQuery

    @operation("getDispute", answers={200: FullDisputeDocument}, refusals=[NotFound])
    def get(self, request: Request, dispute_id: UUID) -> Response:
        """A dispute with its timeline and files."""
        user = subject_of(request, self.query.get("user_id"))
        return answer(dispute_named(dispute_id, visible_to(user)))


class AppealView(ApiView):
    throttle_scope = "disputes"

    @operation(
        "appealDispute",
        body=AppealRequest,
        answers={200: FullDisputeDocument},
        refusals=[
            NotFound,
            errors.AlreadyAppealed,
            errors.DisputeNotInState,
            errors.DisputeChanged,
            errors.TooLateToDispute,
            errors.NothingToDispute,
        ],
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Have a decision looked at again, once, by somebody else."""
        body = body_of(request, AppealRequest)
        dispute = dispute_of(request, dispute_id)
        appealed = appeal_dispute(
            dispute=dispute,
            description=body["description"],
            actor=user_of(request),
            at=timezone.now(),
            version=body.get("version"),
        )
        return answer(appealed)


class MessageView(ApiView):
    throttle_scope = "disputes"

    @operation(
        "writeInDispute",
        body=MessageRequest,
        answers={200: FullDisputeDocument},
        refusals=[NotFound, errors.DisputeNotInState, errors.TooManyMessages],
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Write to who looks into it, while it is open."""
        text = body_of(request, MessageRequest)["text"]
        dispute = dispute_of(request, dispute_id)
        write_to_staff(dispute=dispute, text=text, actor=user_of(request), at=timezone.now())
        return answer(dispute)


def user_of(request: Request) -> User:
    return cast("User", request.user)


def dispute_of(request: Request, dispute_id: UUID) -> Dispute:
    """
    Return a dispute of the caller's.

    :raises DisputeNotFound: there is none of that id for them.
    """
    return dispute_named(dispute_id, visible_to(user_of(request)))


def answer(dispute: Dispute, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with a dispute as it is now."""
    return Response(
        document_of(FullDisputeDocument, dispute_named(dispute.pk)), status, headers=headers
    )
