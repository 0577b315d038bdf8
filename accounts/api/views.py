"""Sign-in: register, token, refresh, logout, me."""

from django.contrib.auth import authenticate
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import (
    RefreshRequest,
    RegisteredDocument,
    RegisterRequest,
    TokenPairDocument,
    TokenRequest,
    UserDocument,
)
from accounts.api.throttles import SignInThrottle
from accounts.api.tokens import UserRefreshToken, read_refresh_token, token_pair, user_of
from accounts.services.users import register_user
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView


class SignInView(ApiView):
    """A door for who is not signed in yet; a stale Authorization header does not shut it."""

    authentication_classes = []
    permission_classes = [AllowAny]


class RegisterView(SignInView):
    throttle_scope = "register"

    @operation("register", body=RegisterRequest, answers={201: RegisteredDocument})
    def post(self, request: Request) -> Response:
        """Make an account and sign in to it. The credits of its role are there at once."""
        body = RegisterRequest(data=request.data)
        body.is_valid(raise_exception=True)
        user = register_user(**body.validated_data, at=timezone.now())
        return Response(RegisteredDocument({"user": user, **token_pair(user)}).data, 201)


class TokenView(SignInView):
    throttle_classes = [SignInThrottle]

    @operation(
        "signIn",
        body=TokenRequest,
        answers={200: TokenPairDocument},
        refusals=[AuthenticationFailed],
    )
    def post(self, request: Request) -> Response:
        """Sign in. An unknown address, a wrong password, a closed account: the same answer."""
        body = TokenRequest(data=request.data)
        body.is_valid(raise_exception=True)
        email, password = body.validated_data["email"], body.validated_data["password"]
        # Hashes for unknown addresses as well, so that the time does not tell either.
        user = authenticate(request, username=email, password=password)
        if user is None:
            raise AuthenticationFailed("The e-mail address or the password is wrong.")
        SignInThrottle.forgive(request)
        return Response(token_pair(user))


class RefreshView(SignInView):
    @operation(
        "refreshToken",
        body=RefreshRequest,
        answers={200: TokenPairDocument},
        refusals=[AuthenticationFailed],
    )
    def post(self, request: Request) -> Response:
        """Change a refresh token for a new pair. The old one is revoked."""
        token = refresh_token_in(request)
        user = user_of(token)
        if user is None or not token.revoke():
            raise AuthenticationFailed("The refresh token is not valid, or not any more.")
        return Response(token_pair(user))


class LogoutView(SignInView):
    @operation("logout", body=RefreshRequest, answers={204: None}, refusals=[AuthenticationFailed])
    def post(self, request: Request) -> Response:
        """Revoke a refresh token. Its access token ends by itself within 15 minutes."""
        refresh_token_in(request).revoke()
        return Response(status=204)


class MeView(ApiView):
    @operation("me", answers={200: UserDocument})
    def get(self, request: Request) -> Response:
        """The user whose token this is."""
        return Response(UserDocument(request.user).data)


def refresh_token_in(request: Request) -> UserRefreshToken:
    """
    Return the refresh token in the body.

    :raises AuthenticationFailed: it is none of ours, has expired, or was revoked.
    """
    body = RefreshRequest(data=request.data)
    body.is_valid(raise_exception=True)
    token = read_refresh_token(body.validated_data["refresh"])
    if token is None:
        raise AuthenticationFailed("The refresh token is not valid, or not any more.")
    return token
