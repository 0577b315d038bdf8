"""E-mails about what happened, as HTML and as text, in one layout; the outbox sends them."""

from collections.abc import Iterable
from typing import Any

from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.choices import StaffGroup
from accounts.models import User


def tell(
    readers: Iterable[User], *, subject: str, template: str = "emails/notice", **context: Any
) -> None:
    """
    Write to each of ``readers``, in the transaction that is open.

    ``template`` plus ".txt" and ".html" extend ``emails/base``. That of a plain notice takes
    ``lines``, sentences, ``facts``, pairs of a name and a figure, a ``link`` with ``link_text``.
    """
    context["subject"] = subject
    text = render_to_string(f"{template}.txt", context).strip()
    html = render_to_string(f"{template}.html", context)
    for address in dict.fromkeys(reader.email for reader in readers):
        send_mail(subject, text, None, [address], html_message=html)


def admins() -> list[User]:
    """Return who is an active member of the group Admin."""
    rows = User.objects.filter(is_staff=True, is_active=True, groups__name=StaffGroup.ADMIN)
    return list(rows.order_by("pk"))
