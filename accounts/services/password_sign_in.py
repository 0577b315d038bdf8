"""Signing in with a password and, where there is one, a second factor, in one step."""

from datetime import datetime
from typing import NamedTuple, NoReturn

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import transaction

from accounts.errors import SecondFactorRequired, WrongCredentials
from accounts.models import User
from accounts.services import lockout
from accounts.services.second_factor import use_code
from accounts.services.sign_in import has_factor, record_staff_sign_in


class SignIn(NamedTuple):
    """Who signed in, and by what: ``pwd`` and ``otp``, as RFC 8176 calls them."""

    user: User
    methods: list[str]


def sign_in(
    *, email: str, password: str, code: str | None, address: str | None, at: datetime
) -> SignIn:
    """
    Sign a user in.

    An unknown e-mail, a wrong password, a closed account and a wrong code are one refusal.

    :raises SignInLocked: too many sign-ins of the account or from the address went wrong.
    :raises WrongCredentials: they are wrong.
    :raises SecondFactorRequired: the password is right, and takes a code of a second factor:
        either none is given, or a member of staff has none to give.
    """
    lockout.refuse_if_locked(email=email, address=address, at=at)
    # Hashes for unknown e-mails as well, so that the time does not tell either.
    user = authenticate(None, username=email, password=password)
    if user is None:
        _refuse(email, address, at)
    methods = ["pwd"]
    may_use_code = has_factor(user)
    if may_use_code or (user.is_staff and settings.STAFF_NEED_SECOND_FACTOR):
        if code is None or not may_use_code:
            # Nothing is told of a password that was guessed beside too many others.
            lockout.refuse_if_locked(email=email, address=address, at=at)
            raise SecondFactorRequired
        if not use_code(user=user, code=code, at=at):
            _refuse(email, address, at)
        methods.append("otp")
    with transaction.atomic():
        lockout.forgive(email=email, address=address, at=at)
        if user.is_staff:
            record_staff_sign_in(user=user, methods=methods, at=at)
    return SignIn(user, methods)


def _refuse(email: str, address: str | None, at: datetime) -> NoReturn:
    lockout.count_failure(email=email, address=address, at=at)
    raise WrongCredentials
