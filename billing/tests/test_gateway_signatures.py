import hashlib
import hmac
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from billing import gateway
from billing.gateway import BadSignature, ForeignEvent

NOW = datetime(2027, 5, 1, 12, tzinfo=UTC)
SECRET, OLD = "whsec_new_new_new_new_new", "whsec_old_old_old_old_old"
EVENT = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": int(NOW.timestamp()),
    "livemode": False,
    "type": "payment_intent.succeeded",
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 1_000}},
}


@pytest.fixture(autouse=True)
def our_secrets(settings):
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET, OLD]
    settings.STRIPE_ACCOUNT = "acct_ours"


def body_of(**changes: object) -> bytes:
    return json.dumps(EVENT | changes, indent=2).encode()


def proof(body: bytes, secret: str = SECRET, at: datetime = NOW) -> str:
    signed = f"{int(at.timestamp())}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header(body: bytes, secret: str = SECRET, at: datetime = NOW) -> str:
    return f"t={int(at.timestamp())},v1={proof(body, secret, at)}"


def is_accepted(body: bytes, signature: str, at: datetime = NOW) -> bool:
    try:
        gateway.construct_event(body, signature, at=at)
    except (BadSignature, ForeignEvent):
        return False
    return True


class TestConstructEvent:
    @pytest.mark.parametrize("secret", [SECRET, OLD])
    def test_takes_what_either_secret_signed(self, secret):
        body = body_of()
        event = gateway.construct_event(body, header(body, secret), at=NOW)
        assert (event.id, event.type, event.object_id) == ("evt_1", EVENT["type"], "pi_1")
        assert event.payload == EVENT
        assert event.created_at == NOW

    def test_takes_what_the_sdk_signs_and_what_has_two_signatures(self):
        body = body_of()
        by_sdk = stripe.WebhookSignature.generate_signature_header(
            body.decode(), SECRET, int(NOW.timestamp())
        )
        assert is_accepted(body, by_sdk)
        both = header(body, "whsec_of_nobody") + f",v1={proof(body)},v0=00"
        assert is_accepted(body, both)

    @pytest.mark.parametrize(
        ("seconds", "accepted"),
        [(0, True), (299, True), (300, True), (301, False), (-299, True), (-301, False)],
    )
    def test_takes_it_within_five_minutes_either_way(self, seconds, accepted):
        body = body_of()
        assert is_accepted(body, header(body), NOW + timedelta(seconds=seconds)) is accepted

    @pytest.mark.parametrize(
        "changes", [{"livemode": True}, {"account": "acct_of_others"}, {"livemode": None}]
    )
    def test_refuses_other_modes_and_accounts(self, changes):
        body = body_of(**changes)
        with pytest.raises(ForeignEvent):
            gateway.construct_event(body, header(body), at=NOW)

    def test_takes_live_events_with_a_live_key_only(self, settings):
        settings.STRIPE_SECRET_KEY = "rk_live_of_the_tests"
        live, test = body_of(livemode=True, account="acct_ours"), body_of()
        assert is_accepted(live, header(live))
        assert not is_accepted(test, header(test))

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", b"[]", b"null", b"7", b"\xff\xfe", b"{" * 50_000, b"[" * 50_000],
    )
    def test_refuses_what_is_no_event_though_signed(self, body):
        assert not is_accepted(body, header(body))

    def test_accepts_nothing_without_a_secret(self, settings):
        body = body_of()
        settings.STRIPE_WEBHOOK_SECRETS = []
        assert not is_accepted(body, header(body))
        settings.STRIPE_WEBHOOK_SECRETS = [""]
        assert not is_accepted(body, header(body, ""))

    def test_accepts_none_of_a_thousand_forgeries(self):
        rng = random.Random(20_261_120)
        body = body_of()
        tried = 0
        for forge in [flipped_body, flipped_proof, wrong_secret, stale, broken_header] * 200:
            forged, signature = forge(rng, body)
            tried += 1
            assert not is_accepted(forged, signature), (forge.__name__, signature)
        assert tried == 1_000


def flipped_body(rng: random.Random, body: bytes) -> tuple[bytes, str]:
    """One bit of what was signed is another."""
    place = rng.randrange(len(body))
    changed = bytes([body[place] ^ (1 << rng.randrange(8))])
    return body[:place] + changed + body[place + 1 :], header(body)


def flipped_proof(rng: random.Random, body: bytes) -> tuple[bytes, str]:
    digits = list(proof(body))
    place = rng.randrange(len(digits))
    digits[place] = rng.choice([digit for digit in "0123456789abcdef" if digit != digits[place]])
    cut = rng.choice([64, 64, 63, 32, 0])
    return body, f"t={int(NOW.timestamp())},v1={''.join(digits)[:cut]}"


def wrong_secret(rng: random.Random, body: bytes) -> tuple[bytes, str]:
    secret = rng.choice(
        ["", " ", SECRET[:-1], SECRET.upper(), SECRET + " ", f"whsec_{rng.random()}"]
    )
    return body, header(body, secret)


def stale(rng: random.Random, body: bytes) -> tuple[bytes, str]:
    """It was signed long ago or is of the future, or says so after it was signed."""
    seconds = rng.choice([-1, 1]) * rng.randint(301, 10**8)
    when = NOW + timedelta(seconds=seconds)
    moved = f"t={int(when.timestamp())},v1={proof(body)}"
    kept = header(body, at=when)
    sign = rng.choice(["", " ", "+", "0", "0_"])  # As Python reads numbers.
    two = f"t={sign}{int(when.timestamp())},t={int(NOW.timestamp())},v1={proof(body, at=when)}"
    return body, rng.choice([moved, kept, two])


def broken_header(rng: random.Random, body: bytes) -> tuple[bytes, str]:
    good, now = proof(body), int(NOW.timestamp())
    return body, rng.choice(
        [
            "",
            good,
            f"v1={good}",
            f"t={now}",
            f"t={now},v0={good}",
            f"t={now},v2={good}",
            f"t={now};v1={good}",
            f"t=+{now},v1={good}",
            f"t={now}.0,v1={good}",
            f"t={now:,},v1={good}",
            f"t=,v1={good}",
            f"t={now},v1={good[::-1]}",
            f"t={now},v1=\x00{good}",
            f"t={now},v1={good}é",
            f"T={now},V1={good}",
        ]
    )
