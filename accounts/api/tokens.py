"""JSON web tokens: who somebody is, how and when they proved it; nothing about what they may do."""

import functools
import hmac
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import jwt
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token
from rest_framework_simplejwt.utils import datetime_from_epoch

from accounts.models import User
from accounts.services.tokens import end_token

# Every request asks this. Composing it anew by the ORM took 300 of its 540 microseconds.
SELECT_NAMED_USER = """
    SELECT * FROM accounts_user WHERE id = %s AND token_version = %s AND is_active
    AND NOT EXISTS (SELECT FROM token_blacklist_outstandingtoken WHERE jti = %s)
"""


class Signing(TokenBackend):
    """Signs with the newest key and names it (``kid``); reads what either key has signed."""

    def __init__(self, key: str, older: str) -> None:
        super().__init__(
            settings.SIMPLE_JWT["ALGORITHM"],
            signing_key=key,
            audience=settings.SIMPLE_JWT["AUDIENCE"],
            issuer=settings.SIMPLE_JWT["ISSUER"],
        )
        self.key, self.key_id = key, name_of_key(key)
        self.keys = {self.key_id: key} | ({name_of_key(older): older} if older else {})

    def encode(self, payload: dict[str, Any]) -> str:
        said = payload | {"aud": self.audience, "iss": self.issuer}
        return jwt.encode(said, self.key, self.algorithm, headers={"kid": self.key_id})

    def get_verifying_key(self, token: Any) -> str:
        return self.keys.get(jwt.get_unverified_header(token).get("kid", ""), self.key)


def name_of_key(key: str) -> str:
    return hmac.digest(key.encode(), b"kid", "sha256").hex()[:8]


@functools.cache
def signing(key: str, older: str) -> Signing:
    return Signing(key, older)


def our_signing() -> Signing:
    return signing(settings.JWT_SIGNING_KEY, settings.JWT_SIGNING_KEY_OLD)


class UserAccessToken(AccessToken):
    """An access token; it says what the refresh token says that it came with."""

    def get_token_backend(self) -> TokenBackend:
        return our_signing()


class UserRefreshToken(RefreshToken):
    """
    A refresh token: the user's id and token version, the session, and the sign-in it began with.

    ``sid`` is the same in all tokens that come of one sign-in, ``auth_time`` its time in seconds,
    and ``amr`` how the user proved who they are.
    """

    access_token_class = UserAccessToken

    def get_token_backend(self) -> TokenBackend:
        return our_signing()

    def check_blacklist(self) -> None:
        """Leave it to ``revoke``, which only one of two requests passes."""
        if "sid" not in self.payload:
            raise TokenError("The token is of an older release.")

    def revoke(self) -> bool:
        """End this token; return whether this call did: of several at once, one does."""
        return end_token(token_id=self["jti"], expires_at=self.expires_at, at=self.current_time)

    def end_session(self) -> bool:
        """End all tokens that came of the same sign-in; return whether this call did."""
        return end_token(token_id=self["sid"], expires_at=self.expires_at, at=self.current_time)

    def is_overdue(self, user: User, at: datetime) -> bool:
        """Return whether the session was idle, or went on, for longer than a session may."""
        idle, absolute = settings.SESSION_MINUTES["staff" if user.is_staff else "user"]
        now = at.timestamp()
        return now - self["iat"] > idle * 60 or now - self["auth_time"] > absolute * 60

    @property
    def expires_at(self) -> datetime:
        """When no token of the session can be good any more: a new one lasts a little longer."""
        return datetime_from_epoch(self["exp"]) + self.lifetime


def refresh_token_for(
    user: User, *, methods: Sequence[str] = ("pwd",), at: datetime | None = None
) -> UserRefreshToken:
    """
    Make a token for ``user``, who signed in ``at`` (now, if left out) by ``methods``.

    It is not stored: only what is ended is written down.
    """
    token = UserRefreshToken()
    token["user_id"], token["token_version"] = str(user.pk), user.token_version
    token["sid"] = uuid.uuid4().hex
    token["auth_time"], token["amr"] = int((at or token.current_time).timestamp()), list(methods)
    return token


def token_pair(
    user: User, *, methods: Sequence[str] = ("pwd",), at: datetime | None = None
) -> dict[str, str]:
    """Return new ``access`` and ``refresh`` tokens for ``user``, who has just signed in."""
    return pair_of(refresh_token_for(user, methods=methods, at=at))


def next_pair(old: UserRefreshToken) -> dict[str, str]:
    """Return the tokens that come after ``old``, of the same sign-in."""
    refresh = UserRefreshToken()
    for claim in ("user_id", "token_version", "sid", "auth_time", "amr"):
        refresh[claim] = old[claim]
    return pair_of(refresh)


def pair_of(refresh: UserRefreshToken) -> dict[str, str]:
    return {"access": str(refresh.access_token), "refresh": str(refresh)}


# The library declares that a token is made from a token, and means its text.
def read_access_token(text: str) -> UserAccessToken | None:
    """Return the token that ``text`` is; ``None`` if it is no access token of ours, or expired."""
    try:
        return UserAccessToken(cast("Token", text))
    except TokenError:
        return None


def read_refresh_token(text: str) -> UserRefreshToken | None:
    """Return the token that ``text`` is; ``None`` if it is no refresh token of ours, or expired."""
    try:
        return UserRefreshToken(cast("Token", text))
    except TokenError:
        return None


def user_of(token: Token) -> User | None:
    """
    Return the active user that ``token`` names, in one query.

    ``None`` if their tokens were ended, or those of the session that it belongs to.
    """
    named = [token.get("user_id"), token.get("token_version"), token.get("sid")]
    return next(iter(User.objects.raw(SELECT_NAMED_USER, named)), None)
