"""Django system checks: mistakes of an installation that settings alone cannot see."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections

OLDEST_POSTGRESQL = 150_000
KEYS = ["SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "API_KEY_HASH_KEY"]
SHORTEST_KEY = 32
SECRET_KEYS = "sk_live_", "rk_live_", "sk_test_", "rk_test_"
TEST_KEYS = "sk_test_", "rk_test_"
LONGEST_WAIT_MS = 600_000
# What must be on for a commit to last, and what a crash does where it is off.
DURABILITY = {
    "fsync": "loses credits that were booked, or the whole database",
    "full_page_writes": "ruins a page that was being written",
    "synchronous_commit": "takes back what was answered as done",
}


def check_deployment(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse what is unsafe or cannot work, and warn of what is missing."""
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
    if open_hosts := [host for host in settings.ALLOWED_HOSTS if host[:1] in {"*", "."}]:
        found.append(
            Error(
                f"ALLOWED_HOSTS names no hosts but {', '.join(open_hosts)}: links in e-mails would"
                " lead to whatever Host a request claims.",
                id="creditsite.E007",
            )
        )
    limits = settings.DATABASE_TIMEOUTS_MS
    statement, wait = limits["statement_timeout"], limits["lock_timeout"]
    idle = limits["idle_in_transaction_session_timeout"]
    if not (0 < wait <= LONGEST_WAIT_MS and 0 < idle <= LONGEST_WAIT_MS and statement >= 0):
        found.append(
            Error(
                "Waiting for a lock and idling in a transaction must end within ten minutes: set"
                " DATABASE_LOCK_TIMEOUT_MS and DATABASE_IDLE_TIMEOUT_MS.",
                id="creditsite.E008",
            )
        )
    elif 0 < statement <= wait:
        found.append(
            Error(
                "DATABASE_LOCK_TIMEOUT_MS is not below DATABASE_STATEMENT_TIMEOUT_MS: who waits"
                " for a lock would never be told so.",
                id="creditsite.E009",
            )
        )
    if not (settings.EMAIL_IS_SENT and settings.EMAIL_FROM):
        found.append(
            Error(
                "EMAIL_URL and EMAIL_FROM are not set: e-mails wait and are not sent.",
                id="creditsite.E010",
            )
        )
    if not settings.ERASURE_LIST_FILE:
        found.append(
            Warning(
                "ERASURE_LIST_FILE is not set: a restored backup brings back who was erased.",
                id="creditsite.W004",
            )
        )
    if not (settings.AUDIT_SIGNING_KEY_FILE and settings.AUDIT_CHECKPOINT_FILE):
        found.append(
            Warning(
                "AUDIT_SIGNING_KEY_FILE and AUDIT_CHECKPOINT_FILE are not both set: nothing seals"
                " the audit record.",
                id="creditsite.W005",
            )
        )
    found += [*about_payments(), *about_address()]
    if not settings.REDIS_URL:
        found.append(
            Warning(
                "REDIS_URL is not set: queue and throttles are files of this one machine.",
                id="creditsite.W001",
            )
        )
    return found


def about_payments() -> Iterator[CheckMessage]:
    """Yield what keeps real payments from coming in, or from being credited at once."""
    key = settings.STRIPE_SECRET_KEY
    if not key:
        yield Warning(
            "STRIPE_SECRET_KEY is not set: nobody can pay.",
            hint="See docs/stripe.md.",
            id="creditsite.W006",
        )
        return
    if not key.startswith(SECRET_KEYS):
        yield Error(
            f"STRIPE_SECRET_KEY is none: it begins with {' or '.join(SECRET_KEYS)}.",
            id="creditsite.E011",
        )
    elif key.startswith(TEST_KEYS):
        yield Warning(
            "STRIPE_SECRET_KEY is one of Stripe's test mode: nobody pays real money.",
            id="creditsite.W007",
        )
    if not settings.STRIPE_WEBHOOK_SECRETS:
        yield Error(
            "STRIPE_WEBHOOK_SECRETS is not set: no webhook is believed, and payments are credited"
            " minutes late.",
            id="creditsite.E012",
        )
    if not settings.SELLER["name"]:
        yield Warning("SELLER_NAME is not set: receipts do not say who sold.", id="creditsite.W008")


def about_address() -> Iterator[CheckMessage]:
    """Yield what is wrong with the links in e-mails."""
    site = settings.SITE_URL
    if not site:
        yield Warning("SITE_URL is not set: e-mails have no links.", id="creditsite.W009")
    elif not re.fullmatch(r"https://[^/?#@\s]+", site):
        yield Error(
            "SITE_URL is not https:// with a name of a host and nothing behind it.",
            id="creditsite.E013",
        )


def check_database(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a server too old for the engine, and a commit that a crash may take back."""
    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('server_version_num')::int,"
                " current_setting('server_encoding')"
            )
            version, encoding = cursor.fetchone()
        if version < OLDEST_POSTGRESQL:
            found.append(Error("PostgreSQL 15 or later is needed.", id="creditsite.E004"))
        if encoding != "UTF8":
            found.append(Error("The database is not encoded in UTF8.", id="creditsite.E005"))
        found += [Error(sentence, id="creditsite.E006") for sentence in durability_lost(alias)]
    return found


def durability_lost(alias: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Return, as sentences, why a commit on the database may not last."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE current_setting(name) = 'off'",
            [[*DURABILITY]],
        )
        return [f"{name} is off: a crash {DURABILITY[name]}." for (name,) in cursor.fetchall()]
