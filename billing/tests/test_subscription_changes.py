"""What is asked for of a subscription is done once, whoever dies over it."""

import pytest

from accounts.errors import NotPermitted
from accounts.models import User
from audit.models import AuditEvent
from billing import gateway
from billing.choices import ChangeKind
from billing.errors import ChangeWaiting, NotChangeable, NotForSale, NotSubscribed
from billing.models import OfferPrice, Payment, Subscription, SubscriptionChange
from billing.services import subscription_changes as changes
from billing.services.offers import change_offer, terms_of
from billing.tests.subscriptions import (
    DAY,
    FakeBilling,
    begun,
    by_year,
    later,
    price,
    purse,
    settle,
)
from ledger.errors import IdempotencyKeyReused, OwnWallet
from ledger.tests.factories import AT, finance

pytestmark = pytest.mark.django_db


def asked(subscription: Subscription, kind: str, key: str = "k", **more: object):
    acts = {
        "cancel": changes.cancel_at_period_end,
        "keep": changes.keep_subscription,
        "end": changes.end_now,
        "plan": changes.change_plan,
    }
    given = {
        "subscription": subscription,
        "actor": subscription.user,
        "caller": "user:1",
        "idempotency_key": key,
        "clock": lambda: AT,
    }
    return acts[kind](**given | more)


def to(subscription: Subscription, price: OfferPrice, key: str = "k", **more: object):
    return asked(subscription, "plan", key, price=price, **more)


def fresh(subscription: Subscription) -> Subscription:
    return Subscription.objects.get(pk=subscription.pk)


class TestChangePlan:
    def test_to_more_is_paid_and_given_at_once(self, fake_billing: FakeBilling):
        subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)
        fake_billing.known(large)
        fake_billing.now = AT + 15 * DAY
        change = to(subscription, large, clock=lambda: fake_billing.now)
        assert (change.kind, change.status) == ("upgrade", "done")
        assert fresh(subscription).price == large
        assert purse(subscription).purchase == 250

    def test_to_less_waits_for_the_next_period_and_can_be_taken_back(
        self, fake_billing: FakeBilling
    ):
        small, large = price(), price("large", 3_000, 400)
        fake_billing.known(small)
        subscription = begun(fake_billing, large)
        assert to(subscription, small).kind == "downgrade"
        assert (fresh(subscription).price, fresh(subscription).next_price) == (large, small)
        assert to(subscription, large, "k2").kind == "stay"
        assert fresh(subscription).next_price is None
        assert purse(subscription).purchase == 400
        assert Payment.objects.count() == 1

    def test_down_and_up_within_a_period_costs_and_gives_nothing(self, fake_billing: FakeBilling):
        small, large = price(), price("large", 3_000, 400)
        fake_billing.known(small)
        subscription = begun(fake_billing, large)
        for number in range(3):
            to(subscription, small, f"down{number}")
            to(subscription, large, f"up{number}")
        assert purse(subscription).purchase == 400
        assert Payment.objects.count() == 1

    def test_to_a_third_takes_that_back_first(self, fake_billing: FakeBilling):
        small, large = price(), price("large", 3_000, 400)
        fake_billing.known(small)
        subscription = begun(fake_billing, large)
        to(subscription, small)
        with pytest.raises(NotChangeable, match="Take that back first"):
            to(subscription, price("huge", 9_000, 900), "k2")

    def test_to_the_year_begins_a_new_period(self, fake_billing: FakeBilling):
        small = price()
        year = by_year(small)
        fake_billing.known(year)
        subscription = begun(fake_billing, small)
        assert to(subscription, year).kind == "upgrade"
        assert fresh(subscription).period_end == later(AT, 12)
        assert purse(subscription).purchase == 100

    def test_refuses_what_cannot_be(self, fake_billing: FakeBilling):
        small, large = price(), price("large", 3_000, 400)
        yearly, monthly = begun(fake_billing, by_year(small)), begun(fake_billing, large)
        with pytest.raises(NotChangeable, match="by the year"):
            to(yearly, small)
        with pytest.raises(NotChangeable, match="smaller"):
            to(monthly, by_year(small))
        with pytest.raises(NotChangeable, match="already"):
            to(monthly, large)
        offer = small.version.offer
        terms = terms_of(small.version)
        change_offer(
            offer=offer,
            terms=type(terms)(
                name="New", credits=5, features=[], prices=terms.prices, rollover_cap=None
            ),
            position=1,
            version=1,
            actor=None,
            at=AT,
            reason="",
        )
        with pytest.raises(NotForSale):
            to(monthly, small)
        assert not SubscriptionChange.objects.exists()

    def test_is_refused_while_a_payment_is_missing(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        id = str(subscription.subscription_id)
        fake_billing.renew(id, is_paid=False)
        fake_billing.change(id, status="past_due")
        with pytest.raises(NotSubscribed):
            to(subscription, price("large", 3_000, 400))

    def test_that_is_declined_changes_nothing(
        self, fake_billing: FakeBilling, monkeypatch: pytest.MonkeyPatch
    ):
        subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)

        def decline(*args: object, **more: object) -> None:
            raise gateway.PaymentDeclined("No.", reason="lost_card", payment_intent=None)

        monkeypatch.setattr(gateway, "change_subscription", decline)
        with pytest.raises(gateway.PaymentDeclined):
            to(subscription, large)
        assert SubscriptionChange.objects.get().status == "refused"
        with pytest.raises(NotChangeable, match=r"No\."):
            to(subscription, large)
        assert purse(subscription).purchase == 100

    def test_is_done_once_for_its_key(self, fake_billing: FakeBilling):
        subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)
        fake_billing.known(large)
        first = to(subscription, large)
        assert to(subscription, large).pk == first.pk
        with pytest.raises(IdempotencyKeyReused):
            to(subscription, price("huge", 9_000, 900))
        assert Payment.objects.count() == 2

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_is_done_once_when_stripe_does_not_answer(
        self, fake_billing: FakeBilling, monkeypatch: pytest.MonkeyPatch, when: str
    ):
        subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)
        fake_billing.known(large)

        def fall_silent(*args: object, **more: object) -> None:
            if when == "after":
                fake_billing.change_subscription(*args, **more)  # type: ignore[arg-type]
            raise gateway.PaymentsUnavailable("Nothing.")

        monkeypatch.setattr(gateway, "change_subscription", fall_silent)
        with pytest.raises(gateway.PaymentsUnavailable):
            to(subscription, large)
        with pytest.raises(ChangeWaiting):
            asked(subscription, "cancel", "other")
        monkeypatch.setattr(gateway, "change_subscription", fake_billing.change_subscription)
        changes.send_changes(clock=lambda: AT + DAY / 48)
        assert SubscriptionChange.objects.get().status == "done"
        assert purse(subscription).purchase == 400
        assert Payment.objects.count() == 2

    def test_is_given_up_when_nobody_expects_it_any_more(
        self, fake_billing: FakeBilling, monkeypatch: pytest.MonkeyPatch
    ):
        subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)
        fake_billing.known(large)
        monkeypatch.setattr(gateway, "change_subscription", lambda *args, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            to(subscription, large)
        monkeypatch.setattr(gateway, "change_subscription", fake_billing.change_subscription)
        changes.send_changes(clock=lambda: AT + DAY)
        assert SubscriptionChange.objects.get().status == "refused"
        assert Payment.objects.count() == 1


class TestCancelling:
    def test_ends_it_with_its_period_and_is_taken_back(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        assert asked(subscription, "cancel").kind == ChangeKind.CANCEL
        assert fresh(subscription).cancels_at == later(AT, 1)
        asked(subscription, "keep", "k2")
        assert fresh(subscription).cancels_at is None
        asked(subscription, "cancel", "k3")
        assert fresh(subscription).cancels_at == later(AT, 1)

    def test_of_what_has_ended_is_refused(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        fake_billing.cancel_subscription(str(subscription.subscription_id))
        with pytest.raises(NotSubscribed):
            asked(subscription, "cancel")


class TestWhoMay:
    def test_staff_with_the_permission_and_a_reason_on_record(self, fake_billing: FakeBilling):
        subscription, actor = begun(fake_billing, price()), finance()
        asked(subscription, "end", actor=actor, reason="the customer asked")
        assert fresh(subscription).status == "canceled"
        event = AuditEvent.objects.get(action="billing.subscription.ended")
        assert (event.actor_id, event.reason) == (actor.pk, "the customer asked")

    def test_nobody_else(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        other = begun(fake_billing, price("other")).user
        for kind in ("cancel", "keep", "end"):
            with pytest.raises(NotPermitted):
                asked(subscription, kind, actor=other)
        with pytest.raises(NotPermitted):
            asked(subscription, "end")
        assert not SubscriptionChange.objects.exists()

    def test_not_staff_of_what_they_may_spend(self, fake_billing: FakeBilling):
        actor: User = finance()
        subscription = begun(fake_billing, price(), user=actor)
        with pytest.raises(OwnWallet):
            asked(subscription, "end", actor=actor)
        asked(subscription, "cancel", actor=actor)
        assert settle(str(subscription.subscription_id)).cancels_at


class TestPreview:
    def test_says_what_it_costs_and_gives(
        self, fake_billing: FakeBilling, monkeypatch: pytest.MonkeyPatch
    ):
        subscription, large = begun(fake_billing, price()), price("large", 3_000, 400)
        fake_billing.known(large)
        fake_billing.now = AT + 15 * DAY

        def preview(read: object, *, price: str, at: object) -> gateway.Invoice:
            before = dict(fake_billing.subscriptions), dict(fake_billing.invoices)
            id = fake_billing.reprice(str(subscription.subscription_id), large)
            invoice = fake_billing.invoices[str(id)]
            fake_billing.subscriptions, fake_billing.invoices = before
            return invoice

        monkeypatch.setattr(gateway, "preview_change", preview)
        seen = changes.preview_change(subscription=subscription, price=large, at=fake_billing.now)
        assert (seen.kind, seen.due_minor, seen.credits) == ("upgrade", 1_000, 150)

    def test_of_less_is_for_the_next_period(self, fake_billing: FakeBilling):
        small = price()
        subscription = begun(fake_billing, price("large", 3_000, 400))
        seen = changes.preview_change(subscription=subscription, price=small, at=AT)
        assert (seen.kind, seen.due_minor) == ("downgrade", 0)
        assert seen.takes_effect_at == later(AT, 1)
