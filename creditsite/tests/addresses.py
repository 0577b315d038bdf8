"""The address of every page of the site, about something that is there."""

import re
from collections.abc import Iterator

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.permissions import path_of

# What these pages do not answer without.
QUERIES = {
    "/admin/autocomplete/": "?app_label=accounts&model_name=team&field_name=owner&term=a",
    "/admin/search/": "?s=a&extended=1",
    "/admin/ledger/batch/add/": "?kind=add&of=all",
}
KNOWN = {
    "app_label": "ledger", "url": "nothing/", "content_type_id": "1", "pk": "1", "key": "abc",
    "uidb36": "1",
}  # fmt: skip


def paths() -> list[str]:
    """Return the path of each page as the table of permissions lists it."""
    found = dict.fromkeys(patterns(get_resolver()))
    return [path for path in found if not path.startswith(("/api/", "/static/"))]


def patterns(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for each in resolver.url_patterns:
        route = before + str(each.pattern)
        if isinstance(each, URLPattern):
            yield path_of(route)
        else:
            yield from patterns(each, route)


def addresses() -> list[str]:
    """Return an address for each path, but where there is nothing that it could be about."""
    return [address for path in paths() if (address := address_of(path))]


def address_of(path: str) -> str | None:
    known = dict(KNOWN)
    if "{object_id}" in path and "{content_type_id}" not in path:
        _, _, app_label, model, *_ = path.split("/")
        if (app_label, model) == ("ledger", "report"):
            known["object_id"] = "balances"
        elif thing := apps.get_model(app_label, model)._default_manager.order_by("pk").first():
            known["object_id"] = str(thing.pk)
        else:
            return None
    return re.sub(r"{(\w+)}", lambda m: known.get(m[1], "1"), path) + QUERIES.get(path, "")
