"""Sign-in: register, token, refresh, logout, me."""

from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
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
from accounts.api.tokens import (
    UserRefreshToken,
    next_pair,
    read_refresh_token,
    token_pair,
    user_of,
)
from accounts.errors import SecondFactorRequired, SignInLocked, WrongCredentials
from accounts.services.password_sign_in import sign_in
from accounts.services.tokens import end_session_of_reused_token
from accounts.services.users import register_user
from creditsite.addresses import client_address
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView

ENDED = "The refresh token is not valid, or not any more."


class SignInView(ApiView):
    """A door for who is not signed in yet; a stale Authorization header does not shut it."""

    authentication_classes = []


class RegisterView(SignInView):
    throttle_scope = "register"

    @operation("register", body=RegisterRequest, answers={201: RegisteredDocument})
    def post(self, request: Request) -> Response:
        """Make an account and sign in to it. The credits of its role are there at once."""
        body = RegisterRequest(data=request.data)
        body.is_valid(raise_exception=True)
        at = timezone.now()
        user = register_user(**body.validated_data, at=at)
        tokens = token_pair(user, methods=["pwd"], at=at)
        return Response(RegisteredDocument({"user": user, **tokens}).data, 201)


class TokenView(SignInView):
    throttle_scope = "sign_in"

    @operation(
        "signIn",
        body=TokenRequest,
        answers={200: TokenPairDocument},
        refusals=[WrongCredentials, SecondFactorRequired, SignInLocked],
    )
    def post(self, request: Request) -> Response:
        """Sign in. An unknown address, a wrong password, a closed account: the same answer."""
        body = TokenRequest(data=request.data)
        body.is_valid(raise_exception=True)
        at = timezone.now()
        user, methods = sign_in(
            email=body.validated_data["email"],
            password=body.validated_data["password"],
            code=body.validated_data.get("otp"),
            address=client_address(request),
            at=at,
        )
        return Response(token_pair(user, methods=methods, at=at))


class RefreshView(SignInView):
    @operation(
        "refreshToken",
        body=RefreshRequest,
        answers={200: TokenPairDocument},
        refusals=[AuthenticationFailed],
    )
    def post(self, request: Request) -> Response:
        """Change a refresh token for a new pair. One that is changed twice ends its session."""
        token, at = refresh_token_in(request), timezone.now()
        user = user_of(token)
        if user is None or token.is_overdue(user, at):
            raise AuthenticationFailed(ENDED)
        if not token.revoke():
            end_session_of_reused_token(
                user=user, session_id=token["sid"], expires_at=token.expires_at, at=at
            )
            raise AuthenticationFailed(ENDED)
        return Response(next_pair(token))


class LogoutView(SignInView):
    @operation("logout", body=RefreshRequest, answers={204: None}, refusals=[AuthenticationFailed])
    def post(self, request: Request) -> Response:
        """End the session of a refresh token: that token and its access token, at once."""
        if not refresh_token_in(request).end_session():
            raise AuthenticationFailed(ENDED)
        return Response(status=204)


class MeView(ApiView):
    @operation("me", answers={200: UserDocument})
    def get(self, request: Request) -> Response:
        """The user whose token this is."""
        return Response(UserDocument(request.user).data)


def refresh_token_in(request: Request) -> UserRefreshToken:
    """
    Return the refresh token in the body.

    :raises AuthenticationFailed: it is none of ours, or has expired.
    """
    body = RefreshRequest(data=request.data)
    body.is_valid(raise_exception=True)
    token = read_refresh_token(body.validated_data["refresh"])
    if token is None:
        raise AuthenticationFailed(ENDED)
    return token
