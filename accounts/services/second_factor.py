"""Codes of authenticator apps and recovery codes, each good for one sign-in."""

from datetime import datetime

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa import app_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.utils import decrypt
from django.db import transaction

from accounts.models import User


@transaction.atomic
def use_code(*, user: User, code: str, at: datetime) -> Authenticator | None:
    """
    Use up ``code`` and return whose it is: the app's or the recovery codes'; ``None`` if wrong.

    The rows are locked and keep what was used, so that a code works once whatever cache there is.
    """
    factors = Authenticator.objects.select_for_update().filter(user=user).order_by("pk")
    for factor in factors.exclude(type=Authenticator.Type.WEBAUTHN):
        if factor.type == Authenticator.Type.TOTP:
            is_used = _use_totp(factor, code, at)
        else:
            is_used = factor.wrap().validate_code(code)
        if is_used:
            # Of its own row: the recovery codes have written theirs.
            Authenticator.objects.filter(pk=factor.pk).update(last_used_at=at)
            return factor
    return None


def _use_totp(factor: Authenticator, code: str, at: datetime) -> bool:
    """Use a code of a later step of time than any before (RFC 6238, 5.2)."""
    now = int(at.timestamp()) // app_settings.TOTP_PERIOD
    secret, used = decrypt(factor.data["secret"]), factor.data.get("used_step", -1)
    for step in range(now - app_settings.TOTP_TOLERANCE, now + app_settings.TOTP_TOLERANCE + 1):
        expected = format_hotp_value(hotp_value(secret, step))
        if step > used and compare_user_code(actual=code, expected=expected):
            factor.data["used_step"] = step
            factor.save(update_fields=["data"])
            return True
    return False
