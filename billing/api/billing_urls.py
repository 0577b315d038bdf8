"""Doors of payments and what recurs, under /api/billing/."""

from django.urls import path

from billing.api.auto_top_up import AutoTopUpView
from billing.api.payments import PaymentListView, PaymentView
from billing.api.project_costs import ProjectCostsView
from billing.api.subscriptions import (
    CurrentSubscriptionView,
    KeepSubscriptionView,
    PortalView,
    PreviewView,
    SubscriptionListView,
)

urlpatterns = [
    path("project-costs", ProjectCostsView.as_view()),
    path("auto-top-up", AutoTopUpView.as_view()),
    path("payments", PaymentListView.as_view()),
    path("payments/<uuid:payment_id>", PaymentView.as_view()),
    path("subscriptions", SubscriptionListView.as_view()),
    path("subscriptions/current", CurrentSubscriptionView.as_view()),
    path("subscriptions/current/keep", KeepSubscriptionView.as_view()),
    path("subscriptions/current/preview", PreviewView.as_view()),
    path("portal", PortalView.as_view()),
]
