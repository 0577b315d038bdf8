"""Auto top-ups for tests: who agreed to one, and a Stripe of dataclasses that charges cards."""

from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pytest

from accounts.models import User
from billing import gateway
from billing.models import AutoTopUp, StripeCustomer, TopUp
from billing.services import top_up_charges
from billing.stripe_objects import Card, PaymentIntent
from billing.tests.payments import FakeStripe
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.services.posting import Posting
from ledger.tests.factories import AT, CustomerFactory, spend, wallet_with_credits

CARD = {
    "card_id": "pm_1",
    "card_brand": "visa",
    "card_last4": "4242",
    "card_expires": "2040-12",
}


class FakeCards(FakeStripe):
    """Charges each card once for a key; ``says`` is what the bank says, if not yes."""

    def __init__(self) -> None:
        super().__init__()
        self.says: Exception | None = None
        self.charges: list[dict[str, Any]] = []
        self.answers: dict[str, str] = {}
        self.cancelled: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().install(monkeypatch)
        monkeypatch.setattr(gateway, "pay_off_session", self.pay_off_session)
        monkeypatch.setattr(gateway, "list_payment_intents", self.intents_of)
        monkeypatch.setattr(gateway, "list_cards", lambda customer: [the_card()])
        monkeypatch.setattr(gateway, "cancel_payment_intent", self.cancel)

    def pay_off_session(self, *, idempotency_key: str, **given: Any) -> PaymentIntent:
        self.charges.append(given | {"idempotency_key": idempotency_key})
        self.before_answer()
        if self.says:
            raise self.says
        if idempotency_key not in self.answers:
            self.answers[idempotency_key] = self.paid(
                amount_minor=given["amount_minor"],
                currency=given["currency"],
                customer=given["customer"],
                metadata=given["metadata"],
            )
        return self.intents[self.answers[idempotency_key]]

    def cancel(self, id: str, *, idempotency_key: str) -> None:
        self.cancelled.append(id)

    def intents_of(self, since: datetime, *, customer: str) -> list[PaymentIntent]:
        return [intent for intent in self.intents.values() if intent.customer == customer]

    def set_status(self, id: str, status: str, failure: str | None = None) -> None:
        self.intents[id] = replace(
            self.intents[id], status=status, received_minor=0, failure=failure
        )


def the_card(id: str = "pm_1", last4: str = "4242") -> Card:
    return Card(id=id, brand="visa", last4=last4, expires=(2040, 12))


def declined(reason: str = "insufficient_funds", intent: str | None = None) -> Exception:
    kind = gateway.PaymentDeclined
    if reason == "authentication_required":
        kind = gateway.AuthenticationRequired
    return kind("No.", reason=reason, payment_intent=intent)


def customer() -> User:
    return cast("User", CustomerFactory())


def agreed(user: User | None = None, *, left: int = 150, **more: Any) -> AutoTopUp:
    """Return what a user with ``left`` credits agreed to: 500 for 50.00 at 100 or fewer."""
    user = user or customer()
    StripeCustomer.objects.get_or_create(
        user=user, defaults={"customer_id": f"cus_{user.pk}", "created_at": AT}
    )
    wallet = wallet_with_credits(user, award=left) if left else wallet_of(user)
    given: dict[str, Any] = {
        "is_enabled": True,
        "threshold": 100,
        "amount": 500,
        "monthly_limit": 2_000,
        "currency": "usd",
        "agreed_minor": 5_000,
        "agreed_at": AT,
        "created_at": AT,
        "changed_at": AT,
        **CARD,
    }
    return AutoTopUp.objects.create(user=user, wallet=wallet, **given | more)


def low(**more: Any) -> AutoTopUp:
    """Return what a user agreed to whose credits have fallen to 90."""
    return agreed(left=90, **more)


def look(at: datetime = AT) -> None:
    """Do what the worker does every few seconds."""
    top_up_charges.top_up(clock=lambda: at)


def now_of(auto: AutoTopUp) -> AutoTopUp:
    return AutoTopUp.objects.select_related("user", "wallet").get(pk=auto.pk)


def statuses(auto: AutoTopUp) -> list[str]:
    return list(
        TopUp.objects.filter(auto_top_up=auto).order_by("number").values_list("status", flat=True)
    )


def purchased(auto: AutoTopUp) -> int:
    return Wallet.objects.get(pk=auto.wallet_id).purchase


def use(auto: AutoTopUp, credits: int, at: datetime = AT) -> Posting:
    return spend(Wallet.objects.get(pk=auto.wallet_id), credits, at=at)


def is_off(auto: AutoTopUp, why: str) -> bool:
    found = now_of(auto)
    return not found.is_enabled and found.ended_why == why
