"""Buying in a real browser, paid at the local Stripe, and sent back by staff."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect

from billing import gateway
from billing.models import Payment
from billing.stripe_sandbox.server import serving
from creditsite.celery import app
from creditsite.testing.browser import DESK, PASSWORD, PHONE, is_too_wide, sign_in
from ledger.models import Wallet
from ledger.services.figures import add_up

pytestmark = pytest.mark.browser
PAID, DECLINED = "4242 4242 4242 4242", "4000 0000 0000 0002"
SECRET = "whsec_of_the_tests"


@pytest.fixture
def stripe(address: str, tmp_path: Path, settings: Any) -> Iterator[str]:
    """A local Stripe that tells the site; what is queued is done at once."""
    with serving(state=str(tmp_path / "stripe.sqlite"), retry_seconds=0.05) as server:
        settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
        settings.STRIPE_API_BASE = server.url
        settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
        server.listen(f"{address}/stripe/webhook", SECRET)
        app.conf.task_always_eager = True
        yield server.url
        app.conf.task_always_eager = False
        gateway.client_for.cache_clear()


@contextmanager
def visitor(chromium: Browser, address: str, size: ViewportSize = DESK) -> Iterator[Page]:
    """Give a page; fail if the browser logs an error about ours, whatever it says of Stripe's."""
    wrong = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and message.location["url"].startswith(address):
            wrong.append(message.text)

    with chromium.new_context(base_url=address, viewport=size) as context:
        page = context.new_page()
        page.on("console", note)
        yield page
    assert wrong == []


def enter(page: Page, name: str = "alice") -> None:
    sign_in(page, f"{name}@example.com", PASSWORD)
    page.wait_for_url(lambda url: "login" not in url)


def figure(page: Page, label: str) -> str:
    return page.locator(".figure", has_text=label).locator("dd").inner_text()


def choose(page: Page, package: str) -> None:
    """Choose a package, and wait for its price."""
    page.goto("/billing/buy/")
    page.locator(".offer", has_text=package).locator("input[type=radio]").check()
    expect(page.locator("#quote button")).to_be_visible()


def pay(page: Page, stripe: str, card: str = PAID) -> None:
    """Follow the button to Stripe's page, and pay there."""
    page.click("#quote button")
    page.wait_for_url(f"{stripe}/c/pay/**")
    page.fill("[name=card_number]", card)
    page.press("[name=card_number]", "Enter")


def deferred(page: Page) -> str:
    """Return what the report says of deferred dollars."""
    while add_up():
        pass
    page.goto("/admin/ledger/report/deferred/")
    return page.locator(".cs-report tbody tr", has_text="USD").locator("td").last.inner_text()


def test_a_purchase_from_its_price_to_its_refund(
    chromium: Browser, address: str, stripe: str
) -> None:
    with visitor(chromium, address) as page, visitor(chromium, address) as staff:
        enter(staff, "finance")
        before = deferred(staff)

        enter(page)
        page.wait_for_url("**/billing/")
        had = int(figure(page, "Bought").replace(",", ""))
        choose(page, "500 credits")
        expect(page.locator("#quote")).to_contain_text("49.00 USD")
        pay(page, stripe)
        page.wait_for_url("**/billing/payments/**")
        expect(page.get_by_text("500 credits are yours")).to_be_visible(timeout=15_000)
        payment = Payment.objects.get(status="credited", intent_id__isnull=False)
        page.goto("/billing/")
        assert figure(page, "Bought") == f"{had + 500:,}"
        page.click("text=Payments")
        expect(page.locator("tbody tr").first).to_contain_text("49.00 USD")
        assert deferred(staff) != before

        staff.goto(f"/admin/billing/payment/{payment.pk}/refund/")
        expect(staff.locator("#id_amount")).to_have_value("49.00")
        staff.fill("#id_reason", "They bought the wrong one.")
        staff.click("button:has-text('Refund')")
        expect(staff.get_by_text("A refund of 49.00 USD is on its way.")).to_be_visible()
        page.goto(f"/billing/payments/{payment.public_id}/")
        expect(page.locator(".state")).to_have_text("refunded")
        page.goto("/billing/")
        assert figure(page, "Bought") == f"{had:,}"
        assert deferred(staff) == before


def test_declined_then_cancelled_then_paid_after_all(
    chromium: Browser, address: str, stripe: str
) -> None:
    with visitor(chromium, address, PHONE) as page:
        enter(page)
        had = Wallet.objects.get(user__email="alice@example.com").purchase
        page.goto("/billing/buy/")
        page.fill("#amount", "1000")
        expect(page.locator("#quote")).to_contain_text("95.00 USD")
        page.fill("#code", "NO-SUCH")
        expect(page.locator("#quote")).to_contain_text("There is no such code.")
        page.fill("#code", "")
        expect(page.locator("#quote button")).to_be_visible()
        page.click("#quote button")
        page.wait_for_url(f"{stripe}/c/pay/**")
        page.fill("[name=card_number]", DECLINED)
        page.locator("[name=card_number]").evaluate("box => box.form.requestSubmit()")
        expect(page.locator(".refusal")).to_be_visible()
        page.click("button[value=cancel]")
        page.wait_for_url("**/billing/payments/**")
        expect(page.get_by_text("It is not paid yet.")).to_be_visible()
        assert not is_too_wide(page)
        page.click("button:has-text('Pay 95.00 USD')")
        page.wait_for_url(f"{stripe}/c/pay/**")
        page.fill("[name=card_number]", PAID)
        page.press("[name=card_number]", "Enter")
        expect(page.get_by_text("1,000 credits are yours")).to_be_visible(timeout=15_000)
        assert Wallet.objects.get(user__email="alice@example.com").purchase == had + 1_000


def test_without_scripts_and_without_webhooks(
    chromium: Browser, address: str, stripe: str, settings: Any
) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_of_somebody_else"]
    context = chromium.new_context(base_url=address, viewport=DESK, java_script_enabled=False)
    page = context.new_page()
    enter(page)
    page.goto("/billing/buy/")
    page.locator(".offer", has_text="100 credits").first.locator("input[type=radio]").check()
    page.click("text=Show the price")
    page.click("#quote button")
    page.wait_for_url(f"{stripe}/c/pay/**")
    page.fill("[name=card_number]", PAID)
    page.press("[name=card_number]", "Enter")
    expect(page.get_by_text("We wait for word")).to_be_visible()
    # The page looks again by itself, and then asks Stripe.
    expect(page.get_by_text("100 credits are yours")).to_be_visible(timeout=20_000)
    context.close()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_the_screen(
    chromium: Browser, address: str, stripe: str, size: ViewportSize
) -> None:
    with visitor(chromium, address, size) as page:
        enter(page)
        choose(page, "500 credits")
        payment = "/billing/payments/"
        assert not is_too_wide(page)
        for path in ["/billing/", "/billing/buy/?currency=zar", payment]:
            page.goto(path)
            assert not is_too_wide(page), path
