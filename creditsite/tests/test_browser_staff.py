"""The staff pages in a real browser: what a person does, on a desk and on a phone."""

import pytest
from playwright.sync_api import Browser, Page, expect

from creditsite.testing.browser import DESK, PHONE, is_too_wide, signed_in
from ledger.choices import BatchKind
from ledger.models import Batch, Wallet

pytestmark = pytest.mark.browser

REPORTS = [
    "/admin/ledger/report/",
    "/admin/ledger/report/liability/",
    "/admin/ledger/report/consumption-by-user/",
    "/admin/ledger/report/roles/export/",
]
BATCHES = [
    "/admin/ledger/batch/add/",
    "/admin/ledger/batch/add/?kind=opening&of=file",
    "/admin/ledger/wallet/backfill/",
]


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


def test_finance_takes_a_report_away(chromium: Browser, address: str) -> None:
    with signed_in(chromium, address, "finance", DESK) as page:
        page.click("text=Revenue in")
        page.click("text=All reports")
        page.click("text=Consumption by feature")
        page.click("text=This year")
        page.wait_for_url("**?first=*-01-01&last=*")
        shown = page.locator(".cs-report tbody tr").count()
        assert shown > 3
        expect(page.locator("svg.cs-desk")).to_be_visible()
        expect(page.locator("svg.cs-phone")).not_to_be_visible()
        with page.expect_download() as download:
            page.click("text=CSV of everything")
        file = download.value.path().read_text()
        assert len(file.splitlines()) == 1 + shown
        assert file.startswith("feature,")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_the_screen(chromium: Browser, address: str, size: dict[str, int]) -> None:
    with signed_in(chromium, address, "finance", size) as page:
        wallet_page(page, "alice@example.com")
        wallet = page.url.split("/change/")[0].removeprefix(address)
        pages = ["/admin/", *REPORTS, f"{wallet}/change/", f"{wallet}/set/", f"{wallet}/add/"]
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
        opening = Batch.objects.get(kind=BatchKind.OPENING)
        pages += [f"/admin/ledger/batch/{opening.pk}/change/", *BATCHES]
        for path in pages:
            page.goto(path)
            assert not is_too_wide(page), path
