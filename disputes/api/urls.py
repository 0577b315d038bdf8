"""Doors of disputes, under /api/disputes/."""

from django.urls import path

from disputes.api.files import FileUploadView, FileView, StaffFileUploadView, StaffFileView
from disputes.api.staff import (
    AssignView,
    QueueView,
    ResolveView,
    ReviewView,
    StaffDisputeView,
    StaffMessageView,
    StatisticsView,
)
from disputes.api.users import (
    AppealView,
    DisputeView,
    MessageView,
    MyDisputesView,
    ReasonListView,
    SubmitView,
)

urlpatterns = [
    path("reasons", ReasonListView.as_view()),
    path("submit", SubmitView.as_view()),
    path("my-disputes", MyDisputesView.as_view()),
    path("<uuid:dispute_id>", DisputeView.as_view()),
    path("<uuid:dispute_id>/appeal", AppealView.as_view()),
    path("<uuid:dispute_id>/messages", MessageView.as_view()),
    path("<uuid:dispute_id>/attachments", FileUploadView.as_view()),
    path("<uuid:dispute_id>/attachments/<uuid:attachment_id>", FileView.as_view()),
    path("admin/queue", QueueView.as_view()),
    path("admin/statistics", StatisticsView.as_view()),
    path("admin/<uuid:dispute_id>", StaffDisputeView.as_view()),
    path("admin/<uuid:dispute_id>/review", ReviewView.as_view()),
    path("admin/<uuid:dispute_id>/assign", AssignView.as_view()),
    path("admin/<uuid:dispute_id>/messages", StaffMessageView.as_view()),
    path("admin/<uuid:dispute_id>/attachments", StaffFileUploadView.as_view()),
    path("admin/<uuid:dispute_id>/attachments/<uuid:attachment_id>", StaffFileView.as_view()),
    path("admin/<uuid:dispute_id>/resolve", ResolveView.as_view()),
]
