"""No page asks its browser for what the Content Security Policy forbids, or fails otherwise."""

import pytest
from playwright.sync_api import Browser, Page

from creditsite.testing.browser import DESK, PASSWORD, sign_in
from creditsite.testing.hostile import seed, some
from creditsite.tests.addresses import addresses

pytestmark = [pytest.mark.browser, pytest.mark.once]

# Opens and closes whatever opens and closes: menus, filters, themes, the search of everything.
CLICK_THROUGH = "document.querySelectorAll('[x-on\\\\:click]').forEach(part => part.click())"


def complaints(page: Page, path: str) -> list[str]:
    """Return what the browser complains of while ``path`` is shown and clicked through."""
    said: list[str] = []
    page.on("console", lambda message: message.type == "error" and said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    answer = page.goto(path)
    if answer is None or answer.status >= 400 or "html" not in answer.headers["content-type"]:
        return []
    page.evaluate(CLICK_THROUGH)
    page.wait_for_timeout(100)
    return [f"{path}: {each}" for each in said]


def test_no_page_breaks_the_policy(chromium: Browser, address: str) -> None:
    everything = [path for path in sorted(addresses()) if "logout" not in path]
    for_all = [path for path in everything if not path.startswith("/admin/")]
    wrong: list[str] = []
    for name in ["admin", "alice", None]:
        context = chromium.new_context(base_url=address, viewport=DESK)
        page = context.new_page()
        if name:
            sign_in(page, f"{name}@example.com", PASSWORD)
            page.wait_for_url(lambda url: "login" not in url)
        pages = everything if name == "admin" else for_all
        for path in [*some(pages, usually=4), "/api/docs"]:
            page = context.new_page()
            wrong += complaints(page, path)
            page.close()
        context.close()
    assert wrong == [], f"HOSTILE_SEED={seed()}"
