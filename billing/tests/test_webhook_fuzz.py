"""
What anybody may send to the webhook's door, and what Stripe might: never an answer of 5xx.

The suite sends some hundred of each; WEBHOOKS=20000 sends more, and others each time.
"""

import json
import os
import random
import time
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import StripeEvent
from billing.services import inbox
from billing.tests.payments import FakeStripe, opened
from billing.tests.test_inbox import SECRET, URL, body_of, our_secrets, signature

__all__ = ["our_secrets"]  # A fixture: what signs, and for whom.

pytestmark = pytest.mark.django_db
WANTED = int(os.environ.get("WEBHOOKS", 0))
NUMBER = WANTED or 300
SEED = time.time_ns() if WANTED else 11
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 1.5, 1e308, "", " ",
    "\0", "\ud800", "é", "‮", "evt_1", "pi_x", "x" * 300, "x" * 70_000, [], {}, [[]], [{}], {"": 0},
    {"id": {}}, [None], "2026-01-01", "acct_ours", "null", "\r\n", "<script>",
]  # fmt: skip


def answer(body: bytes, header: str) -> int:
    client = Client(raise_request_exception=False)
    given = {"Stripe-Signature": header}
    return client.post(URL, body, content_type="application/json", headers=given).status_code


def changed(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """Return ``value`` with some of what is in it replaced, taken away, or added to."""
    if depth > 5 or chance.random() < 0.12:
        return chance.choice(ODD)
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if chance.random() > 0.06}
        found = {name: changed(chance, each, depth + 1) for name, each in kept.items()}
        if chance.random() < 0.1:
            found[chance.choice(["payment_intent", "account", "x", "livemode", "created"])] = (
                chance.choice(ODD)
            )
        return found
    if isinstance(value, list):
        return [changed(chance, each, depth + 1) for each in value]
    return value


def test_signed_bodies_are_kept_or_refused(fake_stripe: FakeStripe):
    chance, seen = random.Random(SEED), set()
    good = json.loads(body_of(fake_stripe.paid(opened())))
    for _ in range(NUMBER):
        event = changed(chance, good)
        if isinstance(event, dict) and "id" in event and chance.random() < 0.7:
            event["id"] = f"evt_{chance.random()}"
        body = json.dumps(event, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
        if chance.random() < 0.1:
            cut = chance.randrange(len(body) + 1)
            body = body[:cut] + chance.randbytes(chance.randrange(4)) + body[cut + 1 :]
        status = answer(body, signature(body))
        assert status in {200, 400}, (SEED, body)
        seen.add(status)
    assert seen == {200, 400}
    inbox.handle_events()
    assert StripeEvent.objects.exists()


def test_unsigned_ones_are_refused():
    chance = random.Random(SEED)
    for _ in range(NUMBER):
        body = chance.choice([b"", b"{}", body_of(), chance.randbytes(chance.randrange(2_000))])
        header = signature(body, chance.choice([SECRET[:-1], "", "whsec_x"]))
        place = chance.randrange(len(header))
        junk = "".join(chance.choice("t=v1,0;\x7f\t é\\\"'") for _ in range(chance.randrange(9)))
        header = chance.choice([header, junk, header[:place] + junk + header[place:], header * 99])
        assert answer(body, header) == 400, (SEED, body, header)
    assert not StripeEvent.objects.exists()


def test_an_outage_of_ours_is_a_5xx_so_that_stripe_sends_it_again(monkeypatch):
    def down(*args: Any, **given: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(inbox, "keep_events", down)
    body = body_of(created=int(timezone.now().timestamp()))
    assert answer(body, signature(body)) == 500
