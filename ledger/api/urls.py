"""Doors of users' credits, under /api/credits/."""

from django.urls import path

from ledger.api.adjustments import EntryView
from ledger.api.charges import CheckView
from ledger.api.features import FeatureListView
from ledger.api.grants import GrantListView
from ledger.api.holds import HoldListView, HoldView
from ledger.api.settlements import CaptureView, ReleaseView
from ledger.api.spending import DeductView
from ledger.api.summaries import SummaryView
from ledger.api.transactions import HistoryView, TransactionListView, TransactionView
from ledger.api.usage import UsageBatchView

urlpatterns = [
    path("summary", SummaryView.as_view()),
    path("transactions", TransactionListView.as_view()),
    path("transactions/<uuid:transaction_id>", TransactionView.as_view()),
    path("history", HistoryView.as_view()),
    path("grants", GrantListView.as_view()),
    path("features", FeatureListView.as_view()),
    path("check", CheckView.as_view()),
    path("add", EntryView.as_view()),
    path("deduct", DeductView.as_view()),
    path("usage/batch", UsageBatchView.as_view()),
    path("holds", HoldListView.as_view()),
    path("holds/<uuid:hold_id>", HoldView.as_view()),
    path("holds/<uuid:hold_id>/capture", CaptureView.as_view()),
    path("holds/<uuid:hold_id>/release", ReleaseView.as_view()),
]
