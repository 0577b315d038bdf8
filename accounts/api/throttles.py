"""How often callers may call. The limits are settings, and refuse no honest caller."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.api.callers import caller_of
from creditsite.addresses import client_address
from creditsite.apikit.throttles import Throttle

if TYPE_CHECKING:  # the framework imports this module while it makes APIView
    from rest_framework.views import APIView

SCOPES = ("default", "spend", "codes", "sign_in", "register", "export", "disputes")
CALLS = {scope: Throttle(scope) for scope in SCOPES}


class CallerThrottle(BaseThrottle):
    """Limits each caller, and each address that nobody signed in from, by the view's scope."""

    seconds: int | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        name = (
            caller_of(request)
            if request.user.is_authenticated
            else f"address:{client_address(request)}"
        )
        self.seconds = CALLS[getattr(view, "throttle_scope", "default")].seconds_to_wait(name)
        return self.seconds is None

    def wait(self) -> int | None:
        """Return the seconds to wait, for Retry-After."""
        return self.seconds
