"""What an endpoint asks about its caller: by which name, under which key, for whom."""

import re
from typing import cast

from rest_framework.request import Request

from accounts.models import ApiKey, User
from creditsite.errors import InvalidRequest, NotFound

VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")


def is_service(request: Request) -> bool:
    """Return whether a service key calls."""
    return isinstance(request.auth, ApiKey)


def caller_of(request: Request) -> str:
    """Return the name that keys belong to: "user:<id>", or "key:<id>" for a service key."""
    return (
        f"key:{request.auth.pk}" if isinstance(request.auth, ApiKey) else f"user:{request.user.pk}"
    )


def daily_cap_of(request: Request) -> int | None:
    """Return how many credits the caller may spend in a day, if there is a limit."""
    return request.auth.daily_cap if isinstance(request.auth, ApiKey) else None


def idempotency_key(request: Request) -> str | None:
    """
    Return the request's Idempotency-Key; ``None`` if a signed-in user sent none.

    :raises InvalidRequest: it is not 1 to 255 visible ASCII characters, or a service key sent none.
    """
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        if is_service(request):
            raise InvalidRequest("A service key must send the header Idempotency-Key.")
        return None
    if not VISIBLE_ASCII.fullmatch(key):
        raise InvalidRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return key


def subject_of(request: Request, user_id: int | None) -> User:
    """
    Return the user whom the request is about: the caller, or whom a service names.

    :raises InvalidRequest: a service key names nobody.
    :raises NotFound: there is no such active user, or a user names another.
    """
    if is_service(request):
        if user_id is None:
            raise InvalidRequest("A service key must name the user by user_id.")
        user = user_named(user_id)
        if not user.is_active:
            raise NotFound("There is no such user for you.")
        return user
    if user_id not in (None, request.user.pk):
        raise NotFound("There is no such user for you.")
    return cast("User", request.user)


def user_named(user_id: int) -> User:
    """
    Return the user with this id, for a door that is open to staff and services only.

    :raises NotFound: there is none.
    """
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user for you.")
    return user
