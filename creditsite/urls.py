"""Doors by name."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts.api.approvals import ApprovalListView
from accounts.web.views import admin_sign_in
from billing.api.webhook import stripe_webhook
from creditsite.health import healthz, readyz
from creditsite.site.balances import BalanceView, UserBalanceView
from creditsite.site.overview import OverviewView
from creditsite.site.search import search

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("accounts/", include("accounts.web.urls")),
    path("billing/", include("billing.web.urls")),
    path("admin/login/", admin_sign_in),
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/search/", admin.site.admin_view(search)),
    path("admin/", admin.site.urls),
    path("api/auth/", include("accounts.api.urls")),
    path("api/credits/balance", BalanceView.as_view()),
    path("api/credits/", include("ledger.api.urls")),
    path("api/credits/", include("billing.api.urls")),
    path("api/billing/overview", OverviewView.as_view()),
    path("api/billing/", include("billing.api.billing_urls")),
    path("api/admin/credits/user/<int:user_id>/balance", UserBalanceView.as_view()),
    path("api/admin/credits/", include("ledger.api.staff_urls")),
    path("api/admin/approvals", ApprovalListView.as_view()),
    path("api/admin/approvals/", include("accounts.api.approval_urls")),
    path("api/disputes/", include("disputes.api.urls")),
    path("stripe/webhook", stripe_webhook, name="stripe_webhook"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(), name="docs"),
]

handler400 = "creditsite.apikit.problems.bad_request"
handler403 = "creditsite.apikit.problems.permission_denied"
handler404 = "creditsite.apikit.problems.page_not_found"
handler500 = "creditsite.apikit.problems.server_error"
