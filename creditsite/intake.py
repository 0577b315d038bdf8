"""What may come in at all, before anything reads it."""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from creditsite.apikit.problems import bad_request
from creditsite.errors import InvalidRequest
from creditsite.text import refuse_hidden

LENGTH = re.compile(r"[0-9]{1,12}")
NOT_ASCII_TEXT = re.compile(r"[^ -~]")


class IntakeMiddleware:
    """
    Answers bodies that are too large and addresses that hide something with a 400.

    A cookie with control characters is dropped, which a quoted value can smuggle past the server.
    In ``User-Agent``, which is stored and shown, whatever is not ASCII becomes a question mark.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if is_too_large(request) or hides_something(request):
            return bad_request(request, None)
        request.COOKIES = {
            name: value for name, value in request.COOKIES.items() if value.isprintable()
        }
        if agent := request.META.get("HTTP_USER_AGENT"):
            request.META["HTTP_USER_AGENT"] = NOT_ASCII_TEXT.sub("?", agent)
        return self.get_response(request)


def is_too_large(request: HttpRequest) -> bool:
    """
    Return whether the body is larger than ``MAX_UPLOAD_BYTES``, or does not say.

    Django bounds all of a form but its files. Parsers bound what they read, below this.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    return not LENGTH.fullmatch(length) or int(length) > settings.MAX_UPLOAD_BYTES


def hides_something(request: HttpRequest) -> bool:
    """Return whether path or query are not UTF-8, or hold what ``refuse_hidden`` refuses."""
    query = request.META.get("QUERY_STRING", "").encode("latin-1")
    try:
        refuse_hidden(request.path_info)
        refuse_hidden(unquote_to_bytes(query).decode(), allowed="\t\r\n")
    except (InvalidRequest, UnicodeDecodeError):
        return True
    return False
