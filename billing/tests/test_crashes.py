"""
Killed after Stripe has done it and before we have said so, or left without an answer: at every call
that changes something there, what is tried again ends in one effect.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from inspect import getmembers, isfunction, signature
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from billing import gateway
from billing.models import AutoTopUp, Payment, Refund, StripeCustomer, Subscription
from billing.services import payments, purchases, refunds, subscribing, top_up_charges, top_ups
from billing.services import subscription_changes as changes
from billing.services.payments import open_payment
from billing.services.settlement import settle_payment
from billing.services.subscriptions import settle_subscription
from billing.tests.payments import ask_refund
from billing.tests.sale import plan
from billing.tests.stripe import Sandbox, visit
from billing.tests.test_top_ups_at_stripe import with_card
from creditsite.errors import Unavailable
from ledger import keys
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import CustomerFactory, finance

pytestmark = pytest.mark.django_db
SERVICES = Path(__file__).parents[1] / "services"
URLS = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/back"}
PAID = "4242 4242 4242 4242"


class Killed(BaseException):
    """What no service can catch: the process is no more."""


class Scene:
    """What is tried, again and again, under a clock that goes on; and what came of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.ahead = sandbox, timedelta()

    def clock(self) -> datetime:
        return timezone.now() + self.ahead

    def purchase(self) -> Payment:
        user = CustomerFactory()
        return open_payment(
            user=user,
            wallet=wallet_of(user),
            credits=100,
            net_minor=1_000,
            currency="usd",
            description="100 credits",
            caller=f"user:{user.pk}",
            idempotency_key="k",
            at=timezone.now(),
            fingerprint=keys.fingerprint("x"),
        )

    def bought(self) -> Payment:
        payment = self.purchase()
        session = payments.start_checkout(
            payment=payment, calculates_tax=False, at=timezone.now(), **URLS
        )
        visit(str(session.url), card_number=PAID)
        intent = gateway.retrieve_checkout(session.id).payment_intent
        settled = settle_payment(str(intent))
        assert settled
        return settled

    def subscribe(self, user: Any = None) -> Callable[[], Any]:
        user, price = user or CustomerFactory(), self.price("small", 1_000, 100)
        return lambda: subscribing.subscribe(
            user=user,
            wallet=wallet_of(user),
            price=price,
            caller=f"user:{user.pk}",
            idempotency_key="k",
            at=timezone.now(),
            **URLS,
        )

    def price(self, code: str, amount_minor: int, credits: int) -> Any:
        from billing.queries.offers import newest_version
        from billing.services.offers import Price

        offer = plan(code, credits=credits, prices=[Price("usd", "month", amount_minor)])
        return newest_version(offer).prices.get()

    def subscribed(self) -> Subscription:
        session = self.subscribe()()
        visit(str(session.url), card_number=PAID)
        found = gateway.retrieve_checkout(session.id).subscription
        subscription = settle_subscription(str(found))
        assert subscription
        self.sandbox.order("clock", seconds=60)  # Stripe counts whole seconds.
        return subscription

    def count(self, kind: str, **fields: Any) -> int:
        return len(self.sandbox.server.store.find(kind, fields))


# --- One for each call ----------------------------------------------------------------------------
# Each returns what is tried, and what must be true in the end.
Act, Check = Callable[[], Any], Callable[[], bool]
SCENES: dict[str, Callable[[Scene], tuple[Act, Check]]] = {}


def scene(plays: Callable[[Scene], tuple[Act, Check]]) -> Callable[[Scene], tuple[Act, Check]]:
    SCENES[plays.__name__] = plays
    return plays


@scene
def create_customer(s: Scene) -> tuple[Act, Check]:
    user = CustomerFactory()
    return (
        lambda: payments.customer_of(user, at=timezone.now()),
        lambda: s.count("customer") == StripeCustomer.objects.count() == 1,
    )


@scene
def create_payment_checkout(s: Scene) -> tuple[Act, Check]:
    payment = s.purchase()

    def act() -> None:
        payments.start_checkout(
            payment=Payment.objects.get(), calculates_tax=False, at=timezone.now(), **URLS
        )

    def check() -> bool:
        (session,) = s.sandbox.objects("checkout.session")
        return Payment.objects.get(pk=payment.pk).session_id == session["id"]

    return act, check


@scene
def create_payment_intent(s: Scene) -> tuple[Act, Check]:
    s.purchase()

    def check() -> bool:
        (intent,) = s.sandbox.objects("payment_intent")
        return Payment.objects.get().intent_id == intent["id"]

    return lambda: payments.start_intent(payment=Payment.objects.get(), at=timezone.now()), check


@scene
def delete_customer(s: Scene) -> tuple[Act, Check]:
    payments.customer_of(CustomerFactory(), at=timezone.now())
    StripeCustomer.objects.update(forget_at=timezone.now())
    return payments.forget_customers, lambda: not StripeCustomer.objects.exists()


@scene
def expire_checkout(s: Scene) -> tuple[Act, Check]:
    create_payment_checkout(s)[0]()
    s.ahead = timedelta(days=2)
    return (
        lambda: purchases.end_unpaid(clock=s.clock),
        lambda: (
            Payment.objects.get().status == "ended"
            and s.count("checkout.session", status="expired") == 1
        ),
    )


@scene
def cancel_payment_intent(s: Scene) -> tuple[Act, Check]:
    create_payment_intent(s)[0]()
    s.ahead = timedelta(days=2)
    return (
        lambda: purchases.end_unpaid(clock=s.clock),
        lambda: (
            Payment.objects.get().status == "ended"
            and s.count("payment_intent", status="canceled") == 1
        ),
    )


@scene
def refund_payment(s: Scene) -> tuple[Act, Check]:
    payment = s.bought()
    ask_refund(payment, 400)

    def act() -> None:
        s.ahead += timedelta(hours=1)
        refunds.send_refunds(clock=s.clock)

    return (
        act,
        lambda: (
            s.count("refund") == 1
            and Refund.objects.get().status == "succeeded"
            and Wallet.objects.get(pk=payment.wallet_id).purchase == 60
        ),
    )


def subscribes(s: Scene) -> tuple[Act, Check]:
    return (
        s.subscribe(),
        lambda: (
            s.count("product") == s.count("price") == s.count("checkout.session") == 1
            and Subscription.objects.get().session_id is not None
        ),
    )


SCENES |= dict.fromkeys(
    ["create_product", "create_price", "create_subscription_checkout"], subscribes
)


@scene
def create_portal(s: Scene) -> tuple[Act, Check]:
    user = CustomerFactory()
    addresses = set()
    return lambda: addresses.add(
        subscribing.portal_url(
            user=user, return_url=URLS["success_url"], idempotency_key="k", at=timezone.now()
        )
    ), lambda: len(addresses) == s.count("customer") == 1


def asked(s: Scene, subscription: Subscription, change: Callable[..., Any], **more: Any) -> Act:
    actor = more.pop("actor", subscription.user)

    def act() -> None:
        s.ahead += timedelta(hours=1)
        change(
            subscription=Subscription.objects.get(pk=subscription.pk),
            actor=actor,
            caller="user:1",
            idempotency_key=change.__name__,
            clock=s.clock,
            **more,
        )
        changes.send_changes(clock=s.clock)

    return act


@scene
def change_subscription(s: Scene) -> tuple[Act, Check]:
    subscription = s.subscribed()
    act = asked(s, subscription, changes.change_plan, price=s.price("large", 3_000, 400))
    return (
        act,
        lambda: (
            s.count("invoice") == 2
            and Subscription.objects.get().price.amount_minor == 3_000
            and Wallet.objects.get(pk=subscription.wallet_id).purchase
            == sum(Payment.objects.values_list("credits", flat=True))
            and Payment.objects.count() == 2
        ),
    )


@scene
def end_with_period(s: Scene) -> tuple[Act, Check]:
    act = asked(s, s.subscribed(), changes.cancel_at_period_end)
    return act, lambda: Subscription.objects.get().cancels_at is not None


@scene
def keep_subscription(s: Scene) -> tuple[Act, Check]:
    subscription = s.subscribed()
    asked(s, subscription, changes.cancel_at_period_end)()
    act = asked(s, subscription, changes.keep_subscription)
    return act, lambda: Subscription.objects.get().cancels_at is None


@scene
def cancel_subscription(s: Scene) -> tuple[Act, Check]:
    act = asked(s, s.subscribed(), changes.end_now, actor=finance())
    return act, lambda: Subscription.objects.get().ended_at is not None


@scene
def create_card_checkout(s: Scene) -> tuple[Act, Check]:
    """A page that nobody has the address of does nothing: one is kept, and its card counts."""
    user = CustomerFactory()
    pages = set()

    def act() -> None:
        pages.add(top_ups.save_card(user=user, return_url=URLS["success_url"], at=timezone.now()))

    def check() -> bool:
        (page,) = pages
        return gateway.retrieve_checkout(AutoTopUp.objects.get().card_session_id).url == page

    return act, check


@scene
def pay_off_session(s: Scene) -> tuple[Act, Check]:
    auto = with_card()

    def act() -> None:
        s.ahead += timedelta(minutes=20)
        top_up_charges.top_up(clock=s.clock)

    return (
        act,
        lambda: (
            s.count("payment_intent", status="succeeded") == 1
            and Wallet.objects.get(pk=auto.wallet_id).purchase == 500
        ),
    )


# --- The proofs -----------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", [Killed, gateway.PaymentsUnavailable])
@pytest.mark.parametrize("call", sorted(SCENES))
def test_ends_in_one_effect(sandbox: Sandbox, monkeypatch, call: str, failure: Any):
    act, is_right = SCENES[call](Scene(sandbox))
    real, calls = getattr(gateway, call), []

    def fails_once(*args: Any, **given: Any) -> Any:
        calls.append(call)
        answer = real(*args, **given)
        if len(calls) == 1:
            raise failure("no answer")
        return answer

    monkeypatch.setattr(gateway, call, fails_once)
    for _ in range(3):
        try:
            act()
        except (Killed, Unavailable):
            continue
    assert calls
    assert is_right()


def test_looks_at_every_call_that_changes_something():
    changing = {
        name
        for name, function in getmembers(gateway, isfunction)
        if "idempotency_key" in signature(function).parameters
    } | {"delete_customer", "cancel_subscription"}
    text = "".join(path.read_text() for path in SERVICES.glob("*.py"))
    used = set(re.findall(r"gateway\.(\w+)\(", text)) & changing
    assert used == set(SCENES)
