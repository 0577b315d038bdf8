"""Acts that take a sign-in of the last minutes, so that a token left lying about cannot do them."""

from datetime import datetime

from rest_framework.request import Request

from accounts.api.tokens import UserAccessToken
from creditsite.errors import NotPermitted
from creditsite.recent import RECENT


class RecentSignInRequired(NotPermitted):
    code = "recent_sign_in_required"

    def __init__(self) -> None:
        super().__init__(
            "This takes a sign-in of the last five minutes: sign in again at /api/auth/token."
            " A service key may not do it."
        )


def is_recent(request: Request, at: datetime) -> bool:
    """Return whether the user signed in at most five minutes before ``at``; a key never did."""
    token = request.auth
    if not isinstance(token, UserAccessToken):
        return False
    signed_in = token.get("auth_time")
    return isinstance(signed_in, int) and at.timestamp() - signed_in <= RECENT.total_seconds()
