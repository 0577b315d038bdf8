"""How often callers may call. The limits are settings, and refuse no honest caller."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.api.callers import caller_of
from accounts.identity import identity_of
from creditsite.apikit.throttles import Throttle

if TYPE_CHECKING:  # the framework imports this module while it makes APIView
    from rest_framework.views import APIView

CALLS = {scope: Throttle(scope) for scope in ("default", "spend", "register")}
SIGN_INS = Throttle("sign_in")
SIGN_INS_OF_ADDRESS = Throttle("sign_in_address")


class WaitingThrottle(BaseThrottle):
    """A throttle that knows how long to wait, for Retry-After."""

    seconds: int | None = None

    def wait(self) -> int | None:
        return self.seconds


class CallerThrottle(WaitingThrottle):
    """Limits each caller, and each address that nobody signed in from, by the view's scope."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        name = (
            caller_of(request)
            if request.user.is_authenticated
            else f"address:{self.get_ident(request)}"
        )
        self.seconds = CALLS[getattr(view, "throttle_scope", "default")].seconds_to_wait(name)
        return self.seconds is None


class SignInThrottle(WaitingThrottle):
    """
    Limits how often an address tries passwords: of one account, and of all together.

    A sign-in that succeeds starts the count for its account again, so only guessing is limited.
    """

    def allow_request(self, request: Request, view: "APIView") -> bool:
        address = self.get_ident(request)
        self.seconds = SIGN_INS_OF_ADDRESS.seconds_to_wait(address) or SIGN_INS.seconds_to_wait(
            self.guess_of(request)
        )
        return self.seconds is None

    def guess_of(self, request: Request) -> str:
        body = request.data if isinstance(request.data, dict) else {}
        email = str(body.get("email", ""))[:254]
        return f"{self.get_ident(request)}:{identity_of(email)}"

    @classmethod
    def forgive(cls, request: Request) -> None:
        """Forget the tries of this address at this account: they were its owner's."""
        SIGN_INS.forget(cls().guess_of(request))
