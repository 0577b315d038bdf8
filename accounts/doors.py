"""The middleware that shuts every page which the table of permissions does not open."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed

from accounts.permissions import API, PUBLIC, door_of_page, lets_in, path_of

METHODS = ["GET", "HEAD", "POST"]


class DoorsMiddleware:
    """
    Looks up each page before its view is called; who is not signed in is led to the sign-in.

    Operations of the API look themselves up once they know who calls.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """
        :raises PermissionDenied: the page is not listed, or not for whoever asks.
        """
        path = path_of(request.resolver_match.route) if request.resolver_match else ""
        if path in API:
            return None
        door = door_of_page(path, request.method or "")
        if door != PUBLIC and not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if door is None or not lets_in(door, request.user):
            raise PermissionDenied
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        return None
