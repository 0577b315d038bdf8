"""Who calls: a user with a JSON web token, or a service with a key."""

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.api.tokens import UserAccessToken, read_access_token, user_of
from accounts.models import ApiKey, User
from accounts.services.api_keys import find_api_key, note_use
from creditsite.addresses import client_address


def credentials(request: Request, scheme: str) -> str | None:
    """Return what the Authorization header holds for ``scheme``; ``None`` if it is for another."""
    named, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return value.strip() if named.lower() == scheme.lower() else None


class BearerAuthentication(BaseAuthentication):
    """``Authorization: Bearer <access token>``: the user, with the token as ``request.auth``."""

    def authenticate(self, request: Request) -> tuple[User, UserAccessToken] | None:
        text = credentials(request, "Bearer")
        if text is None:
            return None
        token = read_access_token(text)
        user = user_of(token) if token else None
        if token is None or user is None:
            raise AuthenticationFailed("The token is not valid, or not any more.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Api-Key <key>``: the key's owner, with the key as ``request.auth``."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        secret = credentials(request, "Api-Key")
        if secret is None:
            return None
        at = timezone.now()
        key = find_api_key(secret=secret, at=at)
        if key is None:
            raise AuthenticationFailed("The key is not valid, or not any more.")
        note_use(key=key, address=client_address(request), at=at)
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        return 'Api-Key realm="api"'
