"""Doors of buying, under /api/credits/."""

from django.urls import path

from billing.api.packages import PackageListView
from billing.api.purchases import RedeemView, ValidateView
from billing.api.rates import RateView

urlpatterns = [
    path("rate", RateView.as_view()),
    path("packages", PackageListView.as_view()),
    path("purchase/validate", ValidateView.as_view()),
    path("redeem", RedeemView.as_view()),
]
