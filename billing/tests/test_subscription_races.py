"""Many at one instant, and whoever is killed: each month is given once."""

import time
from contextlib import suppress
from typing import Any

from billing.models import Payment, PromisedMoney, Slice, Subscription, SubscriptionChange
from billing.queries.subscriptions import promised_of
from billing.services import slices, subscribing
from billing.services.subscriptions import begin_to_read
from billing.tests.payments import settle as settle_payment
from billing.tests.subscriptions import (
    FakeBilling,
    at_stripe,
    begun,
    by_year,
    later,
    post,
    price,
    purse,
    settle,
)
from billing.tests.test_subscription_changes import to
from creditsite.testing.races import race
from ledger.models import Grant
from ledger.tests.factories import AT


def test_an_invoice_is_received_once(ledger_db: Any, fake_billing: FakeBilling):
    id = fake_billing.subscribed(price())
    invoice = fake_billing.bill(id)
    intent = str(fake_billing.invoices[invoice].payment_intent)
    acts = [lambda: settle(id), lambda: settle_payment(intent)]
    outcomes = race(*acts * 3)
    assert set(outcomes) <= {"Subscription", "Payment", "PaymentBusy"}
    settle(id)
    assert Grant.objects.get().amount == 100
    assert Payment.objects.count() == Slice.objects.count() == 1


def test_schedulers_post_each_month_once(ledger_db: Any, fake_billing: FakeBilling):
    subscription = begun(fake_billing, by_year(price(amount_minor=1_999, credits=200)))
    race(*[lambda: post(later(AT, 12))] * 4)
    post(later(AT, 12))  # What two stood before at once was left for the next time.
    assert Grant.objects.count() == 12
    assert purse(subscription).purchase == 2_400
    assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 19_990


def unposted(number: int) -> list[int]:
    found = Slice.objects.filter(status="due").order_by("number")
    return list(found.values_list("pk", flat=True))[:number]


def test_months_that_are_posted_at_once_share_the_money(
    ledger_db: Any, fake_billing: FakeBilling, monkeypatch: Any
):
    begun(fake_billing, by_year(price()))
    post(later(AT, 6))
    payment = Payment.objects.get()
    assert promised_of(payment).open_minor % 5  # So the last one takes more than the others.
    monkeypatch.setattr(slices, "promised_of", slowly(promised_of))
    race(*[lambda n=n: slices.post_slice(n, at=later(AT, 12)) for n in unposted(5)])
    post(later(AT, 12))
    assert sum(Grant.objects.values_list("paid_minor", flat=True)) == 10_000


def test_a_month_that_goes_back_while_it_is_posted_is_one_or_the_other(
    ledger_db: Any, fake_billing: FakeBilling, monkeypatch: Any
):
    subscription = begun(fake_billing, by_year(price()))
    post(later(AT, 10))
    payment, (last,) = Payment.objects.get(), unposted(1)
    fake_billing.refund(str(payment.intent_id), 2_000)
    monkeypatch.setattr(slices, "promised_of", slowly(promised_of))
    race(
        lambda: slices.post_slice(last, at=later(AT, 12)),
        lambda: (time.sleep(0.05), settle_payment(str(payment.intent_id))),
    )
    post(later(AT, 12))
    assert purse(subscription).purchase == 1_200 * 8 // 10
    assert promised_of(payment).open_minor == 0


def slowly(tell: Any) -> Any:
    """Return what takes its time to answer, so that others come between."""

    def told(payment: Payment) -> Any:
        found = tell(payment)
        time.sleep(0.3)
        return found

    return told


def test_a_refund_beside_a_scheduler_ties(ledger_db: Any, fake_billing: FakeBilling):
    subscription = begun(fake_billing, by_year(price()))
    payment = Payment.objects.get()
    for number in range(4):
        fake_billing.refund(str(payment.intent_id), 1_000)
        at = later(AT, number + 1)
        race(lambda at=at: post(at), lambda: settle_payment(str(payment.intent_id)))
    settle_payment(str(payment.intent_id))
    post(later(AT, 12))
    assert purse(subscription).purchase == 1_200 * 6_000 // 10_000
    assert promised_of(payment).open_minor == 0


def test_a_month_survives_a_worker_who_dies_over_it(
    ledger_db: Any, fake_billing: FakeBilling, monkeypatch: Any
):
    begun(fake_billing, by_year(price()))
    real = slices._keep_posted

    def die(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slices, "_keep_posted", die)
    with suppress(KeyboardInterrupt):
        post(later(AT, 1))
    assert Grant.objects.count() == 1
    monkeypatch.setattr(slices, "_keep_posted", real)
    assert post(later(AT, 1)) == 1
    assert Grant.objects.count() == 2
    assert PromisedMoney.objects.filter(move="allotted").count() == 2


def test_each_reader_has_a_turn_of_their_own(ledger_db: Any, fake_billing: FakeBilling):
    id, turns = str(begun(fake_billing, price()).subscription_id), []

    def begin() -> None:
        for _ in range(10):
            found = begin_to_read(id)
            assert found is not None
            turns.append(found.reads)

    race(*[begin] * 6)
    assert len(turns) == len(set(turns)) == 60


def test_a_change_is_asked_for_once(ledger_db: Any, fake_billing: FakeBilling):
    subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)
    fake_billing.known(large)
    fake_billing.before_answer = lambda: time.sleep(0.02)
    race(*[lambda n=n: to(subscription, large, f"k{n}") for n in range(4)])
    assert SubscriptionChange.objects.filter(status="done").count() == 1
    assert Payment.objects.count() == 2


def test_a_price_is_made_at_stripe_once(ledger_db: Any, monkeypatch: Any):
    from billing import gateway

    of, made = price(), set()
    from billing.models import StripePrice

    StripePrice.objects.all().delete()

    def make(**given: Any) -> str:
        made.add(given["idempotency_key"])
        time.sleep(0.02)
        return f"made_{given['idempotency_key']}"

    monkeypatch.setattr(gateway, "create_product", make)
    monkeypatch.setattr(gateway, "create_price", make)
    ids = []
    race(*[lambda: ids.append(subscribing.stripe_price_of(of))] * 5)
    assert len(set(ids)) == 1
    assert len(made) == 2


def test_one_page_is_open(ledger_db: Any, monkeypatch: Any):
    from billing import gateway
    from billing.stripe_objects import CheckoutSession
    from ledger.queries.wallets import wallet_of
    from ledger.tests.factories import CustomerFactory

    of, user = price(), CustomerFactory()
    at_stripe(of)
    closed: list[str] = []

    def session(**given: Any) -> CheckoutSession:
        id = f"cs_{given['idempotency_key']}"
        return CheckoutSession(
            id=id, url="https://stripe", mode="subscription", status="open",
            payment_status="unpaid", amount_minor=0, tax_minor=0, currency="usd", customer=None,
            payment_intent=None, subscription=None, invoice=None, payment_method=None, metadata={},
            created_at=AT, expires_at=AT,
        )  # fmt: skip

    monkeypatch.setattr(gateway, "create_subscription_checkout", session)
    monkeypatch.setattr(gateway, "expire_checkout", lambda each, **more: closed.append(each))
    monkeypatch.setattr(subscribing, "customer_of", lambda user, at: "cus_1")

    def subscribe(key: str) -> CheckoutSession:
        return subscribing.subscribe(
            user=user, wallet=wallet_of(user), price=of, success_url="https://s", at=AT,
            cancel_url="https://c", caller="user:1", idempotency_key=key,
        )  # fmt: skip

    outcomes = race(*[lambda n=n: subscribe(f"k{n}") for n in range(4)])
    assert set(outcomes) <= {"CheckoutSession", "AlreadySubscribed"}
    assert Subscription.objects.filter(status="open").count() == 1
    begun_there = Subscription.objects.exclude(session_id=None).values_list("session_id", flat=True)
    open_one = Subscription.objects.get(status="open").session_id
    assert set(begun_there) - {open_one} <= set(closed)
