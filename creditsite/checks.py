"""Django system checks: mistakes of an installation that settings alone cannot see."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections

OLDEST_POSTGRESQL = 150_000
KEYS = ["SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "API_KEY_HASH_KEY"]
SHORTEST_KEY = 32


def check_deployment(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a demo, weak or shared keys, and warn of a queue that only one machine sees."""
    keys = {name: getattr(settings, name) for name in KEYS}
    found: list[CheckMessage] = []
    if settings.DEMO:
        found.append(Error("DEMO=1 opens plain HTTP and demo sign-ins.", id="creditsite.E001"))
    if weak := [name for name, key in keys.items() if len(key) < SHORTEST_KEY]:
        found.append(
            Error(
                f"Shorter than {SHORTEST_KEY} characters: {', '.join(weak)}.", id="creditsite.E002"
            )
        )
    if len(set(keys.values())) < len(keys):
        found.append(
            Error(
                "Two keys are the same; one that leaks would take the other along.",
                id="creditsite.E003",
            )
        )
    if not settings.REDIS_URL:
        found.append(
            Warning(
                "REDIS_URL is not set: queue and throttles are files of this one machine.",
                id="creditsite.W001",
            )
        )
    return found


def check_database(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a server too old for the engine, and a commit that a crash may take back."""
    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('server_version_num')::int,"
                " current_setting('server_encoding'), current_setting('fsync')"
            )
            version, encoding, fsync = cursor.fetchone()
        if version < OLDEST_POSTGRESQL:
            found.append(Error("PostgreSQL 15 or later is needed.", id="creditsite.E004"))
        if encoding != "UTF8":
            found.append(Error("The database is not encoded in UTF8.", id="creditsite.E005"))
        if fsync != "on":
            found.append(
                Error("fsync is off: a crash loses credits that were booked.", id="creditsite.E006")
            )
    return found
