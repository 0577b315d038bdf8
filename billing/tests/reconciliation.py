"""A town that buys credits at the local Stripe, and what can go wrong between it and the books."""

from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import stripe
from django.db import connection
from django.db.models import Count, F
from django.utils import timezone

from billing.choices import BreakKind
from billing.models import Break, Payment, PaymentEffect, Refund, ReviewItem, StripeEvent
from billing.services import payments, refunds
from billing.services.reconciliation import start_at_once, work
from billing.services.settlement import settle_payment
from billing.stripe_sandbox import disputes, payment_intents
from billing.stripe_sandbox import refunds as sandbox_refunds
from billing.stripe_sandbox.store import Object
from billing.tests.payments import ask_refund
from billing.tests.stripe import Sandbox
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.posting import Header
from ledger.tests.books import spend
from ledger.tests.factories import CustomerFactory

DAYS = 3
Named = set[tuple[str, str]]


class Town:
    """Users whose payments lie some hours to three days back, at Stripe and in the books."""

    def __init__(self, sandbox: Sandbox, seed: int = 7, users: int = 12) -> None:
        self.sandbox, self.chance = sandbox.server.sandbox, Random(seed)
        self.now = timezone.now()
        self.users = [CustomerFactory() for _ in range(users)]
        self.customers = [self.make_known(user) for user in self.users]
        self.used: set[int] = set()

    @contextmanager
    def at_stripe(self, at: datetime | None = None) -> Any:
        """Let something happen at Stripe at an instant, by default some hours ago; nobody tells."""
        with self.sandbox.store.change():
            self.sandbox.clock.moment = int((at or self.some_time()).timestamp())
            try:
                yield self.sandbox
            finally:
                self.sandbox.clock.moment = None

    def some_time(self) -> datetime:
        return self.now - timedelta(seconds=self.chance.randint(7_200, DAYS * 86_400 - 7_200))

    def make_known(self, user: Any) -> str:
        with self.at_stripe() as sandbox:
            made = sandbox.add(stripe.Customer, "cus", email=user.email, metadata={}, _lives=True)
        user.stripe_customer = payments.StripeCustomer.objects.create(
            user=user, customer_id=made["id"], created_at=self.now
        )
        return str(made["id"])

    # --- Payments ---------------------------------------------------------------------------------
    def opened(self, credits: int = 100, net_minor: int = 1_000, tax_minor: int = 0) -> Payment:
        user = self.chance.choice(self.users)
        payment = payments.open_payment(
            user=user,
            wallet=wallet_of(user),
            credits=credits,
            net_minor=net_minor,
            currency="usd",
            description=f"{credits} credits",
            caller=f"user:{user.pk}",
            idempotency_key=str(uuid4()),
            at=self.some_time(),
        )
        payment.tax_minor, payment.customer_id = tax_minor, user.stripe_customer.customer_id
        payment.save(update_fields=["tax_minor", "customer_id"])
        return payment

    def paid(self, payment: Payment | None, amount: int = 0, **more: Any) -> str:
        """Let somebody pay at Stripe; return the intent."""
        given: dict[str, Any] = {"amount": amount or 900, "currency": "usd", "metadata": {}}
        if payment:
            given["amount"] = amount or payment.net_minor + payment.tax_minor
            given["customer"] = payment.customer_id
            given["metadata"] = {"payment": str(payment.public_id)}
        with self.at_stripe(payment.created_at if payment else None) as sandbox:
            intent = payment_intents.new_intent(
                sandbox, payment_method="pm_card_visa", **given | more
            )
            payment_intents.pay(sandbox, intent)
        return str(intent["id"])

    def bought(self, **more: Any) -> Payment:
        """Return a payment that was made, and settled at once."""
        payment = self.opened(**more)
        return self.settled(self.paid(payment), payment.created_at + timedelta(minutes=1))

    def settled(self, intent_id: str, at: datetime | None = None) -> Payment:
        at = at or self.now - timedelta(hours=1)
        settled = settle_payment(intent_id, looks_for_disputes=True, clock=lambda: at)
        assert settled is not None
        return settled

    def refunded(self, payment: Payment, amount: int, at: datetime | None = None) -> str:
        with self.at_stripe(at) as sandbox:
            made = sandbox_refunds.create_refund(
                sandbox, {"payment_intent": payment.intent_id, "amount": amount}
            )
        return str(made["id"])

    def disputed(
        self,
        payment: Payment,
        amount: int,
        reason: str = "fraudulent",
        at: datetime | None = None,
    ) -> str:
        with self.at_stripe(at) as sandbox:
            charge = self.charge_of(payment)
            made = disputes.open_dispute(sandbox, charge, reason=reason, amount=amount)
        return str(made["id"])

    def decided(self, dispute_id: str, outcome: str, at: datetime | None = None) -> None:
        with self.at_stripe(at) as sandbox:
            disputes.decide(sandbox, sandbox.get("dispute", dispute_id), outcome)

    def charge_of(self, payment: Payment) -> Object:
        intent = self.sandbox.get("payment_intent", str(payment.intent_id))
        return self.sandbox.get("charge", intent["latest_charge"])

    def change(self, id: str, **values: Any) -> Object:
        """Have an object at Stripe say something else."""
        with self.at_stripe() as sandbox:
            item = sandbox.store.get(id)
            assert item is not None
            return sandbox.update(item, **values)

    def forgotten(self, id: str) -> None:
        with self.at_stripe() as sandbox:
            for moved in sandbox.store.find("balance_transaction", {"source": id}):
                sandbox.store.delete(moved["id"])
            sandbox.store.delete(id)

    # --- A life of theirs -------------------------------------------------------------------------
    def live(self, number: int) -> None:
        """Let so many payments be made, refunded, disputed and spent from, all of it told."""
        for n in range(number):
            match n % 25:
                case 0:
                    payment = self.bought(tax_minor=150)
                    self.refunded(payment, 575)
                case 1:
                    payment = self.bought(credits=333)
                    id = self.refunded(payment, 400)
                    self.settled(str(payment.intent_id))
                    with self.at_stripe() as sandbox:
                        sandbox_refunds.fail(sandbox, id)
                case 2 | 3 | 4:
                    payment = self.bought()
                    id = self.disputed(payment, 1_000)
                    self.settled(str(payment.intent_id))
                    if n % 25 > 2:
                        self.decided(id, "won" if n % 25 == 3 else "lost")
                case 5:
                    payment = self.bought()
                    self.disputed(payment, 400, reason="inquiry")
                case 6:
                    self.settled(self.paid(None))
                    continue
                case 7:
                    self.opened()  # Nobody ever pays it.
                    continue
                case 8:
                    payment = self.bought(credits=50)
                    spend(payment.wallet_id, 20, self.now)
                    self.refunded(payment, 1_000)
                case 9:
                    payment = self.bought()
                    ask_refund(payment, 100, key=str(payment.pk))
                    refunds.send_refunds(clock=lambda: self.now)
                case _:
                    self.bought(credits=self.chance.randint(1, 999))
                    continue
            self.settled(str(payment.intent_id))

    def untouched(self, **wanted: Any) -> Payment:
        """Return a credited payment of which nothing went back, for one fault alone."""
        rows = Payment.objects.filter(
            status="credited", returned_minor=0, refunds=None, **wanted
        ).annotate(count=Count("effects"))
        only = rows.filter(count=1).exclude(pk__in=self.used).order_by("pk")
        payment = self.chance.choice(list(only)) if only else self.bought()
        self.used.add(payment.pk)
        return payment

    def reconciled(self, **later: float) -> Named:
        """Compare three days, and return what breaks there are."""
        at = timezone.now() + timedelta(**later)
        run = start_at_once(since=self.now - timedelta(days=DAYS), at=at)
        work(run, clock=lambda: at)
        found = Break.objects.filter(gone_at=None)
        return set(found.values_list("kind", "object_id"))


# --- Faults ---------------------------------------------------------------------------------------
Fault = Callable[[Town], tuple[str, str]]
FAULTS: list[Fault] = []


def fault(plant: Fault) -> Fault:
    """Register a way to damage one side; it returns the break that it is."""
    FAULTS.append(plant)
    return plant


def intent(payment: Payment) -> str:
    return str(payment.intent_id)


def books_say(payment: Payment, **values: Any) -> None:
    Payment.objects.filter(pk=payment.pk).update(**values)


@contextmanager
def unguarded(table: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER never_changed")
        cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER never_truncated")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def header(reference: str, kind: TransactionKind = TransactionKind.PURCHASE) -> Header:
    key = uuid4()
    return Header(
        kind=kind,
        at=timezone.now(),
        caller="system",
        key=key,
        fingerprint=keys.fingerprint("x", str(key)),
        reference_id=reference,
    )


@fault
def a_stranger_pays(town: Town) -> tuple[str, str]:
    return BreakKind.UNKNOWN, town.paid(None)


@fault
def a_payment_is_never_told(town: Town) -> tuple[str, str]:
    return BreakKind.NOT_CREDITED, town.paid(town.opened())


@fault
def a_payment_that_ended_is_paid(town: Town) -> tuple[str, str]:
    payment = town.opened()
    books_say(payment, status="ended")
    return BreakKind.ENDED, town.paid(payment)


@fault
def a_payment_is_not_at_stripe(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.forgotten(intent(payment))
    return BreakKind.NOT_PAID, intent(payment)


@fault
def a_payment_was_cancelled_at_stripe(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.change(intent(payment), status="canceled", amount_received=0)
    return BreakKind.NOT_PAID, intent(payment)


@fault
def stripe_took_another_amount(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.change(intent(payment), amount_received=payment.charged_minor - 1)
    return BreakKind.AMOUNT, intent(payment)


@fault
def the_books_count_another_amount(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    books_say(payment, charged_minor=payment.charged_minor + 1)
    return BreakKind.AMOUNT, intent(payment)


@fault
def stripe_took_another_currency(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.change(intent(payment), currency="eur")
    return BreakKind.CURRENCY, intent(payment)


@fault
def the_books_count_another_currency(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    books_say(payment, currency="zar")
    return BreakKind.CURRENCY, intent(payment)


@fault
def another_customer_paid(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.change(intent(payment), customer="cus_of_somebody_else")
    return BreakKind.CUSTOMER, intent(payment)


@fault
def the_tax_is_another(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    books_say(payment, tax_minor=payment.tax_minor + 7)
    return BreakKind.TAX, intent(payment)


@fault
def other_credits_were_bought(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    books_say(payment, credits=F("credits") + 1)
    return BreakKind.GRANT, intent(payment)


@fault
def another_price_was_asked(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    books_say(payment, net_minor=payment.net_minor - 1)
    return BreakKind.GRANT, intent(payment)


@fault
def another_wallet_got_them(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    others = [user for user in town.users if user.pk != payment.user_id]
    books_say(payment, wallet=wallet_of(others[0]))
    return BreakKind.GRANT, intent(payment)


def sold(wallet: Any, reference: str) -> str:
    posted = posting.post_grant(
        wallet=wallet,
        amount=10,
        credit_type=CreditType.PURCHASE,
        source=GrantSource.PACKAGE,
        paid_minor=100,
        currency="usd",
        header=header(reference),
    )
    assert posted.grant_ids
    return str(posted.grant_ids[0])


@fault
def credits_are_given_twice(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    return BreakKind.DOUBLE, sold(payment.wallet_id, intent(payment))


@fault
def credits_are_given_without_a_payment(town: Town) -> tuple[str, str]:
    return BreakKind.NO_PAYMENT, sold(wallet_of(town.users[0]).pk, "pi_of_nobody")


@fault
def nobody_is_asked_to_look(town: Town) -> tuple[str, str]:
    payment = town.settled(town.paid(None))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM billing_reviewitem WHERE payment_id = %s", [payment.pk])
    assert not ReviewItem.objects.filter(payment=payment)
    return BreakKind.UNREVIEWED, intent(payment)


@fault
def a_refund_is_never_told(town: Town) -> tuple[str, str]:
    return BreakKind.REFUND_MISSING, town.refunded(town.untouched(), 300)


@fault
def a_refund_is_not_at_stripe(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = town.refunded(payment, 300)
    town.settled(intent(payment))
    town.forgotten(id)
    town.change(town.charge_of(payment)["id"], amount_refunded=0)
    return BreakKind.REFUND_UNKNOWN, id


@fault
def a_refund_is_of_another_amount(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = town.refunded(payment, 300)
    town.settled(intent(payment))
    town.change(id, amount=301)
    town.change(town.charge_of(payment)["id"], amount_refunded=301)
    return BreakKind.REFUND_AMOUNT, id


@fault
def a_refund_fails_untold(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = town.refunded(payment, 300)
    town.settled(intent(payment))
    with town.at_stripe() as sandbox:
        sandbox_refunds.fail(sandbox, id)
    return BreakKind.REFUND_STATE, id


@fault
def a_refund_is_never_sent(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    asked = ask_refund(payment, 100, key=str(payment.pk))
    Refund.objects.filter(pk=asked.pk).update(asked_at=town.now - timedelta(hours=5))
    return BreakKind.REFUND_LATE, f"refund:{asked.pk}"


@fault
def a_dispute_is_never_told(town: Town) -> tuple[str, str]:
    return BreakKind.DISPUTE_MISSING, town.disputed(town.untouched(), 1_000)


@fault
def a_dispute_is_not_at_stripe(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = town.disputed(payment, 1_000)
    town.settled(intent(payment))
    town.forgotten(id)
    town.change(town.charge_of(payment)["id"], disputed=False)
    return BreakKind.DISPUTE_UNKNOWN, id


@fault
def a_dispute_is_of_another_amount(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = town.disputed(payment, 900)
    town.settled(intent(payment))
    town.change(id, amount=901)
    return BreakKind.DISPUTE_AMOUNT, id


@fault
def a_dispute_is_lost_untold(town: Town) -> tuple[str, str]:
    return BreakKind.DISPUTE_STATE, decided_untold(town, "lost")


@fault
def a_dispute_is_won_untold(town: Town) -> tuple[str, str]:
    return BreakKind.DISPUTE_STATE, decided_untold(town, "won")


def decided_untold(town: Town, outcome: str) -> str:
    payment = town.untouched()
    id = town.disputed(payment, 1_000)
    town.settled(intent(payment))
    town.decided(id, outcome)
    return id


@fault
def the_counter_is_wrong(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.refunded(payment, 300)
    town.settled(intent(payment))
    books_say(payment, returned_minor=200)
    return BreakKind.RETURNED, intent(payment)


@fault
def credits_stay_though_money_went_back(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    town.refunded(payment, 500)
    grant = town.settled(intent(payment)).grant
    assert grant
    posting.claw_back(
        grant=grant.pk,
        target=0,
        returned_minor=grant.returned_minor,
        header=header("", TransactionKind.REINSTATEMENT),
    )
    return BreakKind.CLAWBACK, intent(payment)


@fault
def credits_are_frozen_for_nothing(town: Town) -> tuple[str, str]:
    payment = town.untouched(grant__remaining__gt=0)
    posting.freeze(grants=[payment.grant_id], frozen=True, at=town.now)  # type: ignore[list-item]
    return BreakKind.FROZEN, intent(payment)


@fault
def an_event_of_another_mode_is_kept(town: Town) -> tuple[str, str]:
    account = f"acct_{uuid4().hex[:8]}"
    StripeEvent.objects.create(
        event_id=f"evt_{account}",
        type="payment_intent.succeeded",
        livemode=True,
        account=account,
        created_at=town.some_time(),
        received_at=town.some_time(),
        status="ignored",
    )
    return BreakKind.FOREIGN, f"{account} live"


@fault
def a_refund_is_noted_in_the_books_alone(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = f"re_{uuid4().hex}"
    PaymentEffect.objects.create(
        payment=payment, object_id=id, effect="refunded", amount_minor=10, at=town.now
    )
    return BreakKind.REFUND_UNKNOWN, id


@fault
def a_refund_is_noted_with_another_amount(town: Town) -> tuple[str, str]:
    payment = town.untouched()
    id = town.refunded(payment, 300)
    town.settled(intent(payment))
    with unguarded("billing_paymenteffect"):
        PaymentEffect.objects.filter(object_id=id).update(amount_minor=299)
    return BreakKind.REFUND_AMOUNT, id


def planted(town: Town, number: int) -> Named:
    """Plant so many faults, of each kind in turn; return the breaks that they are."""
    return {FAULTS[n % len(FAULTS)](town) for n in range(number)}
