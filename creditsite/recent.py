"""How long ago somebody proved who they are, and the way to prove it again."""

import time
from datetime import timedelta
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

RECENT = timedelta(minutes=5)


def signed_in_recently(request: HttpRequest, within: timedelta = RECENT) -> bool:
    """Return whether the session's user gave password or second factor ``within`` this time."""
    records = get_authentication_records(request, request.user)
    return bool(records) and time.time() - records[-1]["at"] < within.total_seconds()


def is_late(request: HttpRequest, permission: str | None) -> bool:
    """Return whether using ``permission`` takes a fresher sign-in than that of ``request``."""
    user: Any = request.user
    return user.needs_recent_sign_in(permission) and not signed_in_recently(request)


def sign_in_again(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the page that asks for password or factor, and from there back to this one."""
    return HttpResponseRedirect(sign_in_again_url(request.get_full_path()))


def sign_in_again_url(back: str) -> str:
    return f"{reverse('account_reauthenticate')}?{urlencode({'next': back})}"


def late_message() -> SafeString:
    """Return what a page says that was sent too late: its link opens beside what was typed."""
    return format_html(
        'Nothing was changed yet: this needs a sign-in of the last five minutes. <a href="{}"'
        ' target="_blank" class="underline">Confirm that it is you</a>, then send this page again.',
        sign_in_again_url(reverse("account_confirmed")),
    )
