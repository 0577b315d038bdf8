"""What is ours about allauth: who gets in, from where, and what is written down about it."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.errors import SignInLocked
from accounts.identity import normalise_email
from accounts.models import User
from accounts.services import lockout, sign_in
from creditsite.addresses import client_address
from creditsite.recent import signed_in_recently

NOWHERE = "0.0.0.0"  # noqa: S104  What a Unix socket says of its client.


@contextmanager
def shown_on_form() -> Iterator[None]:
    """Let a refusal be an error of the form that is being validated."""
    try:
        yield
    except SignInLocked as refusal:
        raise ValidationError(str(refusal), code=refusal.code) from refusal


def refuse_if_locked(request: HttpRequest, email: str) -> None:
    """
    Refuse to look at a password or code of ``email``, and whether it was right.

    :raises ValidationError: there were too many wrong ones; says how long to wait.
    """
    with shown_on_form():
        lockout.refuse_if_locked(email=email, address=client_address(request), at=timezone.now())


def count_failure(request: HttpRequest, email: str) -> None:
    """
    Count a wrong password or code.

    :raises ValidationError: there have been too many meanwhile.
    """
    with shown_on_form():
        lockout.count_failure(email=email, address=client_address(request), at=timezone.now())


class AccountAdapter(DefaultAccountAdapter):
    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or NOWHERE

    def is_safe_url(self, url: str | None) -> bool:
        """Return whether ``url`` leads to this host and no other, in the scheme of the request."""
        request = context.request
        return url_has_allowed_host_and_scheme(
            url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """
        Return whose credentials these are; a closed account is nobody's.

        :raises ValidationError: there were too many wrong ones, before or meanwhile.
        """
        credentials["email"] = normalise_email(credentials["email"])
        user = super().authenticate(request, **credentials)
        refuse_if_locked(request, credentials["email"])
        return user if user and user.is_active else None

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        refuse_if_locked(request, credentials["email"])
        super().pre_authenticate(request, **credentials)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        count_failure(request, credentials["email"])

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign ``user`` in, who has given password and factor; of staff it is recorded."""
        now = timezone.now()
        try:
            lockout.forgive(email=user.email, address=client_address(request), at=now)
        except SignInLocked as refusal:
            messages.error(request, str(refusal))
            raise ImmediateHttpResponse(redirect("account_login")) from refusal
        with transaction.atomic():
            super().login(request, user)
            if user.is_staff:
                records = get_authentication_records(request, user)
                methods = [record.get("type", record["method"]) for record in records]
                sign_in.record_staff_sign_in(user=user, methods=methods, at=now)
        request.session["signed_in_at"] = request.session["seen_at"] = int(now.timestamp())

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        return not signed_in_recently(self.request)

    def get_reauthentication_methods(self, user: Any) -> list[dict]:
        """Return the ways to confirm who one is: with a factor where there is one."""
        methods = super().get_reauthentication_methods(user)
        factors = [method for method in methods if method["id"] != "reauthenticate"]
        return factors or methods

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:index" if request.user.is_staff else "billing_credits")


class FactorAdapter(DefaultMFAAdapter):
    """Keeps the secrets of second factors encrypted: a copy of the database opens no account."""

    def encrypt(self, text: str) -> str:
        return cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return cipher().decrypt(encrypted_text.encode()).decode()


def cipher() -> MultiFernet:
    return MultiFernet(
        Fernet(
            urlsafe_b64encode(salted_hmac(__name__, "", secret=key, algorithm="sha256").digest())
        )
        for key in [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    )
