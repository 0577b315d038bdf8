"""What is asked of every page's session: that it is young enough, and of staff that it is safe."""

from collections.abc import Callable
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from accounts.services.sign_in import has_factor

# Of the staff pages, those that lead to sign-in and out again.
FREE_OF_FACTOR = {"admin/login/", "admin/logout/", "admin/password_change/"}
# How often a session that is used is written.
NOTED_EVERY_SECONDS = 60


class SessionLimitsMiddleware:
    """
    Signs out who has been idle for too long, or signed in for too long altogether.

    What a page asks for by itself, under ``X-By-Itself``, is no sign of anybody being there. What
    has no session, as a call of the API, costs nothing here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            self.keep_or_end(request, int(timezone.now().timestamp()))
        return self.get_response(request)

    def keep_or_end(self, request: HttpRequest, now: int) -> None:
        session = request.session
        idle, absolute = settings.SESSION_MINUTES["staff" if request.user.is_staff else "user"]
        seen_at = session.get("seen_at", now)
        if now - seen_at > idle * 60 or now - session.get("signed_in_at", now) > absolute * 60:
            logout(request)
            messages.info(request, "You were signed out to be on the safe side. Sign in again.")
        elif "X-By-Itself" in request.headers:
            return
        elif "seen_at" not in session or now - seen_at > NOTED_EVERY_SECONDS:
            session.setdefault("signed_in_at", now)
            session["seen_at"] = now
            UserSession.objects.create_from_request(request)


class SecondFactorMiddleware:
    """Leads staff without a second factor, superusers too, to set one up before all else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        if (
            not settings.STAFF_NEED_SECOND_FACTOR
            or match is None
            or not match.route.startswith("admin/")
            or match.route in FREE_OF_FACTOR
            or not request.user.is_authenticated
            or has_factor(request.user)
        ):
            return None
        messages.warning(request, "Staff need a second factor. Set one up to go on.")
        return redirect("mfa_index")
