"""Staff pages as a browser uses them: opened, filled in, sent."""

from typing import Any

from django.http import HttpResponse
from django.test import Client

from audit.models import AuditEvent

REASON = "asked for by the customer"


def page_of(instance: Any, act: str = "change") -> str:
    opts = instance._meta
    return f"/admin/{opts.app_label}/{opts.model_name}/{instance.pk}/{act}/"


def text(response: HttpResponse) -> str:
    return response.content.decode()


def opened(client: Client, url: str) -> dict[str, Any]:
    """Open a page that asks, and return what a browser would send if nothing were typed."""
    form = client.get(url).context["form"]
    fields = {name: form[name].value() for name in form.fields}
    return {n: value for n, value in fields.items() if value is not None and value is not False}


def sent(client: Client, url: str, **typed: Any) -> HttpResponse:
    """Open a page that asks, type, confirm, and return what comes back."""
    return resent(client, url, opened(client, url) | typed)


def resent(client: Client, url: str, data: dict[str, Any]) -> HttpResponse:
    return client.post(url, {"reason": REASON, **data, "confirmed": "yes"}, follow=True)


def said(response: HttpResponse) -> list[str]:
    """Return the messages that the page after a deed shows."""
    return [str(message) for message in response.context["messages"]]


def errors(response: HttpResponse) -> list[str]:
    """Return what the page that asked has against what was typed."""
    found = response.context["form"].errors
    return [message for messages in found.values() for message in messages]


def recorded() -> list[tuple[str, str]]:
    """Return what was recorded with the reason that the tests type."""
    events = AuditEvent.objects.filter(reason=REASON).order_by("pk")
    return [(event.action, event.reason) for event in events]
