"""
The pytest plugin that makes a test run possible anywhere: keys, database, quick and private parts.

Loaded by ``-p`` in pytest.ini, because pytest-django reads settings before any conftest.py.
"""

import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from creditsite import embedded
from creditsite.running import environment

CHROMIUM = Path("/usr/bin/chromium")
KEYS = ["SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "API_KEY_HASH_KEY"]
ONCE = {"billing", "disputes"}
NEEDS = pytest.StashKey[ExitStack]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Prepare the environment that settings read, and hold the embedded database up meanwhile."""
    os.environ["DEMO"] = "1"
    os.environ["BROKER_URL"] = "memory://"  # No worker of a running site may take a test's tasks.
    if not os.environ.get("DATABASE_URL") and not environment.read():
        port = int(os.environ.get("PORT") or environment.DEFAULT_PORT)
        environment.write(port=port, database_port=port + 1)
    held = early_config.stash[NEEDS] = ExitStack()
    early_config.add_cleanup(held.close)
    held.enter_context(embedded.for_this_process())
    os.environ |= {name: f"only for tests: {name}".ljust(50, ".") for name in KEYS}
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Replace what tests need quick or for themselves; it stays what it is everywhere else."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    # A test names its own, and reaches nothing of a site that runs in this checkout.
    settings.STRIPE_SECRET_KEY = settings.SITE_URL = ""
    settings.STRIPE_WEBHOOK_SECRETS = []
    settings.STRIPE_API_BASE = "https://api.stripe.com"
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    settings.WHITENOISE_AUTOREFRESH = True  # Else each client of a test reads all static files.
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.hookimpl(tryfirst=True)  # Before pytest selects by markers.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Do not run what this machine has not got the means for; the summary names each of them.

    Tests of staff pages, of sales and of disputes are marked ``once``: another server and Redis are
    nothing to them, and CI's second run walks the pages in a browser.

    A test with a database of its own is marked as one with a database, so that the test database
    which it is a clone of is made.
    """
    for item in items:
        of_once = item.path.name.startswith("test_admin") or item.path.parts[-3] in ONCE
        if of_once and not {"browser", "redis"} & {*item.keywords}:
            item.add_marker(pytest.mark.once)
        if {"ledger_db", "pristine_database"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.django_db)
        for marker, reason in missing().items():
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def missing() -> dict[str, str]:
    """Return the markers whose tests cannot run here, each with what they need."""
    found = {}
    if not CHROMIUM.exists():
        found["browser"] = f"needs Chromium at {CHROMIUM}"
    if not os.environ.get("REDIS_URL"):
        found["redis"] = "needs a Redis server in REDIS_URL"
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if skipped := terminalreporter.stats.get("skipped"):
        terminalreporter.section("not run")
        for report in skipped:
            terminalreporter.line(
                f"{report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}"
            )
