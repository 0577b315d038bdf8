"""A batch in a real browser, from a balance to the reversal; on a desk and on a phone."""

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from accounts.services.jobs import Progress, run_job
from creditsite.testing.browser import DESK, PHONE, is_too_wide, signed_in
from ledger.models import Batch, CreditSettings
from ledger.services import batch_runs

pytestmark = pytest.mark.browser

REASON = "Thanks for ten years with us."


@pytest.fixture
def strict(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The demo, where nearly all is large, and where a chunk is one wallet."""
    monkeypatch.setattr(batch_runs, "CHUNK", 1)
    CreditSettings.objects.create(
        changed_at=timezone.now(), typed_confirmation_from=100, approval_batch_wallets_above=1
    )
    return address


def awards_of(page: Page, name: str) -> str:
    page.goto(f"/admin/ledger/wallet/?q={name}@example.com")
    return page.locator("#result_list td.field-awards").inner_text()


def press(page: Page, act: str) -> None:
    page.locator(".cs-actions").get_by_text(act, exact=True).click()


def confirm(page: Page, phrase: str) -> Batch:
    """Confirm the batch that ``page`` shows, which waits for a second person then."""
    press(page, "Confirm…")
    expect(page.get_by_text(f"Type exactly: {phrase}")).to_be_visible()
    page.fill("#id_confirmation", phrase)
    page.click("button:has-text('Ask for approval')")
    expect(page.locator(".cs-badge", has_text="waiting for approval")).to_be_visible()
    return Batch.objects.latest("pk")


def approve(page: Page, batch: Batch) -> None:
    """Approve what waits, as the other one finds it."""
    page.goto("/admin/accounts/approval/")
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_text(f"Batch {batch.pk}", exact=True)).to_be_visible()
    page.click("text=Approve…")
    page.fill("#id_reason", "As agreed in the meeting.")
    page.click("button:has-text('Approve')")
    expect(page.get_by_text("Approved, and done")).to_be_visible()


def work(batch: Batch, page: Page) -> None:
    """Work ``batch`` as a worker does; what ``page`` shows goes along without a hand on it."""
    batch.refresh_from_db()
    assert batch.job is not None

    def look(progress: Progress) -> None:
        if progress.done < min(3, progress.total):
            done = page.locator("[data-state=running] [data-done]")
            expect(done).to_have_text(str(progress.done))

    run_job(batch.job, report=look)
    expect(page.get_by_role("heading", name="Result")).to_be_visible()


def test_a_batch_there_and_back(chromium: Browser, strict: str) -> None:
    with (
        signed_in(chromium, strict, "finance", DESK) as page,
        signed_in(chromium, strict, "admin", DESK) as other,
    ):
        page.goto("/admin/ledger/wallet/?q=alice@example.com")
        page.click("#result_list a:has-text('alice@example.com')")
        press(page, "Set balances…")
        page.fill("#id_award", "50")
        page.fill("#id_reason", REASON)
        page.click("button:has-text('Set balances')")
        expect(page.get_by_text("The balances of alice@example.com are")).to_be_visible()

        page.goto("/admin/ledger/wallet/?partner=no")
        page.locator(".cs-found").get_by_text("Add credits…").click()
        page.fill("#id_amount", "500")
        page.fill("#id_reason", REASON)
        page.click("button:has-text('Preview')")
        expect(page.get_by_text("Nothing has moved yet.")).to_be_visible()
        batch = Batch.objects.latest("pk")
        number = batch.plan["wallets"]
        assert number > 3
        expect(page.locator("h1", has_text=f"each of {number} users").last).to_be_visible()
        batch = confirm(page, f"ADD 500 TO {number} USERS")
        approve(other, batch)
        page.reload()
        work(batch, page)
        assert awards_of(page, "alice") == "550"

        page.goto(f"/admin/ledger/batch/{batch.pk}/change/")
        press(page, "Reverse…")
        page.fill("#id_reason", "They have been with us for nine years.")
        page.click("button:has-text('Preview the reversal')")
        reversal = confirm(page, f"REVERSE BATCH {batch.pk} OF {number} USERS")
        approve(other, reversal)
        page.reload()
        work(reversal, page)
        assert awards_of(page, "alice") == "50"

        pages = [
            "",
            "add/",
            "add/?kind=add&of=all",
            "add/?kind=deduct&of=file",
            f"{batch.pk}/change/",
            f"{reversal.pk}/change/",
            f"{batch.pk}/reverse/",
        ]
        for path in [f"/admin/ledger/batch/{end}" for end in pages] + ["/admin/ledger/wallet/"]:
            page.goto(path)
            for size in (DESK, PHONE):
                page.set_viewport_size(size)
                assert not is_too_wide(page), (path, size)
