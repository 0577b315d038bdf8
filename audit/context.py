"""Where an act came from: the request that is being answered, if any."""

from collections.abc import Callable
from contextvars import ContextVar

import structlog
from django.http import HttpRequest, HttpResponse

from creditsite.addresses import client_address

_address: ContextVar[str | None] = ContextVar("audit_address", default=None)


class AddressMiddleware:
    """Remember the address of the client for what is recorded while its request is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _address.set(client_address(request))
        try:
            return self.get_response(request)
        finally:
            _address.reset(token)


def current_request() -> tuple[str, str | None]:
    """Return the id of the request (the log's) and its address; "" and ``None`` outside of one."""
    return structlog.contextvars.get_contextvars().get("request_id", ""), _address.get()
