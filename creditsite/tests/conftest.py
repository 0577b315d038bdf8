"""Fixtures of tests in a real browser, and those with a Stripe."""

import os
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from playwright.sync_api import Browser, sync_playwright

from billing.tests.conftest import door, sandbox  # noqa: F401
from creditsite.testing.browser import PASSWORD, site
from creditsite.testing.plugin import CHROMIUM


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Playwright keeps a loop running in this thread; Django then asks whether that is meant.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(CHROMIUM), args=["--no-sandbox"]
            )
            yield browser
            browser.close()
    finally:
        if before is None:
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def address(ledger_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the demo is served, on a database of the test's own."""
    monkeypatch.setenv("DEMO_PASSWORD", PASSWORD)
    call_command("seed_demo", verbosity=0)
    with site() as url:
        yield url
