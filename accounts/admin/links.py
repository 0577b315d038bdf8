"""From an approval or a job to the page of what it is about, where an app above has such a page."""

from collections.abc import Callable
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

FINDERS: dict[str, Callable[[Any], Model | None]] = {}


def leads_to(kind: str, find: Callable[[Any], Model | None]) -> None:
    """Register how the object is found that an approval or job of ``kind`` is about."""
    FINDERS[kind] = find


def link_from(instance: Any) -> SafeString | None:
    """Return the link to what ``instance``, an approval or a job, is about, if that has a page."""
    find = FINDERS.get(instance.kind)
    target = find(instance) if find else None
    if target is None:
        return None
    name = f"admin:{target._meta.label_lower.replace('.', '_')}_change"
    return format_html(
        '<a href="{}" class="text-primary-600 underline dark:text-primary-400">{}</a>',
        reverse(name, args=[target.pk]),
        str(target).capitalize(),
    )
