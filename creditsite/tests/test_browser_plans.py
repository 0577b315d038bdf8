"""A plan in a real browser: subscribed to at the local Stripe, renewed, upgraded, cancelled."""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from billing.models import Subscription
from billing.services.inbox import handle_events
from creditsite.testing.browser import DESK, PHONE, is_too_wide, new_page
from creditsite.tests.test_browser_buying import enter, stripe  # noqa: F401
from ledger.models import Wallet

pytestmark = pytest.mark.browser
# Where to keep pictures of the pages, if anybody wants to look at them.
PICTURES = os.environ.get("PICTURES", "")


def advance(stripe: str, days: int) -> None:  # noqa: F811
    """Move the local Stripe's clock; what falls due is billed, and told."""
    request = urllib.request.Request(  # noqa: S310
        f"{stripe}/_sandbox/clock",
        data=json.dumps({"seconds": days * 86_400}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


def looked_at(page: Page, name: str) -> None:
    """Assert that a page fits a desk and a phone."""
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        assert not is_too_wide(page), (name, size)
        if PICTURES:
            path = Path(PICTURES, f"{name}-{size['width']}.png")
            page.screenshot(path=path, full_page=True)


def purchased() -> int:
    return Wallet.objects.get(user__email="alice@example.com").purchase


def offer(page: Page, name: str) -> Any:
    return page.locator(".offer", has_text=name)


def test_a_plan_from_its_first_month_to_its_end(
    chromium: Browser,
    address: str,
    stripe: str,  # noqa: F811
) -> None:
    with new_page(chromium, address) as page, new_page(chromium, address) as staff:
        enter(page)
        had = purchased()
        page.goto("/billing/plans/?currency=usd")
        looked_at(page, "plans")
        offer(page, "Starter").locator("button").click()
        page.wait_for_url(f"{stripe}/c/pay/**")
        page.fill("[name=card_number]", "4242 4242 4242 4242")
        page.press("[name=card_number]", "Enter")
        page.wait_for_url("**/billing/plans/?subscribed=1")
        reload_until(page, ".state", "active")
        looked_at(page, "subscribed")
        assert purchased() == had + 200

        advance(stripe, 32)
        page.goto("/billing/")
        reload_until(page, ".figure dd", f"{had + 400:,}")
        page.goto("/billing/plans/")

        offer(page, "Professional").get_by_text("Change to it").click()
        expect(page.get_by_text("You pay now")).to_be_visible()
        looked_at(page, "change")
        page.click("button:has-text('Pay and change')")
        expect(page.get_by_text("You are on Professional now.")).to_be_visible()
        reload_until(page, "section h2", "Professional")
        assert purchased() > had + 400

        page.click("text=Cancel my plan")
        looked_at(page, "cancel")
        page.click("button:has-text('Cancel my plan')")
        expect(page.get_by_text("It is cancelled, and ends on")).to_be_visible()
        looked_at(page, "cancelled")
        page.click("text=Keep my plan")
        expect(page.get_by_text("Your subscription goes on.")).to_be_visible()

        subscription = Subscription.objects.get(user__email="alice@example.com")
        enter(staff, "finance")
        url = f"/admin/billing/subscription/{subscription.pk}"
        for path, name in [
            ("/admin/billing/subscription/", "staff-list"),
            (f"{url}/change/", "staff-page"),
            (f"{url}/change-plan/", "staff-change"),
            ("/admin/billing/slice/", "staff-months"),
            ("/admin/billing/slice/post-due/", "staff-post-due"),
            (f"/admin/ledger/wallet/{subscription.wallet_id}/change/", "staff-wallet"),
            (f"/admin/ledger/wallet/{subscription.wallet_id}/assign-tier/", "staff-tier"),
        ]:
            staff.goto(path)
            looked_at(staff, name)
        staff.goto(f"{url}/end/")
        staff.fill("#id_reason", "They asked for it on the phone.")
        staff.fill("#id_confirmation", f"END {subscription.pk}")
        staff.click("button:has-text('End now')")
        expect(staff.get_by_text("It has ended.")).to_be_visible()
        page.goto("/billing/plans/")
        expect(offer(page, "Starter").locator("button")).to_be_visible()


def reload_until(page: Page, selector: str, text: str) -> None:
    """Look again until a webhook has brought what the page is to show."""
    for _ in range(40):
        if any(text in shown for shown in page.locator(selector).all_inner_texts()):
            return
        page.wait_for_timeout(250)
        handle_events()  # As the worker does with what was not handled at once.
        page.reload()
    raise AssertionError(page.locator("main").inner_text())
