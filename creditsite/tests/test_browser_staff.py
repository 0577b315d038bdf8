"""The staff pages in a real browser: what a person does, on a desk and on a phone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, Page, expect, sync_playwright

from creditsite.testing.plugin import CHROMIUM
from ledger.models import Wallet

PASSWORD = "any words will do"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
pytestmark = pytest.mark.browser


@contextmanager
def site() -> Iterator[str]:
    """Serve the site from a thread on the test's database, which must be its own clone."""
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    assert server.error is None
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.terminate()


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
    monkeypatch.setenv("DEMO_PASSWORD", PASSWORD)
    call_command("seed_demo", verbosity=0)
    with site() as url:
        yield url


@contextmanager
def signed_in(chromium: Browser, address: str, name: str, size: dict[str, int]) -> Iterator[Page]:
    """Give a page of ``name``, who has signed in; fail if it logs an error meanwhile."""
    context = chromium.new_context(base_url=address, viewport=size)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.goto("/admin/login/")
    page.fill("#id_username", f"{name}@example.com")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_url("**/admin/")
    yield page
    context.close()
    assert wrong == []


def wallet_page(page: Page, email: str) -> None:
    """Find a wallet by e-mail, as staff do."""
    page.goto("/admin/ledger/wallet/")
    page.fill("#searchbar", email)
    page.press("#searchbar", "Enter")
    page.wait_for_url("**?q=**")
    page.click(f"#result_list a:has-text('{email}')")
    expect(page.locator("h1", has_text=email).last).to_be_visible()


def figure(page: Page, label: str) -> str:
    return page.locator(".cs-figure", has_text=label).locator("dd").inner_text()


def is_too_wide(page: Page) -> bool:
    return page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )


def test_finance_sets_balances_and_reverses(chromium: Browser, address: str) -> None:
    with signed_in(chromium, address, "finance", DESK) as page:
        wallet_page(page, "dave@example.com")
        assert (figure(page, "Awards"), figure(page, "Available")) == ("300", "800")
        page.click("text=Set balances…")
        page.fill("#id_award", "20300")
        page.fill("#id_reason", "Prize of the yearly competition.")
        page.click("button:has-text('Set balances')")
        expect(page.get_by_text("Type exactly: MOVE 20000")).to_be_visible()
        expect(page.get_by_text("Awards: 300 → 20,300 (+20,000)")).to_be_visible()
        page.fill("#id_confirmation", "MOVE 20000")
        page.click("button:has-text('Set balances')")
        expect(page.get_by_text("The balances of dave@example.com are")).to_be_visible()
        assert figure(page, "Awards") == "20,300"

        page.locator("section", has_text="Recent transactions").locator("tbody a").first.click()
        page.click("text=Reverse…")
        number = Wallet.objects.get(user__email="dave@example.com").version
        page.fill("#id_reason", "It was meant for somebody else.")
        page.fill("#id_confirmation", f"REVERSE {number}")
        page.click("button:has-text('Reverse a transaction')")
        expect(page.get_by_text(f"Reversed no. {number}: -20,000 credits")).to_be_visible()
        wallet_page(page, "dave@example.com")
        assert figure(page, "Awards") == "300"


def test_a_double_click_posts_once(chromium: Browser, address: str) -> None:
    with signed_in(chromium, address, "finance", DESK) as page:
        wallet_page(page, "bob@example.com")
        before = Wallet.objects.get(user__email="bob@example.com").version
        page.click("text=Add credits…")
        page.fill("#id_amount", "25")
        page.fill("#id_reason", "Thanks for the bug report.")
        page.dblclick("button:has-text('Add credits')")
        page.wait_for_url("**/change/")
        assert Wallet.objects.get(user__email="bob@example.com").version == before + 1


def test_support_looks_and_is_offered_nothing(chromium: Browser, address: str) -> None:
    with signed_in(chromium, address, "support", DESK) as page:
        wallet_page(page, "frank@example.com")
        assert figure(page, "Debt") == "50"
        expect(page.get_by_text("The wallet is paused")).to_be_visible()
        expect(page.locator(".cs-actions")).to_have_count(0)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_the_screen(chromium: Browser, address: str, size: dict[str, int]) -> None:
    with signed_in(chromium, address, "finance", size) as page:
        wallet_page(page, "alice@example.com")
        wallet = page.url.split("/change/")[0].removeprefix(address)
        pages = ["/admin/", f"{wallet}/change/", f"{wallet}/set/", f"{wallet}/add/"]
        for model, column in {
            "wallet": "owned_by",
            "credittransaction": "when",
            "grant": "given_on",
            "hold": "placed",
            "feature": "code",
        }.items():
            page.goto(f"/admin/ledger/{model}/")
            row = page.locator(f"#result_list .field-{column} a").first
            pages += [f"/admin/ledger/{model}/", row.get_attribute("href") or ""]
        for path in pages:
            page.goto(path)
            assert not is_too_wide(page), path
