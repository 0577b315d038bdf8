"""What Stripe tells: taken in once, handled until it is done, never with a 5xx."""

import hashlib
import hmac
import json
import random
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from billing import event_handlers, gateway
from billing.gateway import PaymentsUnavailable
from billing.models import Payment, StripeEvent
from billing.services import inbox
from billing.tests.payments import FakeStripe, opened, told
from creditsite.errors import Conflict, NotPermitted
from ledger.tests.factories import AT, finance

pytestmark = pytest.mark.django_db
SECRET, OLD = "whsec_new_new_new_new_new", "whsec_old_old_old_old_old"
URL = "/stripe/webhook"


@pytest.fixture(autouse=True)
def our_secrets(settings):
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET, OLD]
    settings.STRIPE_ACCOUNT = "acct_ours"


def body_of(intent: str = "pi_x", **changes: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(timezone.now().timestamp()),
        "livemode": False,
        "type": "payment_intent.succeeded",
        "data": {
            "object": {
                "id": intent,
                "object": "payment_intent",
                "amount": 1_000,
                "receipt_email": "ada@example.com",
                "metadata": {"name": "Ada"},
            }
        },
    }
    return json.dumps(event | changes).encode()


def signature(body: bytes, secret: str = SECRET, at: datetime | None = None) -> str:
    at = at or timezone.now()
    signed = f"{int(at.timestamp())}.".encode() + body
    proof = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={int(at.timestamp())},v1={proof}"


def send(body: bytes, signed: str | None = None) -> int:
    headers = {"Stripe-Signature": signature(body) if signed is None else signed}
    client = Client(raise_request_exception=False)
    response = client.post(URL, body, content_type="application/json", headers=headers)
    return response.status_code


def fixed(at: datetime) -> datetime:
    return at


def statuses() -> list[tuple[str, str]]:
    return list(StripeEvent.objects.order_by("pk").values_list("event_id", "status"))


class TestTheDoor:
    @pytest.mark.parametrize("secret", [SECRET, OLD])
    def test_keeps_what_either_secret_signed_once(self, secret):
        body = body_of()
        assert [send(body, signature(body, secret)) for _ in range(3)] == [200] * 3
        assert statuses() == [("evt_1", "waiting")]

    def test_keeps_nothing_about_people(self):
        send(body_of())
        event = StripeEvent.objects.get()
        assert event.payload == {"id": "pi_x", "object": "payment_intent", "amount": 1_000}
        assert (event.object_id, event.livemode, event.account) == ("pi_x", False, "")

    def test_keeps_what_it_does_not_know_and_does_nothing(self):
        assert send(body_of(type="customer.created")) == 200
        assert statuses() == [("evt_1", "ignored")]

    def test_refuses_another_account_or_mode(self):
        assert send(body_of(livemode=True)) == 400
        assert send(body_of(account="acct_other")) == 400
        assert send(body_of(account="acct_ours")) == 200

    def test_refuses_what_is_too_large(self):
        assert send(body_of(padding="x" * 262_144)) == 400
        assert statuses() == []

    @pytest.mark.parametrize("change", [{"id": "e\0"}, {"id": 7}, {"type": "a\nb"}, {"id": ""}])
    def test_refuses_odd_names(self, change):
        assert send(body_of(**change)) == 400
        assert statuses() == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{}",
            b"7",
            b"\xff",
            b"[" * 100_000,
            body_of(created=10**30),
            body_of(created="now"),
            body_of(data=None),
            body_of(data={"object": ["x"]}),
            json.dumps(
                {
                    "id": "evt_1",
                    "type": "x",
                    "api_version": "",
                    "created": 1,
                    "data": {"object": {"object": "x"}},
                }
            ).encode(),
        ],
        ids=range(11),
    )
    def test_refuses_odd_bodies_though_signed(self, body):
        assert send(body) == 400
        assert statuses() == []

    def test_leaves_out_what_is_odd_of_an_object(self):
        item = {"id": "pi\0", "object": "x" * 999, "amount": 1, "status": ["a"], "charge": "é"}
        assert send(body_of(data={"object": item})) == 200
        assert StripeEvent.objects.get().payload == {"amount": 1}

    def test_is_open_to_posts_alone(self):
        assert Client().get(URL).status_code == 405

    def test_takes_no_forged_event(self):
        """1,000 of them: altered in a byte, cut, stale, signed by others, or not at all."""
        chance, body = random.Random(5), body_of()
        good = signature(body)
        now = timezone.now()
        accepted = 0
        for n in range(1_000):
            forged, signed = body, good
            match n % 5:
                case 0:
                    at = chance.randrange(len(body))
                    forged = (
                        body[:at] + bytes([body[at] ^ chance.randrange(1, 256)]) + body[at + 1 :]
                    )
                case 1:
                    forged = body[: chance.randrange(len(body))]
                case 2:
                    late = timedelta(seconds=chance.choice([-1, 1]) * chance.randrange(310, 10**6))
                    signed = signature(body, at=now + late)
                case 3:
                    signed = signature(body, f"whsec_{chance.random()}")
                case _:
                    at = chance.randrange(len(good) - 64, len(good))
                    other = chance.choice([c for c in "0123456789abcdef" if c != good[at]])
                    signed = good[:at] + other + good[at + 1 :]
            try:
                gateway.construct_event(forged, signed, at=now)
            except gateway.InvalidRequest:
                continue
            accepted += 1
        assert accepted == 0
        assert send(body, "") == send(body, "t=1,v1=0") == send(b"", "x") == 400


class TestHandling:
    def test_gives_the_credits_of_a_webhook(self, fake_stripe: FakeStripe):
        payment = opened()
        send(body_of(fake_stripe.paid(payment)))
        assert inbox.handle_events() == 1
        assert Payment.objects.get().status == "credited"
        assert statuses() == [("evt_1", "done")]

    def test_tries_again_what_fails_until_it_is_done(self, fake_stripe: FakeStripe, monkeypatch):
        intent = fake_stripe.paid(opened())
        event = told("payment_intent.succeeded", intent)

        def fails(*args: Any) -> None:
            raise ValueError("a mistake of ours")

        monkeypatch.setitem(event_handlers.HANDLERS, event.type, fails)
        at, pauses = AT, []
        for _ in range(3):
            assert inbox.handle_events(clock=partial(fixed, at)) == 0
            event.refresh_from_db()
            pauses.append((event.next_try_at - at).total_seconds())
            at = event.next_try_at
        assert pauses == [15, 30, 60]
        assert (event.status, event.error) == ("failed", "ValueError: a mistake of ours")
        monkeypatch.setitem(event_handlers.HANDLERS, event.type, event_handlers.settle)
        assert inbox.handle_events(clock=lambda: at) == 1
        event.refresh_from_db()
        assert (event.status, event.error, event.done_at) == ("done", "", at)

    def test_lets_the_others_wait_when_stripe_does_not_answer(self, monkeypatch):
        for n in range(3):
            told("payment_intent.succeeded", f"pi_{n}")

        def down(id: str) -> None:
            raise PaymentsUnavailable("no answer")

        monkeypatch.setattr(gateway, "retrieve_payment_intent", down)
        inbox.handle_events(clock=lambda: AT)
        assert [status for _, status in statuses()] == ["failed", "waiting", "waiting"]

    def test_takes_over_from_who_died(self, fake_stripe: FakeStripe):
        told("payment_intent.succeeded", fake_stripe.paid(opened()))
        assert inbox.claim(AT) is not None
        assert inbox.claim(AT) is None
        assert inbox.handle_events(clock=lambda: AT + inbox.LEASE) == 1

    def test_a_charge_without_an_intent_is_none_of_ours(self):
        told("charge.refunded", "ch_1")
        assert inbox.handle_events(clock=lambda: AT) == 1


class TestWhatNoWebhookBrought:
    def test_is_nothing_where_payments_are_not_set_up(self, settings):
        settings.STRIPE_SECRET_KEY = ""
        assert inbox.find_missed_events(since=AT, at=AT) == 0


class TestReplay:
    def test_has_an_event_handled_again(self, fake_stripe: FakeStripe):
        event = told("payment_intent.succeeded", fake_stripe.paid(opened()))
        inbox.handle_events(clock=lambda: AT)
        inbox.replay_event(event=event, reason="to be sure", actor=finance(), at=AT)
        assert inbox.handle_events(clock=lambda: AT) == 1
        assert Payment.objects.get().grant.amount == 100
        assert AuditEvent.objects.get(action="billing.event.replayed").before == {"status": "done"}

    def test_refuses_who_may_not_and_what_nobody_handles(self):
        event = told("customer.created", "cus_1")
        with pytest.raises(NotPermitted):
            inbox.replay_event(event=event, reason="x", actor=StaffFactory(groups="Support"), at=AT)
        with pytest.raises(Conflict):
            inbox.replay_event(event=event, reason="x", actor=finance(), at=AT)
