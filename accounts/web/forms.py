"""allauth's forms where ours differ: they call our services, and what they take is bounded."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account import forms as account_forms
from allauth.account.adapter import get_adapter
from allauth.account.fields import EmailField, PasswordField
from allauth.core import context
from allauth.mfa.adapter import get_adapter as get_factor_adapter
from allauth.mfa.base import forms as factor_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as key_forms
from django import forms
from django.contrib.auth.password_validation import password_validators_help_text_html
from django.core.validators import MaxLengthValidator
from django.utils import timezone

from accounts.models import User
from accounts.services import sign_in
from accounts.services.second_factor import use_code
from accounts.web.adapters import count_failure, refuse_if_locked
from creditsite.formfields import JsonObjectField, TextField

# As many as the API takes: whoever sets a password here can sign in there.
MAX_PASSWORD_LENGTH = 128


def bounded(form: forms.BaseForm) -> None:
    """Let no password field of ``form`` take more than any password may have."""
    for field in form.fields.values():
        if isinstance(field, PasswordField):
            field.max_length = MAX_PASSWORD_LENGTH
            field.validators.append(MaxLengthValidator(MAX_PASSWORD_LENGTH))
            field.widget.attrs["maxlength"] = str(MAX_PASSWORD_LENGTH)


class SignUpForm(forms.Form):
    """Its values are arguments of ``register_user``, which says what is wrong with them."""

    email = EmailField(max_length=254)
    name = TextField(
        max_length=150, required=False, widget=forms.TextInput({"autocomplete": "name"})
    )
    password = PasswordField(
        label="Password",
        autocomplete="new-password",
        help_text=password_validators_help_text_html(),
    )
    referral_code = TextField(
        max_length=16, required=False, help_text="Of whoever sent you here, if somebody did."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounded(self)


class SignInForm(account_forms.LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounded(self)


class ReauthenticateForm(account_forms.ReauthenticateForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounded(self)


class ChangePasswordForm(account_forms.ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounded(self)

    def clean_oldpassword(self) -> str:
        """Check it as a sign-in does, so that wrong ones count."""
        old = self.cleaned_data["oldpassword"]
        if not get_adapter().reauthenticate(self.user, old):
            raise get_adapter().validation_error("enter_current_password")
        return old

    def save(self) -> None:
        password = self.cleaned_data["password1"]
        sign_in.change_password(user=self.user, password=password, at=timezone.now())
        self.user.refresh_from_db(fields=["password", "token_version"])


class ResetPasswordForm(account_forms.ResetPasswordKeyForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounded(self)

    def save(self) -> None:
        password = self.cleaned_data["password1"]
        sign_in.reset_password(user=self.user, password=password, at=timezone.now())


class CodeMixin:
    """A code of the second factor: it works once, and wrong ones count as wrong passwords do."""

    user: User
    cleaned_data: dict[str, Any]

    def clean_code(self) -> str:
        refuse_if_locked(context.request, self.user.email)
        code = self.cleaned_data["code"]
        factor = use_code(user=self.user, code=code, at=timezone.now())
        if factor is None:
            count_failure(context.request, self.user.email)
            raise get_factor_adapter().validation_error("incorrect_code")
        factor.user = self.user
        self.authenticator = factor
        return code


class CodeForm(CodeMixin, factor_forms.AuthenticateForm):
    """The second factor at sign-in."""


class CodeAgainForm(CodeMixin, factor_forms.ReauthenticateForm):
    """The second factor before what takes a recent sign-in."""


@contextmanager
def malformed_refused() -> Iterator[None]:
    """Refuse as a wrong answer of a security key what the library stumbles over while reading."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, struct.error) as error:
        raise get_factor_adapter().validation_error("incorrect_code") from error


class AddKeyForm(key_forms.AddWebAuthnForm):
    credential = JsonObjectField(widget=forms.HiddenInput)
    name = TextField(max_length=80, required=False)

    def clean(self) -> dict[str, Any]:
        with malformed_refused():
            return super().clean()


class RenameKeyForm(key_forms.EditWebAuthnForm):
    name = TextField(max_length=80)


class KeyForm(key_forms.AuthenticateWebAuthnForm):
    """A security key at sign-in."""

    credential = JsonObjectField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        with malformed_refused():
            return super().clean_credential()


class KeyAgainForm(key_forms.ReauthenticateWebAuthnForm):
    """A security key before what takes a recent sign-in."""

    credential = JsonObjectField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        with malformed_refused():
            return super().clean_credential()
