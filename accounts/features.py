"""What a user's plan opens in the platform, as labels; an app above that sells plans says so."""

from collections.abc import Callable, Iterable
from typing import Any

SOURCES: list[Callable[[Any], Iterable[str]]] = []


def add_source(source: Callable[[Any], Iterable[str]]) -> None:
    """Ask ``source`` for the labels of a user, too; called when the app of it is ready."""
    if source not in SOURCES:
        SOURCES.append(source)


def features_of(user: Any) -> list[str]:
    """Return the labels of ``user``, each once, in the order of the sources."""
    return list(dict.fromkeys(label for source in SOURCES for label in source(user)))
