"""Doors of staff, under /api/admin/credits/."""

from django.urls import path

from ledger.api.adjustments import AddView, PauseView, RemoveView, ResumeView
from ledger.api.summaries import UserSummaryView
from ledger.api.system import SystemSummaryView
from ledger.api.transactions import UserTransactionListView
from ledger.api.users import UserStatusView

urlpatterns = [
    path("add", AddView.as_view()),
    path("remove", RemoveView.as_view()),
    path("pause", PauseView.as_view()),
    path("resume", ResumeView.as_view()),
    path("user/<int:user_id>/transactions", UserTransactionListView.as_view()),
    path("user/<int:user_id>/summary", UserSummaryView.as_view()),
    path("system/summary", SystemSummaryView.as_view()),
    path("users/status", UserStatusView.as_view()),
]
