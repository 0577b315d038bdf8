"""Subscriptions for tests: at a Stripe made of our own dataclasses."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import User
from billing import gateway
from billing.models import OfferPrice, Payment, Slice, StripeCustomer, StripePrice, Subscription
from billing.queries.offers import newest_version
from billing.services import slices, subscriptions
from billing.services.offers import Price
from billing.stripe_objects import Invoice, InvoiceLine
from billing.stripe_objects import Subscription as AtStripe
from billing.stripe_sandbox.clock import plus_months
from billing.stripe_sandbox.money import share
from billing.tests.payments import FakeStripe, serial
from billing.tests.sale import plan
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import AT, CustomerFactory

MONTHS = {"month": 1, "year": 12}


def price(
    code: str = "small",
    amount_minor: int = 1_000,
    credits: int = 100,
    interval: str = "month",
    **more: Any,
) -> OfferPrice:
    """Return the price of a plan, known at Stripe; of one that is there already if it is."""
    prices = [Price("usd", "month", amount_minor), Price("usd", "year", amount_minor * 10)]
    offer = plan(code, credits=credits, prices=prices, name=code.title(), **more)
    for each in newest_version(offer).prices.all():
        at_stripe(each)
    return newest_version(offer).prices.get(interval=interval)


def at_stripe(each: OfferPrice) -> str:
    id = f"price_{each.pk}"
    StripePrice.objects.get_or_create(offer_price=each, defaults={"price_id": id})
    return id


def by_year(month: OfferPrice) -> OfferPrice:
    return month.version.prices.get(interval="year")


def later(instant: datetime, months: int) -> datetime:
    return datetime.fromtimestamp(plus_months(int(instant.timestamp()), months), UTC)


class FakeBilling(FakeStripe):
    """What Stripe has of subscriptions, too; at each act it is ``now`` there."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: dict[str, AtStripe] = {}
        self.invoices: dict[str, Invoice] = {}
        self.prices: dict[str, OfferPrice] = {}
        self.now = AT
        self.tax_percent = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().install(monkeypatch)
        monkeypatch.setattr(gateway, "retrieve_subscription", self.retrieve_subscription)
        monkeypatch.setattr(gateway, "retrieve_invoice", self.invoices.__getitem__)
        monkeypatch.setattr(gateway, "invoices_of", self.invoices_of)
        monkeypatch.setattr(gateway, "change_subscription", self.change_subscription)
        monkeypatch.setattr(gateway, "end_with_period", self.end_with_period)
        monkeypatch.setattr(gateway, "keep_subscription", self.keep_subscription)
        monkeypatch.setattr(gateway, "cancel_subscription", self.cancel_subscription)

    def retrieve_subscription(self, id: str) -> AtStripe:
        found = self.subscriptions[id]
        self.before_answer()
        return found

    def invoices_of(self, id: str) -> list[Invoice]:
        found = [each for each in list(self.invoices.values()) if each.subscription == id]
        self.before_answer()
        return found[::-1]

    def invoice_of_payment(self, intent_id: str) -> str | None:
        found = [i.id for i in list(self.invoices.values()) if i.payment_intent == intent_id]
        return found[0] if found else None

    # --- What happens there -----------------------------------------------------------------------
    def subscribed(self, price: OfferPrice, user: User | None = None, **more: Any) -> str:
        """Let somebody begin a subscription, its first invoice not paid yet; return its id."""
        user = user or CustomerFactory()
        customer = f"cus_{user.pk}"
        StripeCustomer.objects.get_or_create(
            user=user, defaults={"customer_id": customer, "created_at": AT}
        )
        begun = Subscription.objects.create(
            user=user, wallet=wallet_of(user), price=price, status_at=self.now, created_at=self.now
        )
        return self.stranger(
            price, customer=customer, metadata={"subscription": str(begun.public_id)}, **more
        )

    def stranger(self, price: OfferPrice | None, **more: Any) -> str:
        id = f"sub_{next(serial)}"
        months = MONTHS[price.interval] if price else 1
        given: dict[str, Any] = {
            "price": self.known(price) if price else "price_of_somebody",
            "customer": "cus_stranger",
            "metadata": {},
            "status": "incomplete",
        }
        self.subscriptions[id] = AtStripe(
            id=id,
            item=f"si_{id}",
            quantity=1,
            currency="usd",
            period_start=self.now,
            period_end=later(self.now, months),
            cancels_at_period_end=False,
            cancel_at=None,
            ended_at=None,
            latest_invoice=None,
            default_payment_method=None,
            created_at=self.now,
            **given | more,
        )
        return id

    def known(self, price: OfferPrice) -> str:
        id = at_stripe(price)
        self.prices[id] = price
        return id

    def change(self, id: str, **more: Any) -> None:
        self.subscriptions[id] = replace(self.subscriptions[id], **more)

    def line(self, id: str, amount_minor: int, *, is_proration: bool = False, **more: Any) -> Any:
        subscription = self.subscriptions[id]
        given: dict[str, Any] = {
            "price": subscription.price,
            "period_start": subscription.period_start,
            "period_end": subscription.period_end,
        }
        return InvoiceLine(
            id=f"il_{next(serial)}",
            amount_minor=amount_minor,
            tax_minor=0,
            quantity=1,
            is_proration=is_proration,
            **given | more,
        )

    def bill(
        self,
        id: str,
        lines: list[InvoiceLine] | None = None,
        *,
        reason: str = "subscription_create",
        balance_minor: int = 0,
        is_paid: bool = True,
        **more: Any,
    ) -> str:
        """Write an invoice, and let it be paid; return its id."""
        subscription, invoice_id = self.subscriptions[id], f"in_{next(serial)}"
        if lines is None:
            lines = [self.line(id, self.prices[subscription.price].amount_minor)]
        subtotal = sum(line.amount_minor for line in lines)
        tax = subtotal * self.tax_percent // 100
        due = max(subtotal + tax - balance_minor, 0)
        intent = None
        if due:
            intent = self.paid(amount_minor=due, customer=subscription.customer)
        given: dict[str, Any] = {
            "subtotal_minor": subtotal,
            "tax_minor": tax,
            "total_minor": subtotal + tax,
            "due_minor": due,
            "paid_minor": due,
        }
        self.invoices[invoice_id] = Invoice(
            id=invoice_id,
            status="paid",
            reason=reason,
            customer=subscription.customer,
            subscription=id,
            payment_intent=intent,
            currency="usd",
            lines=tuple(lines),
            attempts=1,
            next_attempt_at=None,
            page_url=None,
            created_at=self.now,
            paid_at=self.now,
            **given | more,
        )
        if is_paid:
            self.change(id, status="active", latest_invoice=invoice_id)
        else:
            self.fail(invoice_id)
        return invoice_id

    def fail(self, invoice_id: str) -> None:
        invoice = self.invoices[invoice_id]
        self.invoices[invoice_id] = replace(invoice, status="open", paid_minor=0, paid_at=None)
        if invoice.payment_intent:
            intent = self.intents[invoice.payment_intent]
            self.intents[intent.id] = replace(
                intent, status="requires_payment_method", received_minor=0
            )

    def pay(self, invoice_id: str) -> None:
        """Let an invoice that was not paid be paid after all."""
        invoice = self.invoices[invoice_id]
        self.invoices[invoice_id] = replace(
            invoice, status="paid", paid_minor=invoice.due_minor, paid_at=self.now
        )
        intent = self.intents[str(invoice.payment_intent)]
        self.intents[intent.id] = replace(
            intent, status="succeeded", received_minor=intent.amount_minor
        )
        self.change(str(invoice.subscription), status="active")

    def renew(self, id: str, **more: Any) -> str:
        """Let the next period begin, and its invoice be paid."""
        subscription = self.subscriptions[id]
        months = MONTHS[self.prices[subscription.price].interval]
        self.now = max(self.now, subscription.period_end)
        start = subscription.period_end
        self.change(id, period_start=start, period_end=later(subscription.created_at, 1))
        first = (start.year - subscription.created_at.year) * 12
        first += start.month - subscription.created_at.month
        self.change(id, period_end=later(subscription.created_at, first + months))
        return self.bill(id, reason="subscription_cycle", **more)

    def reprice(self, id: str, price: OfferPrice, **more: Any) -> str | None:
        """Put a subscription on another price now; return the invoice of the difference."""
        before = self.subscriptions[id]
        old, left = self.prices[before.price], before.period_end - self.now
        whole = before.period_end - before.period_start
        parts = int(left.total_seconds()), int(whole.total_seconds())
        period = {"period_start": self.now, "period_end": before.period_end}
        credit = self.line(id, -share(old.amount_minor, *parts), is_proration=True, **period)
        self.change(id, price=self.known(price))
        if MONTHS[price.interval] == MONTHS[old.interval]:
            amount = share(price.amount_minor, *parts)
            lines = [credit, self.line(id, amount, is_proration=True, **period)]
        else:
            end = later(self.now, MONTHS[price.interval])
            self.change(id, period_start=self.now, period_end=end, created_at=self.now)
            lines = [credit, self.line(id, price.amount_minor)]
        return self.bill(id, lines, reason="subscription_update", **more)

    # --- What we ask for --------------------------------------------------------------------------
    def change_subscription(
        self, subscription: AtStripe, *, price: str, bills_now: bool, idempotency_key: str
    ) -> AtStripe:
        self.before_answer()
        if bills_now:
            self.reprice(subscription.id, self.prices[price])
        else:
            self.change(subscription.id, price=price)
        return self.subscriptions[subscription.id]

    def end_with_period(self, id: str, *, idempotency_key: str) -> AtStripe:
        self.change(id, cancels_at_period_end=True)
        return self.subscriptions[id]

    def keep_subscription(self, id: str, *, idempotency_key: str) -> AtStripe:
        self.change(id, cancels_at_period_end=False)
        return self.subscriptions[id]

    def cancel_subscription(self, id: str) -> AtStripe:
        self.change(id, status="canceled", ended_at=self.now)
        return self.subscriptions[id]


def settle(id: str, at: datetime = AT) -> Subscription:
    settled = subscriptions.settle_subscription(id, clock=lambda: at)
    assert settled is not None
    return settled


def post(at: datetime) -> int:
    return slices.post_due_slices(clock=lambda: at)


def begun(stripe: FakeBilling, of: OfferPrice, **more: Any) -> Subscription:
    """Return a subscription whose first invoice is paid and settled."""
    id = stripe.subscribed(of, **more)
    stripe.bill(id)
    return settle(id, stripe.now)


def months(subscription: Subscription) -> list[tuple[str, int, str]]:
    """Return the months of a subscription: when they begin, their credits, how they stand."""
    found = Slice.objects.filter(subscription=subscription).order_by("due_at", "pk")
    return [(f"{s.starts_at:%Y-%m-%d}", s.credits - s.voided, str(s.status)) for s in found]


def purse(subscription: Subscription) -> Wallet:
    return Wallet.objects.get(pk=subscription.wallet_id)


def payment_of(invoice_id: str) -> Payment:
    return Payment.objects.get(invoice_id=invoice_id)


DAY = timedelta(days=1)
