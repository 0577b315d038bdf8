"""Files of disputes: taken as forms send them, and given out as downloads only."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.fields import StrictSerializer
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, document_of
from creditsite.errors import NotFound, Unavailable
from disputes import errors
from disputes.api.documents import AttachmentDocument, AttachmentForStaffDocument
from disputes.api.users import dispute_of, user_of
from disputes.models import Attachment
from disputes.queries.queue import dispute_named
from disputes.queries.sides import is_own
from disputes.services.attachments import attach_file, read_attachment

DOWNLOAD: Any = {(200, "application/octet-stream"): OpenApiTypes.BINARY}
REFUSALS = [
    NotFound,
    errors.InvalidFile,
    errors.FileRefused,
    errors.DisputeNotInState,
    errors.TooManyFiles,
    Unavailable,
]


class FileRequest(StrictSerializer):
    file = serializers.FileField(help_text="PNG, JPEG, PDF or plain text in UTF-8.")


class StaffFileRequest(FileRequest):
    for_staff = serializers.ChoiceField(
        choices=["true", "false"], default="false", help_text="Whether the user sees none of it."
    )


class FileUploadView(ApiView):
    parser_classes = [MultiPartParser]
    throttle_scope = "disputes"

    @operation(
        "attachToDispute", body=FileRequest, answers={201: AttachmentDocument}, refusals=REFUSALS
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Add a file to a dispute of yours, while it is open."""
        body = form_of(request, FileRequest)
        kept = attach_file(
            dispute=dispute_of(request, dispute_id),
            name=body["file"].name,
            content=body["file"].read(),
            actor=user_of(request),
            at=timezone.now(),
        )
        return Response(document_of(AttachmentDocument, kept), 201)


class StaffFileUploadView(ApiView):
    parser_classes = [MultiPartParser]

    @operation(
        "attachToDisputeAsStaff",
        body=StaffFileRequest,
        answers={201: AttachmentForStaffDocument},
        refusals=REFUSALS,
    )
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Add a file to an open dispute, for its user or for staff."""
        body = form_of(request, StaffFileRequest)
        kept = attach_file(
            dispute=dispute_named(dispute_id),
            name=body["file"].name,
            content=body["file"].read(),
            actor=user_of(request),
            at=timezone.now(),
            as_staff=True,
            is_internal=body["for_staff"] == "true",
        )
        return Response(document_of(AttachmentForStaffDocument, kept), 201)


class DownloadView(ApiView):
    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # Whatever a client says that it would like best, a file is what it is.
        return super().perform_content_negotiation(request, force=True)


class FileView(DownloadView):
    @operation("getDisputeFile", answers=DOWNLOAD, refusals=[NotFound])
    def get(self, request: Request, dispute_id: UUID, attachment_id: UUID) -> HttpResponse:
        """A file of a dispute of yours, to be saved."""
        dispute = dispute_of(request, dispute_id)
        found = read_attachment(attachment_id=attachment_id, dispute=dispute, with_internal=False)
        return download(found)


class StaffFileView(DownloadView):
    @operation("getDisputeFileAsStaff", answers=DOWNLOAD, refusals=[NotFound])
    def get(self, request: Request, dispute_id: UUID, attachment_id: UUID) -> HttpResponse:
        """A file of a dispute, to be saved."""
        dispute = dispute_named(dispute_id)
        sees_internal = not is_own(user_of(request), dispute)
        found = read_attachment(
            attachment_id=attachment_id, dispute=dispute, with_internal=sees_internal
        )
        return download(found)


def form_of(request: Request, body_class: type[StrictSerializer]) -> dict[str, Any]:
    """
    Return what a form sent, as ``body_class`` validated it.

    :raises ValidationError: it is not valid.
    """
    form = body_class(data=request.data)
    form.is_valid(raise_exception=True)
    return form.validated_data


def download(file: Attachment) -> HttpResponse:
    """Answer with a file that no browser opens by itself, or takes for something else."""
    return HttpResponse(
        bytes(file.content or b""),
        content_type=file.content_type,
        headers={
            "Content-Disposition": content_disposition_header(True, file.name),
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )
