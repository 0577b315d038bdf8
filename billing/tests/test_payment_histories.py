"""
Many payments whose events come in any order, late and twice, to two workers at once.

The suite takes a few; PAYMENT_HISTORIES=20000 takes more, and others each time.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from threading import Event, Thread
from typing import Any

from django.db import connections

from billing.models import Payment, StripeEvent
from billing.queries.payments import share
from billing.services import inbox
from billing.tests.payments import FakeStripe, opened, settle, told
from ledger.models import Grant, Wallet
from ledger.tests.books import spend
from ledger.tests.factories import AT

WANTED = int(os.environ.get("PAYMENT_HISTORIES", 0))
AT_ONCE, AT_THE_END = 8, 6
SEED = time.time_ns() if WANTED else 5


class Life:
    """What happens to one payment at Stripe, and the events that tell of it."""

    def __init__(self, stripe: FakeStripe, chance: Random) -> None:
        self.stripe, self.chance = stripe, chance
        self.payment = opened(credits=chance.choice([1, 7, 100, 333]), net_minor=1_000)
        self.intent = stripe.paid(self.payment, amount_minor=0)
        self.spent = 0
        self.events: list[tuple[str, str]] = []
        self.dispute = ""
        self.refunds: list[str] = []

    def pay(self) -> None:
        paid = replace(self.stripe.intents[self.intent], amount_minor=1_000, received_minor=1_000)
        self.stripe.intents[self.intent] = paid
        self.say("payment_intent.succeeded", self.intent)

    def say(self, type: str, about: str) -> None:
        self.events += [(type, about)] * self.chance.choice([1, 1, 2, 3])

    def go_on(self) -> None:
        """Let something happen that may happen next."""
        left = 1_000 - self.stripe.intents[self.intent].refunded_minor
        acts: list[Callable[[], None]] = [self.lose if self.dispute else self.open_dispute]
        if left and not self.dispute:
            acts += [lambda: self.refund(left)] * 2
        if self.refunds:
            acts.append(self.fail)
        if self.dispute:
            acts.append(self.win)
        self.chance.choice(acts)()

    def refund(self, left: int) -> None:
        amount = self.chance.choice([left, self.chance.randint(1, left)])
        self.refunds.append(self.stripe.refund(self.intent, amount))
        self.say("charge.refunded", f"ch_{self.intent}")

    def fail(self) -> None:
        failed = self.refunds.pop(self.chance.randrange(len(self.refunds)))
        self.stripe.fail_refund(failed)
        self.say("refund.failed", failed)

    def open_dispute(self) -> None:
        self.dispute = self.stripe.dispute(self.intent, self.chance.randint(1, 1_000))
        self.say("charge.dispute.created", self.dispute)

    def lose(self) -> None:
        self.stripe.decide(self.dispute, "lost")
        self.say("charge.dispute.closed", self.dispute)

    def win(self) -> None:
        self.stripe.decide(self.dispute, "won")
        self.say("charge.dispute.closed", self.dispute)

    def tell(self, event: tuple[str, str]) -> None:
        type, about = event
        told(type, about, "" if about == self.intent else self.intent)

    def use(self) -> None:
        """Spend some of what is there."""
        grant = Grant.objects.filter(payment=self.payment, is_frozen=False).first()
        if grant and grant.remaining:
            amount = self.chance.randint(1, grant.remaining)
            try:
                spend(self.payment.wallet_id, amount, AT)
            except Exception:  # A worker took it, or froze it, meanwhile.
                return
            self.spent += amount

    def wrong(self) -> list[str]:
        """Return what is not as it must be in the end, by what Stripe has and was spent."""
        payment = Payment.objects.get(pk=self.payment.pk)
        refunds = [
            r.amount_minor
            for r in self.stripe.of(self.stripe.refunds, self.intent)
            if r.status == "succeeded"
        ]
        disputes = self.stripe.of(self.stripe.disputes, self.intent)
        lost = [d.amount_minor for d in disputes if d.status == "lost"]
        returned = min(1_000, sum(refunds) + sum(lost))
        grants = Grant.objects.filter(payment=payment)
        wallet = Wallet.objects.get(pk=payment.wallet_id)
        found = {
            "grants": [
                (g.amount, g.clawback_target, g.returned_minor, g.is_frozen) for g in grants
            ],
            "credits": wallet.purchase - wallet.debt,
            "counters": (payment.returned_minor, payment.refunded_minor),
        }
        target = share(payment.credits, returned, 1_000)
        is_open = any(d.status == "needs_response" for d in disputes)
        expected = {
            "grants": [(payment.credits, target, returned, is_open)],
            "credits": payment.credits - self.spent - target,
            "counters": (returned, sum(refunds)),
        }
        return [] if found == expected else [f"{found} is not {expected}"]


class Clock:
    """Goes ten seconds on whenever somebody looks, and leaps: what is told may be 30 days late."""

    def __init__(self) -> None:
        self.looks, self.days = count(1), 0

    def __call__(self) -> datetime:
        return AT + timedelta(days=self.days, seconds=next(self.looks) * 10)

    def leap(self, *, days: int) -> None:
        self.days += days


def live(stripe: FakeStripe, chance: Random) -> list[str]:
    """Live some histories beside each other, and return what is wrong in the end."""
    lives = [Life(stripe, chance) for _ in range(AT_ONCE)]
    clock, is_over = Clock(), Event()

    def work() -> None:
        try:
            while not is_over.is_set() or pending():
                inbox.handle_events(clock=clock)
        finally:
            connections.close_all()

    workers = [Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    late: list[tuple[Life, tuple[str, str]]] = []
    for number in range(7):
        clock.leap(days=chance.choice([0, 0, 1, 5]))
        for each in lives:
            each.pay() if number == 0 else each.go_on()
            late += [(each, event) for event in each.events]
            each.events.clear()
        chance.shuffle(late)
        now, late = late[: len(late) // 2], late[len(late) // 2 :]
        for each, event in now:
            each.tell(event)
        chance.choice(lives).use()
    for each, event in late:
        each.tell(event)
    for each in lives[:AT_THE_END]:
        # The last of it happens, and is told at once, while somebody reads what was before.
        wait_until_all_is_done()
        each.tell(("charge.dispute.updated", "du_any"))
        time.sleep(0.03 * chance.random())
        each.go_on()
        each.tell(each.events.pop())
    is_over.set()
    for worker in workers:
        worker.join(timeout=120)
        assert not worker.is_alive()
    return [wrong for each in lives for wrong in each.wrong()]


def wait_until_all_is_done() -> None:
    while pending():
        time.sleep(0.002)


def pending() -> bool:
    return StripeEvent.objects.filter(next_try_at__isnull=False).exists()


def test_two_workers_end_with_the_books_of_what_stripe_has(ledger_db: Any, fake_stripe: FakeStripe):
    chance = Random(SEED)
    # Now and then what was read is old by the time that it is acted on.
    fake_stripe.before_answer = lambda: time.sleep(Random().choice([0, 0, 0, 0.04]))
    for _ in range(max(WANTED // AT_ONCE, 1)):
        assert live(fake_stripe, chance) == [], f"seed {SEED}"
        fake_stripe.forget()


def test_one_settling_more_changes_nothing(ledger_db: Any, fake_stripe: FakeStripe):
    life = Life(fake_stripe, Random(1))
    life.pay()
    for _ in range(3):
        settle(life.intent)
    assert life.wrong() == []
