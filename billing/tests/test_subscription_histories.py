"""
Many subscriptions whose events come in any order, late and twice, to two workers and a scheduler.

The suite takes a few; SUBSCRIPTION_HISTORIES=2000 takes more, and others each time.
"""

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from random import Random
from threading import Event, Thread
from typing import Any

from django.db import connections

from billing.models import OfferPrice, Payment, StripeEvent, Subscription
from billing.queries.payments import lot_of_payment, share
from billing.queries.subscriptions import promised_of
from billing.services import inbox
from billing.tests.payments import told
from billing.tests.subscriptions import FakeBilling, later, post, price
from ledger.invariants import violations
from ledger.models import Wallet
from ledger.tests.books import spend
from ledger.tests.factories import AT

WANTED = int(os.environ.get("SUBSCRIPTION_HISTORIES", 0))
AT_ONCE, ACTS = 4, 8
SEED = time.time_ns() if WANTED else 11
END = later(AT, 400)


class Life:
    """What happens to one subscription at Stripe, and the events that tell of it."""

    def __init__(self, stripe: FakeBilling, chance: Random, prices: list[OfferPrice]) -> None:
        self.stripe, self.chance, self.prices = stripe, chance, prices
        self.events: list[tuple[str, str, str]] = []
        self.id = stripe.subscribed(chance.choice(prices))
        self.open, self.spent = "", 0
        self.disputes: list[str] = []
        self.refunds: list[str] = []
        self.tell_of(stripe.bill(self.id))

    @property
    def wallet(self) -> Wallet:
        customer = self.stripe.subscriptions[self.id].customer
        return Wallet.objects.get(user=int(customer.removeprefix("cus_")))

    def say(self, type: str, about: str, intent: str = "") -> None:
        self.events += [(type, about, intent)] * self.chance.choice([1, 1, 2])

    def tell_of(self, invoice: str) -> None:
        intent = self.stripe.invoices[invoice].payment_intent
        kinds = [("invoice.paid", invoice), ("customer.subscription.updated", self.id)]
        if intent:
            kinds.append(("payment_intent.succeeded", intent))
        for type, about in self.chance.sample(kinds, self.chance.randint(1, len(kinds))):
            self.say(type, about)

    def go_on(self) -> None:
        self.stripe.now += timedelta(hours=1)
        acts: list[Callable[[], None]] = [self.renew, self.renew, self.change, self.refund]
        acts += [self.pay] * 3 if self.open else []
        acts += [self.decide] * 2 if self.disputes else [self.dispute]
        acts += [self.fail] if self.refunds else []
        self.chance.choice(acts)()

    def renew(self) -> None:
        if self.open:
            return
        is_paid = self.chance.random() < 0.8
        invoice = self.stripe.renew(self.id, is_paid=is_paid)
        if is_paid:
            self.tell_of(invoice)
        else:
            self.open = invoice
            self.stripe.change(self.id, status="past_due")
            self.say("invoice.payment_failed", invoice)

    def pay(self) -> None:
        self.stripe.pay(self.open)
        self.tell_of(self.open)
        self.open = ""

    def change(self) -> None:
        if self.open or self.stripe.now >= self.stripe.subscriptions[self.id].period_end:
            return
        self.tell_of(str(self.stripe.reprice(self.id, self.chance.choice(self.prices))))

    def some_intent(self) -> str:
        paid = [
            i.payment_intent
            for i in self.stripe.invoices_of(self.id)
            if i.status == "paid" and i.payment_intent
        ]
        return str(self.chance.choice(paid))

    def refund(self) -> None:
        intent = self.some_intent()
        left = self.stripe.intents[intent].received_minor
        left -= self.stripe.intents[intent].refunded_minor
        if left:
            amount = self.chance.choice([left, self.chance.randint(1, left)])
            self.refunds.append(self.stripe.refund(intent, amount))
            self.say("charge.refunded", f"ch_{intent}", intent)

    def fail(self) -> None:
        failed = self.refunds.pop(self.chance.randrange(len(self.refunds)))
        self.stripe.fail_refund(failed)
        self.say("refund.failed", failed, str(self.stripe.refunds[failed].payment_intent))

    def dispute(self) -> None:
        intent = self.some_intent()
        amount = self.stripe.intents[intent].received_minor
        self.disputes.append(self.stripe.dispute(intent, self.chance.randint(1, amount)))
        self.say("charge.dispute.created", self.disputes[-1], intent)

    def decide(self) -> None:
        if self.disputes:
            dispute = self.disputes.pop()
            self.stripe.decide(dispute, self.chance.choice(["won", "lost"]))
            intent = str(self.stripe.disputes[dispute].payment_intent)
            self.say("charge.dispute.closed", dispute, intent)

    def use(self) -> None:
        wallet = self.wallet
        if wallet.purchase:
            amount = self.chance.randint(1, wallet.purchase)
            try:
                spend(wallet.pk, amount, END)
            except Exception:  # Somebody took it, or froze it, meanwhile.
                return
            self.spent += amount

    def wrong(self) -> list[str]:
        """Return what is not as it must be in the end, by what Stripe has and was spent."""
        stripe, found, owed, kept = self.stripe, [], 0, 0
        paid = [i for i in stripe.invoices_of(self.id) if i.status == "paid"]
        for invoice in sorted(paid, key=lambda i: (i.paid_at or AT, i.created_at, i.id)):
            value = sum(
                Fraction(line.amount_minor * self.credits_of(line.price), self.cost_of(line.price))
                for line in invoice.lines
            )
            payment = Payment.objects.get(invoice_id=invoice.id)
            credits = max(floor(value) - owed, 0)
            if invoice.paid_minor and not credits:
                credits, value = 0, Fraction(0)
            elif invoice.subtotal_minor == 0 and not any(i.amount_minor for i in invoice.lines):
                value = Fraction(0)
            owed += credits - floor(value)
            charged, back = invoice.paid_minor, self.returned(invoice.payment_intent)
            taken = share(credits, back, charged)
            kept += credits - taken
            was = payment.credits, payment.charged_minor, payment.returned_minor
            if was != (credits, charged, back):
                found.append(f"{payment}: {was} is not {(credits, charged, back)}")
            if payment.status == "credited":
                found += self.wrong_money(payment, back)
        wallet = self.wallet
        if wallet.purchase - wallet.debt != kept - self.spent:
            found.append(f"{wallet.purchase} - {wallet.debt} is not {kept} - {self.spent}")
        return found

    def wrong_money(self, payment: Payment, back: int) -> list[str]:
        lot, promised = lot_of_payment(payment), promised_of(payment)
        paid = sum(grant.paid_minor - grant.carried_minor for grant in lot)
        returned = sum(grant.returned_minor for grant in lot) + promised.returned_minor
        ties = (paid + promised.returned_minor, returned, promised.open_minor)
        should = (payment.net_minor, share(payment.net_minor, back, payment.charged_minor), 0)
        return [] if ties == should else [f"{payment}: {ties} is not {should}"]

    def credits_of(self, price: str | None) -> int:
        of = self.stripe.prices[str(price)]
        return of.version.credits * of.months

    def cost_of(self, price: str | None) -> int:
        return self.stripe.prices[str(price)].amount_minor

    def returned(self, intent: str | None) -> int:
        if intent is None:
            return 0
        sent = sum(
            r.amount_minor
            for r in self.stripe.of(self.stripe.refunds, intent)
            if r.status == "succeeded"
        )
        lost = sum(
            d.amount_minor
            for d in self.stripe.of(self.stripe.disputes, intent)
            if d.status == "lost"
        )
        return min(sent + lost, self.stripe.intents[intent].received_minor)


def live(stripe: FakeBilling, chance: Random, prices: list[OfferPrice]) -> list[str]:
    """Live some histories beside each other, and return what is wrong in the end."""
    lives = [Life(stripe, chance, prices) for _ in range(AT_ONCE)]
    is_over = Event()

    def clock() -> datetime:
        return END

    def work() -> None:
        try:
            while not is_over.is_set() or pending():
                inbox.handle_events(clock=clock)
                post(END)
        finally:
            connections.close_all()

    workers = [Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    late: list[tuple[str, str, str]] = []
    for _ in range(ACTS):
        for each in lives:
            each.go_on()
            late += each.events
            each.events.clear()
        chance.shuffle(late)
        now, late = late[: len(late) // 2], late[len(late) // 2 :]
        for event in now:
            told(*event, at=END)
        chance.choice(lives).use()
    for each in lives:
        each.decide()
        each.tell_of(stripe.bill(each.id)) if not each.open else each.pay()
        late += each.events
    for event in late:
        told(*event, at=END)
    is_over.set()
    for worker in workers:
        worker.join(timeout=120)
        assert not worker.is_alive()
    post(END)
    return [wrong for each in lives for wrong in each.wrong()] + list(violations())


def pending() -> bool:
    return StripeEvent.objects.filter(next_try_at__isnull=False).exists()


def test_two_workers_end_with_the_books_of_what_stripe_has(
    ledger_db: Any, fake_billing: FakeBilling
):
    chance = Random(SEED)
    fake_billing.before_answer = lambda: time.sleep(Random().choice([0, 0, 0, 0.02]))
    months = [price("small", 1_000, 101), price("large", 3_000, 407), price("huge", 9_999, 1_500)]
    prices = [*months, *(month.version.prices.get(interval="year") for month in months)]
    for each in prices:
        fake_billing.known(each)
    for _ in range(max(WANTED // AT_ONCE, 1)):
        assert live(fake_billing, chance, prices) == [], f"seed {SEED}"
        for held in (fake_billing.invoices, fake_billing.subscriptions):
            held.clear()
        fake_billing.forget()
    assert Subscription.objects.count() >= AT_ONCE
