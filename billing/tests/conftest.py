"""
Fixtures with a Stripe to talk to.

``stripe_account`` is Stripe's own test mode where ``STRIPE_TEST_KEY`` is set, and else the local
one. ``sandbox`` is always the local one, for what only it can do on order.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing import gateway
from billing.stripe_sandbox.server import serving
from billing.tests.payments import FakeStripe
from billing.tests.stripe import SECRET, Sandbox, WebhookDoor, webhook_door
from billing.tests.subscriptions import FakeBilling
from billing.tests.top_ups import FakeCards


@pytest.fixture
def stripe_account(request: pytest.FixtureRequest, settings) -> None:
    if test_key := os.environ.get("STRIPE_TEST_KEY"):
        assert test_key.startswith("sk_test_")
        settings.STRIPE_SECRET_KEY = test_key
        settings.STRIPE_API_BASE = "https://api.stripe.com"
    else:
        request.getfixturevalue("sandbox")


@pytest.fixture
def sandbox(tmp_path: Path, settings) -> Iterator[Sandbox]:
    with serving(state=str(tmp_path / "stripe.sqlite"), retry_seconds=0.02) as server:
        settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
        settings.STRIPE_API_BASE = server.url
        settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
        yield Sandbox(server)
        gateway.client_for.cache_clear()


@pytest.fixture
def door(sandbox: Sandbox) -> Iterator[WebhookDoor]:
    """Where the local Stripe sends its webhooks."""
    with webhook_door() as door:
        sandbox.server.listen(door.url, SECRET)
        yield door


@pytest.fixture
def fake_stripe(monkeypatch: pytest.MonkeyPatch) -> FakeStripe:
    """A Stripe made of dataclasses, behind the gateway, in no time."""
    stripe = FakeStripe()
    stripe.install(monkeypatch)
    return stripe


@pytest.fixture
def fake_cards(monkeypatch: pytest.MonkeyPatch, settings) -> FakeCards:
    """The same, which charges saved cards, too."""
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    stripe = FakeCards()
    stripe.install(monkeypatch)
    return stripe


@pytest.fixture
def fake_billing(monkeypatch: pytest.MonkeyPatch) -> FakeBilling:
    """The same, with subscriptions."""
    stripe = FakeBilling()
    stripe.install(monkeypatch)
    return stripe
