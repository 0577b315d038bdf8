"""Signing up and in by a real browser, with an authenticator app and with a security key."""

import re
import time

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from playwright.sync_api import Browser, Page, expect

from accounts.tests.sign_in import code_of
from creditsite.testing.browser import (
    DESK,
    PHONE,
    is_too_wide,
    new_page,
    sign_in,
    signed_in,
)

pytestmark = pytest.mark.browser


def code_that_lasts(secret: str) -> str:
    """Return the app's code, of which the next five seconds are sure."""
    if (left := 30 - time.time() % 30) < 5:
        time.sleep(left)
    return code_of(secret)


def test_somebody_signs_up_and_signs_in_with_an_app(chromium: Browser, address: str) -> None:
    with new_page(chromium, address, PHONE) as page:
        page.goto("/accounts/signup/")
        page.fill("#id_email", "ada@example.com")
        page.fill("#id_name", "Ada")
        page.fill("#id_password", "correct horse battery")
        page.click("main button")
        expect(page.locator("h1")).to_have_text("Look into your inbox")
        (message,) = [each for each in mail.outbox if each.to == ["ada@example.com"]]
        page.goto(re.search(r"http\S+confirm-email\S+", message.body)[0])
        page.click("main button")
        sign_in(page, "ada@example.com", "correct horse battery")
        expect(page.locator("h1")).to_have_text("Your credits")
        page.click("text=Account")
        expect(page.get_by_text("confirmed", exact=True)).to_be_visible()

        page.goto("/accounts/factors/app/activate/")
        assert not is_too_wide(page)
        secret = page.input_value("#authenticator_secret")
        page.fill("#id_code", code_that_lasts(secret))
        page.click("main button")
        expect(page.locator("h1")).to_have_text("Recovery Codes")
        assert len(page.input_value("#recovery_codes").split()) == 10
        page.click("text=Sign out")
        sign_in(page, "ada@example.com", "correct horse battery")
        expect(page.locator("h1")).to_have_text("Two-Factor Authentication")
        page.fill("#id_code", "000000")
        page.press("#id_code", "Enter")
        expect(page.get_by_text("Incorrect code.")).to_be_visible()
        page.fill("#id_code", code_that_lasts(secret))
        page.press("#id_code", "Enter")
        expect(page.locator("h1")).to_have_text("Your credits")


def add_virtual_key(page: Page) -> None:
    """Plug a security key into the browser, which is touched whenever it is asked for."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "usb",
                "hasUserVerification": True,
                "isUserVerified": True,
            }
        },
    )


def test_staff_sign_in_with_a_security_key(chromium: Browser, address: str) -> None:
    with signed_in(chromium, address, "finance", DESK) as page:
        add_virtual_key(page)
        page.goto("/accounts/factors/keys/add/")
        page.fill("#id_name", "On my key ring")
        page.click("#mfa_webauthn_add")
        expect(page.locator("h1")).to_have_text("Recovery Codes")
        page.click("text=Sign out")
        sign_in(page, "finance@example.com")
        page.wait_for_url("**/accounts/factors/authenticate/")
        page.click("#mfa_webauthn_authenticate")
        page.wait_for_url("**/admin/")

        page.goto("/accounts/factors/keys/reauthenticate/?next=/accounts/factors/keys/")
        page.click("#mfa_webauthn_reauthenticate")
        expect(page.get_by_text("On my key ring")).to_be_visible()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_the_screen(chromium: Browser, address: str, size: dict[str, int]) -> None:
    with new_page(chromium, address, size) as page:
        for path in ["login", "signup", "password/reset", "password/reset/done", "confirm-email"]:
            page.goto(f"/accounts/{path}/")
            assert not is_too_wide(page), path
        sign_in(page, "alice@example.com")
        page.wait_for_url("**/billing/")
        EmailAddress.objects.update(verified=True)
        for path in [
            "",
            "password/change/",
            "factors/",
            "factors/app/activate/",
            "factors/keys/",
            "factors/keys/add/",
            "sessions/",
            "reauthenticate/",
            "logout/",
            "confirmed/",
        ]:
            page.goto(f"/accounts/{path}")
            assert not is_too_wide(page), path
