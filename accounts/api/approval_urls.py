"""Doors of one approval, under /api/admin/approvals/."""

from django.urls import path

from accounts.api.approvals import ApprovalView, ApproveView, RefuseView, WithdrawView

urlpatterns = [
    path("<uuid:approval_id>", ApprovalView.as_view()),
    path("<uuid:approval_id>/approve", ApproveView.as_view()),
    path("<uuid:approval_id>/refuse", RefuseView.as_view()),
    path("<uuid:approval_id>/withdraw", WithdrawView.as_view()),
]
