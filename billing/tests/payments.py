"""Payments for tests: at a Stripe made of our own dataclasses, or at the local one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from billing import gateway
from billing.models import Payment, Redemption, StripeCustomer, StripeEvent
from billing.services import inbox, payments, refunds, settlement
from billing.stripe_objects import Dispute, Event, PaymentIntent, Refund
from ledger.models import Grant, Wallet
from ledger.money_rule import deferred_minor, recognised_minor
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import AT, CustomerFactory

serial = count(1)


def clock() -> datetime:
    return AT


def opened(
    user: User | None = None, *, credits: int = 100, net_minor: int = 1_000, **more: Any
) -> Payment:
    """Return a payment that a user is about to make, with their customer at Stripe."""
    user = user or CustomerFactory()
    StripeCustomer.objects.get_or_create(
        user=user, defaults={"customer_id": f"cus_{user.pk}", "created_at": AT}
    )
    given: dict[str, Any] = {
        "wallet": wallet_of(user),
        "currency": "usd",
        "description": f"{credits} credits",
        "caller": f"user:{user.pk}",
        "idempotency_key": str(uuid4()),
        "at": AT,
    }
    return payments.open_payment(user=user, credits=credits, net_minor=net_minor, **given | more)


class FakeStripe:
    """What Stripe has of payments; ``install`` puts it behind the gateway."""

    def __init__(self) -> None:
        self.intents: dict[str, PaymentIntent] = {}
        self.refunds: dict[str, Refund] = {}
        self.disputes: dict[str, Dispute] = {}
        self.before_answer: Callable[[], None] = lambda: None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gateway, "retrieve_payment_intent", self.retrieve)
        monkeypatch.setattr(gateway, "refunds_of", lambda pi: self.of(self.refunds, pi))
        monkeypatch.setattr(gateway, "disputes_of", lambda pi: self.of(self.disputes, pi))
        monkeypatch.setattr(gateway, "refund_payment", self.refund_payment)
        monkeypatch.setattr(gateway, "invoice_of_payment", self.invoice_of_payment)

    def invoice_of_payment(self, intent_id: str) -> str | None:
        return None

    def forget(self) -> None:
        """Forget all: what is done need not be searched through any more."""
        for each in (self.intents, self.refunds, self.disputes):
            each.clear()

    def retrieve(self, id: str) -> PaymentIntent:
        found = self.intents[id]
        self.before_answer()
        return found

    def of(self, objects: dict[str, Any], intent_id: str) -> list[Any]:
        found = [each for each in list(objects.values()) if each.payment_intent == intent_id]
        self.before_answer()
        return found

    def paid(self, payment: Payment | None = None, **more: Any) -> str:
        """Let an intent be paid; return its id."""
        id = f"pi_{next(serial)}"
        given: dict[str, Any] = {
            "amount_minor": 1_000,
            "currency": "usd",
            "customer": "cus_stranger",
            "metadata": {},
        }
        if payment:
            given = {
                "amount_minor": payment.net_minor + payment.tax_minor,
                "currency": payment.currency,
                "customer": f"cus_{payment.user_id}",
                "metadata": {"payment": str(payment.public_id)},
            }
        given |= more
        self.intents[id] = PaymentIntent(
            id=id,
            status="succeeded",
            received_minor=given["amount_minor"],
            refunded_minor=0,
            payment_method=None,
            charge=f"ch_{id}",
            is_disputed=False,
            receipt_url=None,
            client_secret=None,
            failure=None,
            created_at=AT,
            **given,
        )
        return id

    def refund(self, intent_id: str, amount_minor: int, metadata: Any = None) -> str:
        intent, id = self.intents[intent_id], f"re_{next(serial)}"
        self.refunds[id] = Refund(
            id, "succeeded", amount_minor, intent.currency, intent_id, None, metadata or {}, AT
        )
        refunded = intent.refunded_minor + amount_minor
        self.intents[intent_id] = replace(intent, refunded_minor=refunded)
        return id

    def fail_refund(self, id: str) -> None:
        refund = self.refunds[id]
        self.refunds[id] = replace(refund, status="failed", failure="lost_or_stolen_card")
        intent = self.intents[str(refund.payment_intent)]
        refunded = intent.refunded_minor - refund.amount_minor
        self.intents[intent.id] = replace(intent, refunded_minor=refunded)

    def dispute(self, intent_id: str, amount_minor: int, status: str = "needs_response") -> str:
        intent, id = self.intents[intent_id], f"du_{next(serial)}"
        self.disputes[id] = Dispute(
            id=id,
            status=status,
            reason="fraudulent",
            amount_minor=amount_minor,
            withdrawn_minor=amount_minor,
            currency=intent.currency,
            payment_intent=intent_id,
            is_refundable=False,
            has_evidence=False,
            evidence_due_at=AT + timedelta(days=9),
            metadata={},
            created_at=AT,
        )
        self.intents[intent_id] = replace(intent, is_disputed=True)
        return id

    def decide(self, id: str, status: str) -> None:
        self.disputes[id] = replace(self.disputes[id], status=status)

    def refund_payment(
        self, *, payment_intent: str, amount_minor: int, metadata: Any, **more: Any
    ) -> Refund:
        """Make a refund, whatever the key: it has been forgotten."""
        self.before_answer()
        return self.refunds[self.refund(payment_intent, amount_minor, metadata)]


def settle(intent_id: str, at: datetime = AT) -> Payment | None:
    return settlement.settle_payment(intent_id, clock=lambda: at)


def bought(stripe: FakeStripe, **more: Any) -> Payment:
    """Return a payment that was made, and its credits given."""
    paid = settle(stripe.paid(opened(**more)))
    assert paid is not None
    return paid


def told(type: str, object_id: str, intent_id: str = "", at: datetime = AT) -> StripeEvent:
    """Have an event of this type in the inbox, as a webhook leaves it there."""
    item: dict[str, Any] = {"id": object_id, "object": type.split(".")[0]}
    if intent_id:
        item["payment_intent"] = intent_id
    payload = {"id": f"evt_{next(serial)}", "livemode": False, "data": {"object": item}}
    event = Event(payload["id"], type, object_id, item["object"], None, at, payload)
    inbox.keep_events([event], at)
    return StripeEvent.objects.get(event_id=event.id)


def money(wallet: Wallet) -> dict[str, int]:
    """Return the wallet's deferred and recognised money, in minor units."""
    total = {"deferred": 0, "recognised": 0}
    for grant in Grant.objects.filter(wallet=wallet):
        figures = {
            "paid_minor": grant.paid_minor - grant.carried_minor,
            "returned_minor": grant.returned_minor,
            "consumed": grant.consumed,
            "amount": grant.amount - grant.carried,
        }
        total["deferred"] += deferred_minor(**figures)
        total["recognised"] += recognised_minor(**figures)
    return total


def books_of(payment: Payment) -> dict[str, Any]:
    """Return all that a payment came to: itself, its grants, and its wallet."""
    payment = Payment.objects.get(pk=payment.pk)
    wallet = Wallet.objects.get(pk=payment.wallet_id)
    grants = Grant.objects.filter(wallet=wallet).order_by("credit_type", "effective_at", "pk")
    names = "credit_type", "amount", "remaining", "clawback_target", "returned_minor", "is_frozen"
    return {
        "payment": [
            payment.status,
            payment.charged_minor,
            payment.refunded_minor,
            payment.charged_back_minor,
            payment.returned_minor,
            payment.is_disputed,
        ],
        "grants": list(grants.values_list(*names)),
        "wallet": [wallet.award, wallet.purchase, wallet.debt],
        "money": money(wallet),
    }


def ask_refund(
    payment: Payment, amount_minor: int, actor: User | None = None, key: str = "k", **more: Any
) -> Any:
    return refunds.refund_payment(
        payment=payment,
        amount_minor=amount_minor,
        reason="they asked",
        actor=actor,
        caller="user:1",
        at=AT,
        idempotency_key=key,
        **more,
    )


def bonus_of(payment: Payment) -> Grant:
    redemption = Redemption.objects.get(payment=payment)
    assert redemption.grant is not None
    return redemption.grant
