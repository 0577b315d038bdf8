"""Doors of sign-in, under /api/auth/."""

from django.urls import path

from accounts.api.export import ExportView
from accounts.api.views import LogoutView, MeView, RefreshView, RegisterView, TokenView

urlpatterns = [
    path("register", RegisterView.as_view()),
    path("token", TokenView.as_view()),
    path("token/refresh", RefreshView.as_view()),
    path("logout", LogoutView.as_view()),
    path("me", MeView.as_view()),
    path("me/export", ExportView.as_view()),
]
