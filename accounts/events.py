"""
What apps above must hear of people, told at once and in the same database transaction.

An app above subscribes in its ``AppConfig.ready()``. Handlers run in the order they subscribed; one
that fails fails the act it was told of. ``bulk_create`` and fixtures tell nothing, by their nature:
``manage.py backfill_credits`` picks up the users they make.
"""

from collections.abc import Callable
from typing import Any

Handler = Callable[..., object]


class Event:
    """Something that happened; ``carries`` names what its handlers are given, all by keyword."""

    def __init__(self, name: str, carries: frozenset[str]) -> None:
        self.name, self.carries = name, carries
        self.handlers: list[Handler] = []

    def subscribe(self, handler: Handler) -> Handler:
        """Call ``handler`` whenever it happens; subscribing twice is once. A decorator too."""
        if handler not in self.handlers:
            self.handlers.append(handler)
        return handler

    def publish(self, **facts: Any) -> None:
        """
        Tell every handler.

        :raises TypeError: ``facts`` are not exactly those that the event carries.
        """
        if facts.keys() != self.carries:
            raise TypeError(f"{self.name} carries {sorted(self.carries)}, not {sorted(facts)}.")
        for handler in self.handlers:
            handler(**facts)


# ``actor`` is who did it, None for the system or the user themselves; ``at`` when, in UTC.
user_registered = Event("user_registered", frozenset({"user", "at", "actor"}))
role_changed = Event("role_changed", frozenset({"user", "at", "actor", "previous_role"}))
partner_changed = Event("partner_changed", frozenset({"user", "at", "actor"}))
agent_changed = Event("agent_changed", frozenset({"user", "at", "actor"}))
