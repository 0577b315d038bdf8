"""What the gateway makes of failures; only the local Stripe fails on order."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import isfunction
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from django.db import transaction

from billing import gateway
from billing.gateway import Line, PaymentsUnavailable, StripeRefused
from billing.tests.stripe import Clocked, Sandbox, customer, key, pay, price, sdk

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["accounts", "audit", "benchmarks", "billing", "creditsite", "disputes", "ledger"]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def create(same: str) -> gateway.Customer:
    return gateway.create_customer(email="ada@example.com", metadata={}, idempotency_key=same)


class TestUnavailable:
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 500},
            {"status": 503},
            {"status": 429},
            {"effect": "disconnect"},
            {"status": 500, "when": "after"},
            {"status": 429, "when": "after"},
            {"effect": "disconnect", "when": "after"},
        ],
    )
    def test_is_what_is_not_answered_and_the_same_call_again_is_done_once(self, sandbox, fault):
        sandbox.fail_next("/v1/customers", **fault)
        same = key()
        with pytest.raises(PaymentsUnavailable):
            create(same)
        made = create(same)
        assert [one["id"] for one in sandbox.objects("customer")] == [made.id]

    def test_is_what_is_answered_too_late(self, sandbox, monkeypatch):
        sandbox.fail_next("/v1/customers", effect="timeout", seconds=1, when="after")
        same = key()
        gateway.client_for.cache_clear()
        with monkeypatch.context() as hurried:
            hurried.setattr(gateway, "READ_SECONDS", 0.5)
            with pytest.raises(PaymentsUnavailable):
                create(same)
        gateway.client_for.cache_clear()
        assert [create(same).id] == [one["id"] for one in sandbox.objects("customer")]

    def test_stays_the_answer_of_a_key_that_stripe_keeps_it_for(self, sandbox):
        sandbox.fail_next("/v1/customers", when="after", kept=True)
        same = key()
        for _ in range(2):
            with pytest.raises(PaymentsUnavailable):
                create(same)
        assert len(sandbox.objects("customer")) == 1
        sandbox.order("clock", seconds=86_401)
        create(same)
        assert len(sandbox.objects("customer")) == 2

    def test_is_a_stripe_that_is_not_there(self, sandbox, settings):
        settings.STRIPE_API_BASE = "http://127.0.0.1:9"
        with pytest.raises(PaymentsUnavailable):
            customer()

    @pytest.mark.parametrize("secret", ["", "sk_live_of_others"])
    def test_is_a_key_that_is_missing_or_wrong(self, sandbox, settings, secret):
        settings.STRIPE_SECRET_KEY = secret
        with pytest.raises(PaymentsUnavailable) as refusal:
            customer()
        assert "sk_" not in str(refusal.value)

    def test_is_said_by_the_third_call_when_that_fails(self, sandbox):
        sandbox.fail_next("/v1/customers", nth=3)
        create(key())
        create(key())
        with pytest.raises(PaymentsUnavailable):
            create(key())
        create(key())


ADDRESSES = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/"}
MONEY = {"amount_minor": 500, "currency": "usd", "metadata": {}}


def scene() -> SimpleNamespace:
    """Return one of everything that a call may be about."""
    held = Clocked(price_id=price())
    poor = sdk().payment_methods.attach("pm_card_chargeCustomerFail", {"customer": held.customer})
    disputed = [pay(card="pm_card_createDispute").id for _ in range(2)]
    disputes = {one.payment_intent: one.id for one in gateway.list_disputes(LONG_AGO)}
    late = Clocked(price_id=price())
    begun = {"customer": held.customer, "idempotency_key": key(), **MONEY}
    return SimpleNamespace(
        customer=held.customer,
        card=held.card,
        poor=poor["id"],
        subscription=held.subscription(),
        other=late.id,
        price=price(4_000),
        product=gateway.create_product(name="x", metadata={}, idempotency_key=key()),
        paid=pay().id,
        begun=gateway.create_payment_intent(**begun).id,
        disputes=[disputes[one] for one in disputed],
        checkout=gateway.create_payment_checkout(
            customer=held.customer,
            lines=[Line("Credits", 900, "usd")],
            metadata={},
            idempotency_key=key(),
            **ADDRESSES,
        ).id,
    )


# Every call that changes something at Stripe: (call, key).
CHANGES: dict[str, Callable[[SimpleNamespace, str], object]] = {
    "create_customer": lambda s, k: create(k),
    "update_customer": lambda s, k: gateway.update_customer(
        s.customer, name="Grace", idempotency_key=k
    ),
    "create_product": lambda s, k: gateway.create_product(
        name="Pro", metadata={}, idempotency_key=k
    ),
    "create_price": lambda s, k: gateway.create_price(
        product=s.product, interval="year", idempotency_key=k, **MONEY
    ),
    "create_payment_checkout": lambda s, k: gateway.create_payment_checkout(
        customer=s.customer,
        lines=[Line("Credits", 900, "usd")],
        metadata={},
        idempotency_key=k,
        **ADDRESSES,
    ),
    "create_subscription_checkout": lambda s, k: gateway.create_subscription_checkout(
        customer=s.customer, price=s.price, metadata={}, idempotency_key=k, **ADDRESSES
    ),
    "create_card_checkout": lambda s, k: gateway.create_card_checkout(
        customer=s.customer, currency="usd", metadata={}, idempotency_key=k, **ADDRESSES
    ),
    "expire_checkout": lambda s, k: gateway.expire_checkout(s.checkout, idempotency_key=k),
    "create_portal": lambda s, k: gateway.create_portal(
        customer=s.customer, return_url="https://example.com/", idempotency_key=k
    ),
    "create_payment_intent": lambda s, k: gateway.create_payment_intent(
        customer=s.customer, idempotency_key=k, **MONEY
    ),
    "pay_off_session": lambda s, k: gateway.pay_off_session(
        customer=s.customer, payment_method=s.card, idempotency_key=k, **MONEY
    ),
    "cancel_payment_intent": lambda s, k: gateway.cancel_payment_intent(s.begun, idempotency_key=k),
    "refund_payment": lambda s, k: gateway.refund_payment(
        payment_intent=s.paid, idempotency_key=k, **MONEY
    ),
    "submit_dispute_evidence": lambda s, k: gateway.submit_dispute_evidence(
        s.disputes[0], evidence={"uncategorized_text": "They came."}, idempotency_key=k
    ),
    "concede_dispute": lambda s, k: gateway.concede_dispute(s.disputes[1], idempotency_key=k),
    "change_subscription": lambda s, k: gateway.change_subscription(
        s.subscription, price=s.price, bills_now=True, idempotency_key=k
    ),
    "end_with_period": lambda s, k: gateway.end_with_period(s.subscription.id, idempotency_key=k),
    "keep_subscription": lambda s, k: gateway.keep_subscription(
        s.subscription.id, idempotency_key=k
    ),
    "cancel_subscription": lambda s, k: gateway.cancel_subscription(s.other),
    "remove_card": lambda s, k: gateway.remove_card(s.poor, idempotency_key=k),
    "retire_price": lambda s, k: gateway.retire_price(s.price, idempotency_key=k),
    "delete_customer": lambda s, k: gateway.delete_customer(s.customer),
}


class TestChanges:
    def test_are_made_once_whenever_the_answer_is_lost(self, sandbox):
        """After each, the second call changes nothing more and is answered as the third."""
        stage = scene()
        for name, change in CHANGES.items():
            same, before = key(), kept(sandbox)
            sandbox.fail_next("/v1/*", when="before", effect="disconnect")
            with pytest.raises(PaymentsUnavailable):
                change(stage, same)
            assert kept(sandbox) == before, name
            sandbox.fail_next("/v1/*", when="after", effect="disconnect")
            with pytest.raises(PaymentsUnavailable):
                change(stage, same)
            after = kept(sandbox)
            assert after != before, name
            assert change(stage, same) == change(stage, same), name
            assert kept(sandbox) == after, name

    def test_are_all_of_them_in_the_table(self):
        verbs = ("create_", "update_", "delete_", "remove_", "retire_", "expire_", "pay_", "keep_")
        verbs += ("cancel_", "refund_", "submit_", "concede_", "change_", "end_")
        others = {"pay_invoice"}  # Its scene is in the contract.
        functions = {n for n, f in vars(gateway).items() if isfunction(f)}
        ours = {n for n in functions if getattr(gateway, n).__module__ == "billing.gateway"}
        named = {name for name in ours if name.startswith(verbs)}
        assert named - others == CHANGES.keys()


def kept(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return all that the local Stripe has of objects, as it stands."""
    return sandbox.server.store.all("SELECT id, body FROM objects ORDER BY id")


class TestCalls:
    def test_are_refused_while_their_key_is_being_worked_on(self, sandbox):
        sandbox.fail_next("/v1/customers", effect="delay", seconds=1)
        same = key()
        first = Thread(target=create, args=[same])
        first.start()
        while not sandbox.server.keys.in_use:
            time.sleep(0.005)
        with pytest.raises(PaymentsUnavailable):
            create(same)
        first.join()
        assert create(same).id == sandbox.objects("customer")[0]["id"]
        assert len(sandbox.objects("customer")) == 1

    def test_are_refused_with_stripes_code(self, sandbox):
        with pytest.raises(StripeRefused) as refusal:
            gateway.retrieve_refund("re_nothing")
        assert refusal.value.reason == "resource_missing"
        assert str(refusal.value) == "Stripe refuses: No such refund: 're_nothing'"

    @pytest.mark.django_db
    def test_are_not_made_inside_a_transaction(self, sandbox):
        customer()
        with transaction.atomic(), pytest.raises(RuntimeError, match="inside a database"):
            customer()
        assert len(sandbox.objects("customer")) == 1

    def test_bring_whole_lists_page_by_page(self, sandbox, monkeypatch):
        monkeypatch.setattr(gateway, "PAGE", 2)
        made = [pay().id for _ in range(5)]
        assert [one.id for one in gateway.list_payment_intents(LONG_AGO)] == made[::-1]
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert list(gateway.list_payment_intents(later)) == []

    def test_of_a_list_fail_where_it_breaks_off(self, sandbox, monkeypatch):
        monkeypatch.setattr(gateway, "PAGE", 2)
        for _ in range(3):
            pay()
        found = gateway.list_payment_intents(LONG_AGO)
        assert next(found)
        assert next(found)
        sandbox.fail_next("/v1/payment_intents")
        with pytest.raises(PaymentsUnavailable):
            next(found)


class TestOnlyTheGateway:
    def test_imports_the_sdk(self):
        importing = {
            str(path.relative_to(ROOT))
            for package in PACKAGES
            for path in (ROOT / package).rglob("*.py")
            if "tests" not in path.parts and imports_stripe(path)
        }
        ours = {path for path in importing if not path.startswith("billing/stripe_sandbox/")}
        assert ours == {"billing/gateway.py"}

    def test_reads_no_event_without_its_signature(self):
        text = (ROOT / "billing/gateway.py").read_text()
        assert "without_verification" not in text


def imports_stripe(path: Path) -> bool:
    return bool(re.search(r"^\s*(import|from) stripe\b", path.read_text(), re.MULTILINE))
