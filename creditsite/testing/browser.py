"""The site in a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

# Of everybody in the demo, where a test uses it.
PASSWORD = "any words will do"
DESK, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)


@contextmanager
def site() -> Iterator[str]:
    """Serve the site from a thread on the test's database, which must be its own clone."""
    # By name: there is no WebAuthn for an address.
    server = LiveServerThread("localhost", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    assert server.error is None
    try:
        yield f"http://localhost:{server.port}"
    finally:
        server.terminate()


@contextmanager
def new_page(chromium: Browser, address: str, size: ViewportSize = DESK) -> Iterator[Page]:
    """Give a page of a browser that knows nobody; fail if it logs an error meanwhile."""
    context = chromium.new_context(base_url=address, viewport=size)
    page, wrong = context.new_page(), []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", note)
    yield page
    context.close()
    assert wrong == []


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Send e-mail and password; where that leads is for the caller to say."""
    page.goto("/accounts/login/")
    page.fill("#id_login", email)
    page.fill("#id_password", password)
    page.press("#id_password", "Enter")


@contextmanager
def signed_in(chromium: Browser, address: str, name: str, size: ViewportSize) -> Iterator[Page]:
    """Give a page of ``name`` of the demo's staff, who has signed in."""
    with new_page(chromium, address, size) as page:
        sign_in(page, f"{name}@example.com")
        page.wait_for_url("**/admin/")
        yield page


def is_too_wide(page: Page) -> bool:
    """Say whether the page must be moved sideways to be read."""
    return page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
