"""Doors by name."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from creditsite.health import healthz, readyz
from creditsite.site.balances import BalanceView, UserBalanceView

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("api/auth/", include("accounts.api.urls")),
    path("api/credits/balance", BalanceView.as_view()),
    path("api/credits/", include("ledger.api.urls")),
    path("api/admin/credits/user/<int:user_id>/balance", UserBalanceView.as_view()),
    path("api/admin/credits/", include("ledger.api.staff_urls")),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(), name="docs"),
]

handler400 = "creditsite.apikit.problems.bad_request"
handler403 = "creditsite.apikit.problems.permission_denied"
handler404 = "creditsite.apikit.problems.page_not_found"
handler500 = "creditsite.apikit.problems.server_error"
