"""Doors of buying, under /api/credits/."""

from django.urls import path

from billing.api.buying import PurchaseView
from billing.api.packages import PackageListView
from billing.api.purchases import RedeemView, ValidateView
from billing.api.rates import RateView
from billing.api.tiers import InitializeView, MonthlyAllocationView, TierView

urlpatterns = [
    path("rate", RateView.as_view()),
    path("packages", PackageListView.as_view()),
    path("purchase", PurchaseView.as_view()),
    path("purchase/validate", ValidateView.as_view()),
    path("redeem", RedeemView.as_view()),
    path("initialize", InitializeView.as_view()),
    path("tier", TierView.as_view()),
    path("monthly-allocation", MonthlyAllocationView.as_view()),
]
