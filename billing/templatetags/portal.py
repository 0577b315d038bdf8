"""The menu of the portal, and where its pages lead."""

from typing import Any

from django import template
from django.urls import reverse

from billing.queries.payments import receipt_path
from billing.web.menu import menu_of

register = template.Library()
register.filter("receipt", receipt_path)


@register.inclusion_tag("portal/menu.html", takes_context=True)
def portal_menu(context: dict[str, Any]) -> dict[str, Any]:
    """Show the menu of whoever is signed in, with the page they are on."""
    user, request = context["user"], context.get("request")
    entries = [
        {"title": entry.title, "address": reverse(entry.page), "page": entry.page}
        for entry in (menu_of(user) if user.is_authenticated else [])
    ]
    match = getattr(request, "resolver_match", None)
    here = context.get("menu_page") or (match.url_name if match else "")
    return {"entries": entries, "here": here, "user": user, "request": request}
