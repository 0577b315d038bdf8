"""Problem documents (RFC 9457): how a refusal leaves the API."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from creditsite.errors import CreditsiteError, NotAuthenticated, TooMuch, Unavailable

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
API_PREFIX = "/api/"
CHALLENGE = 'Bearer realm="api", Api-Key realm="api"'

# Our word for a status, where the framework has several.
CODES = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "not_permitted",
    404: "not_found",
    500: "internal_error",
}
DETAILS = {
    400: "The request is not valid.",
    403: "You may not do this.",
    404: "It does not exist, or is somebody else's.",
    500: "Something went wrong on our side. It has been logged.",
}


def problem_document(
    *, status: int, code: str, detail: str, members: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return the body of a problem; ``members`` are the numbers of the case."""
    return {
        **(members or {}),
        "type": f"urn:creditsite:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }


def problem_response(exc: Exception, context: Mapping[str, object]) -> Response | None:
    """
    Answer ``exc`` with its problem document.

    Returns ``None`` for what nobody expected: it goes on to the log, whole, and ends as a 500.
    """
    if isinstance(exc, OperationalError | InterfaceError):
        logger.error("The database did not answer", exc_info=exc)
        exc = Unavailable("The database did not answer. Try again, with the same Idempotency-Key.")
    if isinstance(exc, CreditsiteError):
        return _refusal(exc)
    if isinstance(exc, Http404):
        exc = exceptions.NotFound(DETAILS[404])
    if isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied(DETAILS[403])
    if isinstance(exc, exceptions.APIException):
        return _framework_refusal(exc)
    return None


def _refusal(refusal: CreditsiteError) -> Response:
    document = problem_document(
        status=refusal.status, code=refusal.code, detail=str(refusal), members=refusal.numbers
    )
    headers = {}
    if isinstance(refusal, NotAuthenticated):
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(refusal, Unavailable | TooMuch):
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    return Response(document, refusal.status, headers=headers, content_type=PROBLEM_JSON)


def _framework_refusal(exc: exceptions.APIException) -> Response:
    status = exc.status_code
    members: dict[str, object] = {}
    detail = str(exc.detail)
    if isinstance(exc, exceptions.ValidationError):
        detail, members = DETAILS[400], {"errors": flat_errors(exc.detail)}
    headers = {}
    if header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if wait := getattr(exc, "wait", None):
        headers["Retry-After"] = str(int(wait))
    code = CODES.get(status, exc.default_code)
    document = problem_document(status=status, code=code, detail=detail, members=members)
    return Response(document, status, headers=headers, content_type=PROBLEM_JSON)


def flat_errors(errors: Any, path: str = "") -> dict[str, list[str]]:
    """Return nested validation errors as ``{"events.3.amount": [messages]}``."""
    if isinstance(errors, Mapping):
        branches = [(str(name), branch) for name, branch in errors.items()]
    elif any(isinstance(error, Mapping | list) for error in errors):
        branches = [(str(index), branch) for index, branch in enumerate(errors)]
    else:
        return {path or "body": [str(error) for error in errors]}
    flat: dict[str, list[str]] = {}
    for name, branch in branches:
        if branch:
            flat |= flat_errors(branch, f"{path}.{name}" if path else name)
    return flat


def _page(status: int, fallback: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    def page(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not request.path.startswith(API_PREFIX):
            return fallback(request, *args, **kwargs)
        document = problem_document(status=status, code=CODES[status], detail=DETAILS[status])
        return JsonResponse(document, status=status, content_type=PROBLEM_JSON)

    page.__doc__ = f"Answer {status} {HTTPStatus(status).phrase}: a problem document under /api/."
    return page


bad_request = _page(400, defaults.bad_request)
permission_denied = _page(403, defaults.permission_denied)
page_not_found = _page(404, defaults.page_not_found)
server_error = _page(500, defaults.server_error)
