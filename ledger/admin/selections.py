"""The users that a batch is for, as the list of users chose them, and in words."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import Role

# What the address of a list says beside what is found; and what that of a new batch adds to it.
NOT_FILTERS = {"p", "o", "e", "all", "kind", "of"}

WORDS = {
    ("partner", "yes"): "partners only",
    ("partner", "no"): "no partners",
    ("debt", "yes"): "who owe credits",
    ("debt", "no"): "who owe nothing",
}


def filter_of(request: HttpRequest) -> dict[str, str]:
    """Return what the list of users is filtered by, as its address says it."""
    return {
        name: str(value) for name, value in request.GET.items() if value and name not in NOT_FILTERS
    }


def selection_of(query: dict[str, str]) -> dict[str, Any]:
    return {"of": "filter", "query": query} if query else {"of": "all"}


def address_of_new_batch(kind: str, query: dict[str, str]) -> str:
    """Return where a batch is drafted that adds or deducts, for those that ``query`` finds."""
    return (
        f"{reverse('admin:ledger_batch_add')}?{urlencode(query | {'kind': kind, 'of': 'filter'})}"
    )


def in_words(selection: dict[str, Any]) -> str:
    """Return whom ``selection`` is for, as a sentence goes on: "all users"."""
    match selection:
        case {"of": "all"}:
            return "all users"
        case {"of": "filter", "query": {"id__in": ids}}:
            number = ids.count(",") + 1
            return "the one that was ticked" if number == 1 else f"the {number:,} that were ticked"
        case {"of": "filter", "query": query}:
            found_by = "; ".join(filter_in_words(name, value) for name, value in query.items())
            return f"all that are found: {found_by}"
        case {"of": "csv", "name": name}:
            return f"those in the file {name}"
        case {"of": "batch", "id": number}:
            return f"those of batch {number}"
    return "–"


def filter_in_words(name: str, value: str) -> str:
    match name:
        case "q":
            return f"“{value}”"
        case "status__exact":
            return f"status {value}"
        case "user__role__id__exact":
            is_id = value.isascii() and value.isdigit() and len(value) < 19
            role = Role.objects.filter(pk=value).first() if is_id else None
            return f"role {role or value}"
    return WORDS.get((name, value), f"{name} {value}")
