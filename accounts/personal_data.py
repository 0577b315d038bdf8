"""
What each app holds about a person: how it is counted, settled, erased, and given to them.

An app adds its ``Keeper`` in its ``AppConfig.ready()``. Erasure and export ask them in this order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# A section of an export: one object, or the rows of a list, read while they are sent.
Section = Mapping[str, Any] | Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Decision:
    """Something that staff must agree to first: up to ``amount`` of what ``name`` says."""

    name: str
    amount: int
    sentence: str


class Keeper:
    """What one app holds about a person. By default: nothing, and nothing stands in the way."""

    def obstacles(self, user: Any, at: datetime) -> list[str]:
        """Return a sentence for each thing that must be put right before ``user`` is erased."""
        return []

    def decisions(self, user: Any, at: datetime) -> list[Decision]:
        return []

    def erases(self, user: Any) -> dict[str, int]:
        """Return how many of each kind of thing erasing would take away, for people to read."""
        return {}

    def keeps(self, user: Any) -> list[str]:
        """Return a sentence for each thing that is kept, and why."""
        return []

    def settle(self, *, user: Any, decided: Mapping[str, int], actor: Any, at: datetime) -> None:
        """
        End what goes on for ``user``, within what was ``decided``, so that nothing new begins.

        :raises CreditsiteError: something came up that stands in the way or was not decided.
        """

    def words(self, user: Any) -> set[str]:
        """Return what names ``user`` wherever it is written."""
        return set()

    def audit_targets(self, user: Any) -> set[tuple[str, str]]:
        """Return the type and id of each thing whose audit events are about ``user``."""
        return set()

    def erase(self, *, user: Any, words: Iterable[str], at: datetime) -> None:
        """Erase it, in the open transaction; ``words`` are all that name the user."""

    def export(self, user: Any, at: datetime) -> Mapping[str, Section]:
        """Return what ``user`` is given, by section: nothing of other people's."""
        return {}


KEEPERS: list[Keeper] = []


def add_keeper(keeper: Keeper) -> None:
    KEEPERS.append(keeper)
