"""How the books' figures are written on pages."""

from datetime import datetime
from typing import Any

from django import template

from ledger import figures
from ledger.models import Grant
from ledger.queries.explanations import state_of_grant

register = template.Library()
register.filter("figure", figures.figure)
register.filter("signed", figures.signed)
register.filter("by_type", figures.by_type)


@register.filter
def paid(grant: Grant) -> str:
    return ", ".join(part for part in figures.paid_for(grant) if part)


@register.filter
def less(number: int) -> str:
    """Return what is taken off: with a minus, and nothing as a bare zero."""
    return figures.signed(-number)


@register.filter
def state(grant: Grant, at: datetime) -> str:
    return state_of_grant(grant, at)


@register.filter
def quantity(number: Any) -> str:
    """Return an exact quantity without idle zeros."""
    return f"{number.normalize():,f}"


TONES = {
    "active": "cs-good",
    "done": "cs-good",
    "open": "cs-good",
    "in force": "cs-good",
    "on sale": "cs-good",
    "redeemed": "cs-good",
    "reserved": "cs-info",
    "released": "cs-warn",
    "off sale": "cs-warn",
    "ended": "cs-warn",
    "used up": "cs-warn",
    "captured": "cs-good",
    "all held": "cs-info",
    "to come": "cs-info",
    "partner": "cs-info",
    "draft": "cs-info",
    "to be confirmed": "cs-info",
    "queued": "cs-info",
    "running": "cs-info",
    "plan expired": "cs-warn",
    "waiting for approval": "cs-warn",
    "discarded": "cs-warn",
    "failed": "cs-bad",
    "cancelled": "cs-bad",
    "paused": "cs-warn",
    "frozen": "cs-warn",
    "expired": "cs-warn",
    "closed": "cs-bad",
    "voided": "cs-bad",
    "taken back": "cs-bad",
}


@register.inclusion_tag("admin/ledger/badge.html")
def badge(text: str) -> dict[str, str]:
    """Show a state in the colour of its news."""
    return {"text": text, "tone": TONES.get(text, "")}
