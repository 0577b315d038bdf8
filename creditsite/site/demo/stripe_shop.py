"""What is bought in the demo, paid with test cards at the local Stripe."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from accounts.models import User
from billing import gateway
from billing.models import Offer, Payment, Refund, StripeCustomer, StripePrice, Subscription
from billing.queries.subscriptions import price_of
from billing.services import payments, refunds, settlement, subscriptions
from billing.services.quotes import quote_purchase
from billing.services.redemptions import reserve_promotion
from billing.services.settlement import State
from billing.services.slices import post_due_slices
from billing.services.subscribing import subscribe
from creditsite.links import site_link
from creditsite.site.demo.local_stripe import LocalStripe
from creditsite.site.demo.shop import description_of, wallet_named

# Stripe's clock runs on while the demo shops: what it does at an instant is there a little later.
SOON = timedelta(minutes=5)


@dataclass
class AtStripe:
    """A payment as Stripe has it, and what was read of it after each act."""

    customer: str
    session: str
    intent: str
    public_id: UUID
    refund_key: UUID = field(default_factory=uuid4)
    dispute: str = ""
    states: dict[str, State] = field(default_factory=dict)


@dataclass
class PlanAtStripe:
    """A subscription as Stripe has it, and what was read of it after each act."""

    id: str
    states: dict[str, subscriptions.State] = field(default_factory=dict)


class StripeShop:
    """
    Purchases and subscriptions at the local Stripe.

    All of it happens there first, by :meth:`go_shopping`: Stripe is not called inside a
    transaction, and the story that the other acts belong to is told in one. They bring the books to
    what Stripe had at that time, as the tasks of production do.
    """

    def __init__(self, people: dict[str, User], stripe: LocalStripe) -> None:
        self.people, self.stripe = people, stripe
        self.paid: dict[str, AtStripe] = {}
        self.plans: dict[str, PlanAtStripe] = {}

    # --- At Stripe --------------------------------------------------------------------------------
    def go_shopping(self, acts: Iterable[tuple[datetime, str, str, dict[str, Any]]]) -> None:
        """Do at Stripe, in the order of time, what is said as instant, act, who and what."""
        self._begin()
        for at, act, who, given in acts:
            self.stripe.move_to(at)
            mark = given["mark"]
            if act == "subscribe":
                self.plans[mark] = self._subscribe(at, who, **given)
            if mark in self.plans:
                self.plans[mark].states[act] = subscriptions.read_state(self.plans[mark].id)
                continue
            if act == "buy":
                self.paid[mark] = self._pay(at, who, **given)
            paid = self.paid[mark]
            if act == "dispute":
                paid.dispute = self.stripe.order("disputes", payment_intent=paid.intent)["id"]
            elif act == "lose":
                self.stripe.order(f"disputes/{paid.dispute}", outcome="lost")
            elif act == "refund":
                self._send_back(paid, given["amount_minor"])
            paid.states[act] = state_of(paid)
        self.stripe.move_to_now()

    def _begin(self) -> None:
        """Forget what an earlier attempt had there, of which nothing came into the books."""
        users = list(self.people.values())
        StripeCustomer.objects.filter(user__in=users).delete()
        Subscription.objects.filter(user__in=users, subscription_id=None).delete()
        StripePrice.objects.all().delete()
        self.stripe.begin()

    def _pay(self, at: datetime, who: str, mark: str, by: str = "", **wanted: Any) -> AtStripe:
        user, public_id = self.people[by or who], uuid4()
        quote = quote_purchase(user=user, at=at, **wanted).quote
        customer = payments.customer_of(user, at=at)
        session = gateway.create_payment_checkout(
            customer=customer,
            lines=[gateway.Line(description_of(quote), quote.total_minor, quote.currency)],
            success_url=home(),
            cancel_url=home(),
            metadata={"payment": str(public_id)},
            idempotency_key=f"checkout:{public_id}",
        )
        self.stripe.pay(session.url or "")
        intent = gateway.retrieve_checkout(session.id).payment_intent
        return AtStripe(customer, session.id, intent or "", public_id)

    def _subscribe(
        self, at: datetime, who: str, mark: str, plan: str, interval: str
    ) -> PlanAtStripe:
        user = self.people[who]
        session = subscribe(
            user=user,
            wallet=wallet_named(self.people, who),
            price=price_of(Offer.objects.get(code=plan), interval, "", at),
            success_url=home(),
            cancel_url=home(),
            caller=f"user:{user.pk}",
            idempotency_key=str(uuid4()),
            at=at,
        )
        self.stripe.pay(session.url or "")
        return PlanAtStripe(gateway.retrieve_checkout(session.id).subscription or "")

    def _send_back(self, paid: AtStripe, amount_minor: int) -> None:
        gateway.refund_payment(
            payment_intent=paid.intent,
            amount_minor=amount_minor,
            currency=paid.states["buy"].intent.currency,
            metadata={"refund": str(paid.refund_key)},
            idempotency_key=f"refund:{paid.refund_key}",
        )

    # --- In the books -----------------------------------------------------------------------------
    def buy(self, who: str, at: datetime, mark: str, by: str = "", **wanted: Any) -> None:
        user, paid = self.people[by or who], self.paid[mark]
        purchase = quote_purchase(user=user, at=at, **wanted)
        quote, key = purchase.quote, f"demo:{paid.public_id}"
        redemption = None
        if promotion := purchase.promotion:
            redemption = reserve_promotion(
                promotion=promotion, user=user, quote=quote, package="", key=key, at=at
            )
        payment = payments.open_payment(
            user=user,
            wallet=wallet_named(self.people, who),
            credits=quote.credits,
            net_minor=quote.total_minor,
            currency=quote.currency,
            description=description_of(quote),
            caller=f"user:{user.pk}",
            idempotency_key=key,
            at=at,
            redemption=redemption,
        )
        Payment.objects.filter(pk=payment.pk).update(
            public_id=paid.public_id,
            session_id=paid.session,
            intent_id=paid.intent,
            customer_id=paid.customer,
        )
        self._settle(paid, "buy", at)

    def dispute(self, who: str, at: datetime, mark: str) -> None:
        self._settle(self.paid[mark], "dispute", at)

    def lose(self, who: str, at: datetime, mark: str) -> None:
        self._settle(self.paid[mark], "lose", at)

    def refund(
        self, who: str, at: datetime, mark: str, amount_minor: int, reason: str = ""
    ) -> None:
        """Refund what staff give a reason for; what has none was refunded in Stripe itself."""
        paid = self.paid[mark]
        if reason:
            finance = self.people["finance"]
            asked = refunds.refund_payment(
                payment=Payment.objects.get(intent_id=paid.intent),
                amount_minor=amount_minor,
                reason=reason,
                actor=finance,
                caller=f"user:{finance.pk}",
                at=at,
                idempotency_key=f"demo:{paid.refund_key}",
            )
            Refund.objects.filter(pk=asked.pk).update(key=paid.refund_key)
        self._settle(paid, "refund", at)

    def subscribe(self, who: str, at: datetime, mark: str, plan: str, interval: str) -> None:
        state = self.plans[mark].states["subscribe"]
        subscriptions.adopt(state.subscription, at + SOON)
        self._follow(mark, "subscribe", at + SOON)

    def renew(self, who: str, at: datetime, mark: str) -> None:
        self._follow(mark, "renew", at + SOON)

    def _follow(self, mark: str, act: str, at: datetime) -> None:
        plan = self.plans[mark]
        known = subscriptions.begin_to_read(plan.id)
        if known is None:
            raise LookupError(plan.id)
        subscriptions.bring_to(known, plan.states[act], at)
        post_due_slices(clock=lambda: at, subscription=known.pk)

    def _settle(self, paid: AtStripe, act: str, at: datetime) -> None:
        payment = settlement.begin_to_read(paid.intent)
        if payment is None:
            raise LookupError(paid.intent)
        settlement.bring_to(payment, paid.states[act], at)


def home() -> str:
    return site_link("/") or "http://127.0.0.1/"


def state_of(paid: AtStripe) -> State:
    return State(
        gateway.retrieve_payment_intent(paid.intent),
        gateway.refunds_of(paid.intent),
        gateway.disputes_of(paid.intent),
        gateway.retrieve_checkout(paid.session),
    )
