"""Refunds that staff ask for: by the rule, once, whatever dies on the way."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Approval
from accounts.services.approvals import approve
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from billing import gateway
from billing.errors import NotRefundable, RefundWaiting
from billing.gateway import PaymentsUnavailable, StripeRefused
from billing.models import Payment, Refund, ReviewItem
from billing.queries.payments import standing_of
from billing.services import refunds
from billing.services.reviews import resolve_review, write_off_debt
from billing.tests.payments import FakeStripe, ask_refund, bought, settle
from creditsite.errors import NotPermitted
from ledger.errors import ExceedsDebt, IdempotencyKeyReused, OwnWallet
from ledger.models import Wallet
from ledger.tests.books import hold, spend
from ledger.tests.factories import AT, DAY, finance, set_credit_settings

pytestmark = pytest.mark.django_db


def send(at: Any = AT) -> None:
    refunds.send_refunds(clock=lambda: at)


def wallet_of(payment: Payment) -> Wallet:
    return Wallet.objects.get(pk=payment.wallet_id)


def refundable(payment: Payment) -> int:
    return standing_of(Payment.objects.get(pk=payment.pk), AT).refundable_minor


class TestTheRule:
    def test_is_what_is_left_and_not_held_of_what_was_paid(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe, credits=300)
        assert refundable(payment) == 1_000
        spend(payment.wallet_id, 100, AT)
        assert refundable(payment) == 666
        hold(payment.wallet_id, 50, AT, until=AT + DAY)
        assert refundable(payment) == 500
        standing = standing_of(payment, AT)
        assert (standing.spent, standing.expired, standing.held, standing.left) == (100, 0, 50, 200)

    def test_counts_what_went_back(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        spend(payment.wallet_id, 30, AT)
        fake_stripe.refund(payment.intent_id, 500)
        settle(payment.intent_id)
        assert refundable(payment) == 200

    def test_gives_nothing_while_a_chargeback_is_decided(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        fake_stripe.dispute(payment.intent_id, 100)
        settle(payment.intent_id)
        assert refundable(payment) == 0

    def test_gives_all_of_what_was_held_back(self, fake_stripe: FakeStripe):
        payment = settle(fake_stripe.paid())
        assert payment
        assert refundable(payment) == 1_000


class TestRefundPayment:
    def test_sends_money_back_and_the_credits_follow(self, fake_stripe: FakeStripe):
        payment, actor = bought(fake_stripe), finance()
        refund = ask_refund(payment, 400, actor)
        assert refund.status == "waiting"
        send()
        refund.refresh_from_db()
        payment.refresh_from_db()
        assert (refund.status, refund.refund_id in fake_stripe.refunds) == ("succeeded", True)
        assert (payment.returned_minor, wallet_of(payment).purchase) == (400, 60)
        event = AuditEvent.objects.get(action="billing.refund.asked")
        assert (event.actor_id, event.reason, event.after["refund_minor"]) == (
            actor.pk,
            "they asked",
            400,
        )

    def test_is_one_refund_for_one_key(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        first = ask_refund(payment, 400)
        send()
        assert ask_refund(payment, 400).pk == first.pk
        with pytest.raises(IdempotencyKeyReused):
            ask_refund(payment, 300)
        send(AT + DAY)
        assert len(fake_stripe.refunds) == 1

    @pytest.mark.parametrize("amount", [0, -1, 1_001])
    def test_refuses_more_than_the_rule_gives(self, fake_stripe: FakeStripe, amount):
        with pytest.raises(NotRefundable):
            ask_refund(bought(fake_stripe), amount)
        assert not Refund.objects.exists()

    def test_refuses_another_one_while_one_is_on_its_way(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        ask_refund(payment, 400)
        with pytest.raises(RefundWaiting):
            ask_refund(payment, 100, key="other")

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_refuses_who_may_not(self, fake_stripe: FakeStripe, group):
        with pytest.raises(NotPermitted):
            ask_refund(bought(fake_stripe), 400, StaffFactory(groups=group))

    def test_refuses_who_paid_it(self, fake_stripe: FakeStripe):
        actor = finance()
        with pytest.raises(OwnWallet):
            ask_refund(bought(fake_stripe, user=actor), 400, actor)

    def test_of_many_credits_takes_a_second_person(self, fake_stripe: FakeStripe):
        set_credit_settings(approval_adjustment_above=39)
        payment, maker, checker = bought(fake_stripe), finance(), finance()
        assert isinstance(ask_refund(payment, 390, maker, "small"), Refund)
        send()
        approval = ask_refund(payment, 400, maker)
        assert isinstance(approval, Approval)
        assert Refund.objects.count() == 1
        assert ask_refund(payment, 400, maker).pk == approval.pk
        approve(approval=approval, checker=checker, note="", at=AT)
        assert ask_refund(payment, 400, maker) == Refund.objects.latest("pk")
        send()
        assert wallet_of(payment).purchase == 100 - 79

    def test_of_what_nobody_knows_takes_a_second_person(self, fake_stripe: FakeStripe):
        payment = settle(fake_stripe.paid())
        assert isinstance(ask_refund(payment, 1_000, finance()), Approval)

    def test_approved_too_late_is_refused_by_the_rule(self, fake_stripe: FakeStripe):
        set_credit_settings(approval_adjustment_above=10)
        payment = bought(fake_stripe)
        approval = ask_refund(payment, 1_000, finance())
        spend(payment.wallet_id, 1, AT)
        ended = approve(approval=approval, checker=finance(), note="", at=AT)
        assert (ended.status, ended.error) == (
            "failed",
            "Of this payment 9.90 USD can be refunded.",
        )


class TestSendRefunds:
    def test_finds_what_stripe_did_and_we_did_not_hear(
        self, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
    ):
        payment = bought(fake_stripe)
        refund = ask_refund(payment, 400)

        def silent(**given: Any) -> None:
            fake_stripe.refund_payment(**given)
            raise PaymentsUnavailable("no answer")

        monkeypatch.setattr(gateway, "refund_payment", silent)
        send()
        refund.refresh_from_db()
        assert (refund.status, "no answer" in refund.error) == ("waiting", True)
        send(AT + timedelta(hours=1))
        refund.refresh_from_db()
        assert (refund.status, refund.tries, len(fake_stripe.refunds)) == ("succeeded", 2, 1)

    def test_waits_longer_each_time_and_asks_for_the_same(
        self, fake_stripe: FakeStripe, monkeypatch
    ):
        refund = ask_refund(bought(fake_stripe), 400)
        keys = []

        def down(*, idempotency_key: str, **given: Any) -> None:
            keys.append(idempotency_key)
            raise PaymentsUnavailable("no answer")

        monkeypatch.setattr(gateway, "refund_payment", down)
        pauses, at = [], AT
        for _ in range(3):
            send(at)
            refund.refresh_from_db()
            pauses.append((refund.next_try_at - at).total_seconds())
            at = refund.next_try_at
        assert pauses == [30, 60, 120]
        assert keys == [f"refund:{refund.key}"] * 3

    def test_leaves_it_to_who_is_at_it_until_they_must_have_died(self, fake_stripe: FakeStripe):
        refund = ask_refund(bought(fake_stripe), 400)
        assert refunds.claim(AT) == refund
        assert refunds.claim(AT) is None
        assert refunds.claim(AT + refunds.LEASE) == refund

    def test_tells_staff_what_stripe_refuses(self, fake_stripe: FakeStripe, monkeypatch):
        payment = bought(fake_stripe)
        refund = ask_refund(payment, 400)

        def refuses(**given: Any) -> None:
            raise StripeRefused("Stripe refuses: it is disputed.", reason="charge_disputed")

        monkeypatch.setattr(gateway, "refund_payment", refuses)
        send()
        refund.refresh_from_db()
        assert (refund.status, refund.next_try_at) == ("refused", None)
        assert ReviewItem.objects.get().kind == "refund_refused"
        assert wallet_of(payment).purchase == 100

    def test_follows_one_that_fails_later(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        refund = ask_refund(payment, 400)
        send()
        refund.refresh_from_db()
        fake_stripe.fail_refund(refund.refund_id)
        settle(payment.intent_id)
        refund.refresh_from_db()
        assert (refund.status, wallet_of(payment).purchase) == ("failed", 100)


class TestReviews:
    @pytest.fixture
    def indebted(self, fake_stripe: FakeStripe) -> Payment:
        payment = bought(fake_stripe)
        spend(payment.wallet_id, 80, AT)
        fake_stripe.refund(payment.intent_id, 1_000)
        settled = settle(payment.intent_id)
        assert settled
        return settled

    def test_are_resolved_once_with_a_reason(self, indebted: Payment):
        item, actor = ReviewItem.objects.get(), finance()
        resolve_review(item=item, reason="he pays next week", actor=actor, at=AT)
        item.refresh_from_db()
        assert (item.resolved_by, item.resolution) == (actor, "he pays next week")
        assert AuditEvent.objects.filter(action="billing.review.resolved").count() == 1
        with pytest.raises(Exception, match="resolved this already"):
            resolve_review(item=item, reason="again", actor=actor, at=AT)

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_are_not_for_who_may_only_look(self, indebted: Payment, group):
        actor = StaffFactory(groups=group)
        with pytest.raises(NotPermitted):
            resolve_review(item=ReviewItem.objects.get(), reason="x", actor=actor, at=AT)

    def test_of_ones_own_payment_are_for_others(self, fake_stripe: FakeStripe):
        actor = finance()
        payment = bought(fake_stripe, user=actor)
        fake_stripe.dispute(payment.intent_id, 100)
        settle(payment.intent_id)
        with pytest.raises(OwnWallet):
            resolve_review(item=ReviewItem.objects.get(), reason="mine", actor=actor, at=AT)

    def test_write_off_strikes_the_debt(self, indebted: Payment):
        write_off(indebted, 80, finance())
        assert wallet_of(indebted).debt == 0
        event = AuditEvent.objects.get(action="billing.debt.written_off")
        assert (event.before["debt"], event.after["debt"]) == (80, 0)

    def test_write_off_of_more_than_is_owed_is_refused(self, indebted: Payment):
        with pytest.raises(ExceedsDebt):
            write_off(indebted, 81, finance())

    def test_write_off_of_many_takes_a_second_person(self, indebted: Payment):
        set_credit_settings(approval_adjustment_above=50)
        approval = write_off(indebted, 80, finance())
        assert isinstance(approval, Approval)
        assert wallet_of(indebted).debt == 80
        approve(approval=approval, checker=finance(), note="", at=AT)
        assert wallet_of(indebted).debt == 0

    def test_write_off_refuses_who_may_not(self, indebted: Payment):
        with pytest.raises(NotPermitted):
            write_off(indebted, 80, StaffFactory(groups="Support"))


def write_off(payment: Payment, amount: int, actor: Any) -> Any:
    return write_off_debt(
        wallet=Wallet.objects.get(pk=payment.wallet_id),
        amount=amount,
        reason="nobody pays",
        actor=actor,
        caller=f"user:{actor.pk}",
        at=AT,
        idempotency_key="k",
    )
