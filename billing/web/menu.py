"""The menu of the portal: what a signed-in user may do there."""

from collections.abc import Callable
from typing import Any, NamedTuple

from accounts.models import User


class Entry(NamedTuple):
    """A page by its name in the URLs, and to whom it is offered."""

    title: str
    page: str
    position: int
    is_for: Callable[[User], bool]


ENTRIES: list[Entry] = []


def add_to_menu(
    title: str, page: str, *, position: int, is_for: Callable[[User], bool] = lambda user: True
) -> None:
    """
    Offer a page in the menu of the portal; called when the app of the page is ready.

    :param page: its name in the URLs; it takes no arguments.
    :param position: the lowest comes first.
    :param is_for: to whom; asked on every page, so it should not query.
    """
    ENTRIES.append(Entry(title, page, position, is_for))
    ENTRIES.sort(key=lambda entry: entry.position)


def menu_of(user: Any) -> list[Entry]:
    """Return what is offered to ``user``, who is signed in."""
    return [entry for entry in ENTRIES if entry.is_for(user)]
