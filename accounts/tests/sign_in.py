"""People who sign in by the pages, as a browser does."""

import time

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
)
from django.test import Client

from accounts.models import User
from accounts.tests.factories import StaffFactory, UserFactory

PASSWORD = "correct horse battery"
LOGIN = "/accounts/login/"


def member(**fields) -> User:
    """Return a new user who has the password."""
    return with_password(UserFactory(**fields))


def staff(**fields) -> User:
    return with_password(StaffFactory(**fields))


def with_password(user: User) -> User:
    user.set_password(PASSWORD)
    user.save()
    return user


def with_factor(user: User) -> str:
    """Give ``user`` an authenticator app, and return its secret."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def with_recovery_codes(user: User) -> list[str]:
    return RecoveryCodes.activate(user).generate_codes()


def code_of(secret: str) -> str:
    """Return what the authenticator app shows now."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def sign_in(client: Client, email: str, password: str = PASSWORD, **more):
    return client.post(LOGIN, {"login": email, "password": password}, **more)


def signed_in(user: User) -> Client:
    """Return a browser in which ``user`` has just signed in by password."""
    client = Client()
    assert sign_in(client, user.email).status_code == 302
    assert is_in(client)
    return client


def is_in(client: Client) -> bool:
    return client.get("/accounts/").status_code == 200
