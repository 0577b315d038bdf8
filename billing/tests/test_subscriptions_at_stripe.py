"""Subscriptions from end to end, at the local Stripe: its page, its clock, its webhooks."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing import gateway
from billing.models import OfferPrice, Payment, ReviewItem, StripePrice, Subscription
from billing.queries.offers import newest_version
from billing.services import inbox, refunds, subscribing
from billing.services import subscription_changes as changes
from billing.services.offers import Price
from billing.services.subscriptions import settle_subscription
from billing.tests.payments import ask_refund
from billing.tests.sale import plan
from billing.tests.stripe import Sandbox, sdk, visit
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import CustomerFactory

pytestmark = pytest.mark.django_db
PAID = "4242 4242 4242 4242"


class World:
    """A user, the local Stripe, and how far its time was moved ahead."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.user, self.ahead = sandbox, CustomerFactory(), timedelta(0)
        self.small = self.plan("small", 1_000, 100)
        self.large = self.plan("large", 3_000, 400)

    def plan(self, code: str, amount: int, credits: int) -> OfferPrice:
        prices = [Price("usd", "month", amount), Price("usd", "year", amount * 10)]
        offer = plan(code, credits=credits, prices=prices)
        return newest_version(offer).prices.get(interval="month")

    def now(self) -> Any:
        return timezone.now() + self.ahead

    def subscribe(self, price: OfferPrice, card: str = PAID, key: str = "k") -> Subscription:
        session = subscribing.subscribe(
            user=self.user,
            wallet=wallet_of(self.user),
            price=price,
            success_url="https://example.com/done",
            cancel_url="https://example.com/back",
            caller="user:1",
            idempotency_key=key,
            at=self.now(),
        )
        visit(str(session.url), card_number=card)
        self.hear()
        return Subscription.objects.get(session_id=session.id)

    def pass_days(self, days: int) -> None:
        self.sandbox.order("clock", seconds=days * 86_400)
        self.ahead += timedelta(days=days)
        self.hear()

    def hear(self) -> None:
        """Take in all that Stripe told so far, and handle it."""
        events = gateway.list_events(timezone.now() - timedelta(days=1))
        inbox.keep_events(events, self.now())
        inbox.handle_events(clock=self.now)
        failed = inbox.StripeEvent.objects.filter(status="failed")
        assert not failed, failed.values("type", "error")

    def ask(self, subscription: Subscription, act: Any, key: str, **more: Any) -> Any:
        return act(
            subscription=subscription,
            actor=self.user,
            caller="user:1",
            idempotency_key=key,
            clock=self.now,
            **more,
        )

    @property
    def credits(self) -> int:
        return Wallet.objects.get(user=self.user).purchase


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return World(sandbox)


def test_subscribe_renew_change_refund_and_end(world: World):
    subscription = world.subscribe(world.small)
    assert (subscription.status, world.credits) == ("active", 100)
    world.pass_days(31)
    assert world.credits == 200

    world.ask(subscription, changes.change_plan, "up", price=world.large)
    upgrade = Payment.objects.order_by("pk").last()
    assert upgrade.credits == upgrade.slices.get().credits > 200
    assert world.credits == 200 + upgrade.credits

    ask_refund(upgrade, upgrade.charged_minor)
    refunds.send_refunds(clock=world.now)
    assert world.credits == 200

    world.ask(subscription, changes.cancel_at_period_end, "cancel")
    world.pass_days(31)
    subscription.refresh_from_db()
    assert (subscription.status, world.credits) == ("canceled", 200)
    assert not ReviewItem.objects.exists()


def test_a_preview_is_what_is_then_paid(world: World):
    subscription = world.subscribe(world.small)
    world.pass_days(10)
    subscription.refresh_from_db()
    seen = changes.preview_change(subscription=subscription, price=world.large, at=world.now())
    world.ask(subscription, changes.change_plan, "up", price=world.large)
    payment = Payment.objects.order_by("pk").last()
    assert abs(payment.charged_minor - seen.due_minor) <= 1
    assert abs(payment.credits - seen.credits) <= 1


def test_a_year_is_given_month_by_month(world: World):
    year = world.small.version.prices.get(interval="year")
    subscription = world.subscribe(year)
    assert (world.credits, subscription.slices.count()) == (100, 12)
    world.pass_days(62)
    settle_subscription(str(subscription.subscription_id), clock=world.now)
    assert world.credits == 300


def test_a_card_that_is_declined_at_renewal_and_pays_later(world: World):
    subscription = world.subscribe(world.small)
    method = gateway.retrieve_subscription(str(subscription.subscription_id)).default_payment_method
    world.sandbox.order(f"payment_methods/{method}", number="4000000000000341")
    world.pass_days(31)
    subscription.refresh_from_db()
    assert (subscription.status, world.credits) == ("past_due", 100)
    world.sandbox.order(f"payment_methods/{method}", number=PAID.replace(" ", ""))
    world.pass_days(4)
    subscription.refresh_from_db()
    assert (subscription.status, world.credits) == ("active", 200)


def test_tax_goes_back_with_a_refund(world: World):
    world.sandbox.order("settings", tax_percent=15)
    session = subscribing.subscribe(
        user=world.user, wallet=wallet_of(world.user), price=world.small, at=world.now(),
        success_url="https://example.com/", cancel_url="https://example.com/", caller="user:1",
        idempotency_key="k", calculates_tax=True,
    )  # fmt: skip
    visit(str(session.url), card_number=PAID)
    world.hear()
    payment = Payment.objects.get()
    assert (payment.charged_minor, payment.tax_minor, payment.net_minor) == (1_150, 150, 1_000)


def test_another_page_closes_the_first(world: World):
    urls = {"success_url": "https://example.com/", "cancel_url": "https://example.com/"}
    pages = [
        subscribing.subscribe(
            user=world.user, wallet=wallet_of(world.user), price=price, caller="user:1",
            idempotency_key=key, at=world.now(), **urls,
        )
        for price, key in [(world.small, "a"), (world.large, "b"), (world.large, "b")]
    ]  # fmt: skip
    assert pages[1].id == pages[2].id
    assert gateway.retrieve_checkout(pages[0].id).status == "expired"
    visit(str(pages[1].url), card_number=PAID)
    with pytest.raises(subscribing.AlreadySubscribed):
        world.subscribe(world.small, key="c")
    world.hear()
    assert world.credits == 400
    with pytest.raises(subscribing.AlreadySubscribed):
        world.subscribe(world.small, key="d")


@pytest.mark.parametrize(
    "path", ["/v1/products", "/v1/prices", "/v1/checkout/sessions", "/v1/customers"]
)
def test_a_beginning_that_stripe_does_not_answer_is_made_once(world: World, path: str):
    world.sandbox.fail_next(path, method="POST", nth=1, effect="disconnect", when="after")
    with pytest.raises(gateway.PaymentsUnavailable):
        world.subscribe(world.small)
    subscription = world.subscribe(world.small)
    assert (subscription.status, world.credits) == ("active", 100)
    assert StripePrice.objects.count() == len(world.sandbox.objects("price")) == 1
    assert len(world.sandbox.objects("customer")) == 1
    assert len(world.sandbox.objects("checkout.session")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_upgrade_that_stripe_does_not_answer_is_made_once(world: World, when: str):
    subscription = world.subscribe(world.small)
    path = f"/v1/subscriptions/{subscription.subscription_id}"
    world.sandbox.fail_next(path, method="POST", nth=1, effect="disconnect", when=when)
    with pytest.raises(gateway.PaymentsUnavailable):
        world.ask(subscription, changes.change_plan, "up", price=world.large)
    world.ask(subscription, changes.change_plan, "up", price=world.large)
    world.hear()
    assert Payment.objects.count() == 2
    assert world.credits == 400


def test_a_subscription_that_is_begun_in_the_dashboard_is_known(world: World):
    first = world.subscribe(world.small)
    at_stripe = StripePrice.objects.get().price_id
    gateway.cancel_subscription(str(first.subscription_id))
    sdk().subscriptions.create(
        {
            "customer": first.customer_id,
            "items": [{"price": at_stripe}],
            "default_payment_method": gateway.retrieve_subscription(
                str(first.subscription_id)
            ).default_payment_method,
        }
    )
    world.hear()
    assert world.credits == 200
