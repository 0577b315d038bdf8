"""Disputes of payments: as Stripe has them, who answers, and that Stripe is told once."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Approval, User
from accounts.services.approvals import approve, refuse
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from billing import gateway
from billing.gateway import PaymentsUnavailable, StripeRefused
from billing.models import Payment
from billing.services.settlement import settle_payment
from billing.tests.payments import FakeStripe, bought, settle
from billing.tests.stripe import Sandbox
from billing.tests.test_payments_at_stripe import checked_out
from creditsite.errors import NotPermitted
from creditsite.testing.races import race
from disputes import errors
from disputes.models import Answer, PaymentDispute
from disputes.services import payment_disputes
from disputes.services.erasure import Complaints
from disputes.services.payment_disputes import LEASE, accept_dispute, claim, contest_dispute
from ledger.errors import OwnWallet
from ledger.models import Wallet
from ledger.tests.factories import AT, DAY, finance, set_credit_settings

pytestmark = pytest.mark.django_db
EVIDENCE = {"uncategorized_text": "They used all of it.", "product_description": "100 credits"}


@pytest.fixture
def stripe(fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> FakeStripe:
    """The Stripe made of dataclasses, which takes answers to disputes, each once."""

    def answered(id: str, status: str) -> None:
        if fake_stripe.disputes[id].status not in ("needs_response", "warning_needs_response"):
            raise StripeRefused("Stripe refuses: it is answered.", reason="dispute_closed")
        fake_stripe.decide(id, status)

    monkeypatch.setattr(
        gateway,
        "submit_dispute_evidence",
        lambda dispute, **given: answered(dispute, "under_review"),
    )
    monkeypatch.setattr(
        gateway, "concede_dispute", lambda dispute, **given: answered(dispute, "lost")
    )
    return fake_stripe


def disputed_payment(stripe: FakeStripe, status: str = "needs_response", **more: Any) -> Payment:
    payment = bought(stripe, **more)
    stripe.dispute(payment.intent_id or "", 1_000, status)
    settle(payment.intent_id or "")
    return payment


def contest(actor: User | None = None, at: Any = AT, **evidence: str) -> Answer:
    return contest_dispute(
        dispute=PaymentDispute.objects.get(),
        evidence=evidence or EVIDENCE,
        reason="They used it.",
        actor=actor or finance(),
        at=at,
    )


def accept(actor: User | None = None) -> Answer | Approval:
    return accept_dispute(
        dispute=PaymentDispute.objects.get(), reason="It is so.", actor=actor or finance(), at=AT
    )


def send(at: Any = AT) -> None:
    payment_disputes.send_answers(clock=lambda: at)


class TestWhatStripeTells:
    def test_is_kept_and_staff_hear_of_it_once(self, stripe, mailoutbox):
        admin, _ = StaffFactory(), StaffFactory(groups="Support")
        mailoutbox.clear()
        payment = disputed_payment(stripe)
        settle(payment.intent_id)
        row = PaymentDispute.objects.get()
        assert (row.payment, row.status, row.reason) == (payment, "needs_response", "fraudulent")
        assert (row.amount_minor, row.currency) == (1_000, "usd")
        assert row.evidence_due_at == AT + 9 * DAY
        [email] = [each for each in mailoutbox if each.subject == "A payment is disputed"]
        assert email.to == [admin.email]
        assert "Amount: 10.00 USD" in email.body

    def test_moves_it_on(self, stripe):
        payment = disputed_payment(stripe, "warning_needs_response")
        [id] = stripe.disputes
        for status in ("needs_response", "under_review", "won"):
            stripe.decide(id, status)
            settle(payment.intent_id)
            assert PaymentDispute.objects.get().status == status


class TestContest:
    def test_tells_stripe_and_the_books_follow(self, stripe):
        actor = finance()
        payment = disputed_payment(stripe)
        answer = contest(actor)
        assert (answer.status, answer.answered_status) == ("waiting", "needs_response")
        send()
        answer.refresh_from_db()
        assert (answer.status, answer.tries, answer.next_try_at) == ("sent", 1, None)
        assert PaymentDispute.objects.get().status == "under_review"
        assert Payment.objects.get(pk=payment.pk).is_disputed
        event = AuditEvent.objects.get(action="disputes.payment.contested")
        assert (event.actor_id, event.reason) == (actor.pk, "They used it.")
        assert event.after == {"answer": answer.pk, "evidence": sorted(EVIDENCE)}

    @pytest.mark.parametrize(
        "evidence",
        [{"uncategorized_text": ""}, {"signature": "x"}, {"uncategorized_text": "x" * 100_001}],
    )
    def test_takes_what_stripe_takes(self, stripe, evidence):
        disputed_payment(stripe)
        with pytest.raises(errors.InvalidEvidence):
            contest(**evidence)

    def test_ends_when_evidence_was_due(self, stripe):
        disputed_payment(stripe)
        with pytest.raises(errors.TooLateToAnswer):
            contest(at=AT + 9 * DAY)

    def test_is_once_at_a_time_and_of_what_is_open(self, stripe):
        disputed_payment(stripe)
        contest()
        with pytest.raises(errors.AnswerWaits):
            accept()
        send()
        with pytest.raises(errors.NotToBeAnswered):
            contest()

    def test_of_an_inquiry_can_be_followed_by_that_of_its_chargeback(self, stripe):
        payment = disputed_payment(stripe, "warning_needs_response")
        contest()
        send()
        [id] = stripe.disputes
        stripe.decide(id, "needs_response")
        settle(payment.intent_id)
        contest()
        send()
        assert list(Answer.objects.values_list("status", flat=True)) == ["sent", "sent"]


class TestAccept:
    def test_gives_the_money_up_and_the_credits_follow(self, stripe):
        payment = disputed_payment(stripe)
        accept()
        send()
        assert PaymentDispute.objects.get().status == "lost"
        assert Wallet.objects.get(pk=payment.wallet_id).purchase == 0
        assert Payment.objects.get(pk=payment.pk).returned_minor == 1_000

    def test_of_many_credits_takes_a_second_person(self, stripe):
        set_credit_settings(approval_adjustment_above=99)
        disputed_payment(stripe)
        approval = accept()
        assert isinstance(approval, Approval)
        with pytest.raises(errors.AnswerWaits):
            contest()
        refuse(approval=approval, checker=finance(), note="no", at=AT)
        approval = accept()
        assert isinstance(approval, Approval)
        ended = approve(approval=approval, checker=finance(), note="yes", at=AT)
        assert (ended.status, ended.result) == ("executed", {"answer": Answer.objects.get().pk})
        send()
        assert PaymentDispute.objects.get().status == "lost"


class TestWhoMay:
    def test_is_admin_and_finance(self, stripe):
        disputed_payment(stripe)
        for actor in [
            UserFactory(),
            StaffFactory(groups="Support"),
            StaffFactory(groups="Auditor"),
            User.objects.create_superuser("root@example.com"),
        ]:
            for act in (contest, accept):
                with pytest.raises(NotPermitted):
                    act(actor)

    def test_is_not_who_paid(self, stripe):
        actor = finance()
        disputed_payment(stripe, user=actor)
        for act in (contest, accept):
            with pytest.raises(OwnWallet):
                act(actor)


class TestSending:
    @pytest.mark.parametrize("is_done", [True, False])
    def test_tells_once_though_stripe_did_not_answer(self, stripe, monkeypatch, is_done):
        disputed_payment(stripe)
        told, keys = gateway.submit_dispute_evidence, []

        def silent(id: str, *, idempotency_key: str, **given: Any) -> None:
            keys.append(idempotency_key)
            if is_done or len(keys) > 1:
                told(id, idempotency_key=idempotency_key, **given)
            if len(keys) == 1:
                raise PaymentsUnavailable("no answer")

        monkeypatch.setattr(gateway, "submit_dispute_evidence", silent)
        answer = contest()
        send()
        answer.refresh_from_db()
        assert (answer.status, answer.next_try_at) == ("waiting", AT + timedelta(seconds=30))
        send(AT + timedelta(seconds=30))
        answer.refresh_from_db()
        assert (answer.status, answer.tries) == ("sent", 2)
        assert set(keys) == {f"dispute-answer:{answer.key}"}
        assert len(keys) == (1 if is_done else 2)

    def test_keeps_what_stripe_refuses(self, stripe):
        disputed_payment(stripe)
        answer = contest()
        [id] = stripe.disputes
        stripe.decide(id, "won")
        send()
        answer.refresh_from_db()
        assert (answer.status, answer.error) == ("refused", "Stripe refuses: it is answered.")
        assert PaymentDispute.objects.get().status == "won"

    def test_leaves_it_to_who_is_at_it_until_they_must_have_died(self, stripe):
        disputed_payment(stripe)
        answer = contest()
        assert claim(AT) == answer
        assert claim(AT) is None
        assert claim(AT + LEASE) == answer

    def test_by_many_workers_is_once(self, ledger_db, stripe, monkeypatch):
        disputed_payment(stripe)
        told, calls = gateway.submit_dispute_evidence, []
        monkeypatch.setattr(
            gateway,
            "submit_dispute_evidence",
            lambda dispute, **given: calls.append(dispute) or told(dispute, **given),
        )
        contest()
        race(*[send] * 5)
        assert len(calls) == 1

    def test_many_who_answer_answer_once(self, ledger_db, stripe, monkeypatch):
        disputed_payment(stripe)
        # Who looks takes a while, so that others look meanwhile if they can.
        monkeypatch.setattr(payment_disputes, "refuse_own_payment", lambda *who: time.sleep(0.05))
        acts = [contest, contest, contest, accept, accept]
        outcomes = race(*[partial(act, finance()) for act in acts])
        assert sorted(outcomes) == ["Answer"] + ["AnswerWaits"] * 4


class TestErasing:
    def test_takes_what_was_written_about_who_paid(self, stripe):
        payment = disputed_payment(stripe)
        contest()
        keeper = Complaints()
        assert payment.user is not None
        row = PaymentDispute.objects.get()
        assert ("disputes.paymentdispute", str(row.pk)) in keeper.audit_targets(payment.user)
        keeper.erase(user=payment.user, words=[], at=AT)
        answer = Answer.objects.get()
        assert (answer.evidence, answer.reason, answer.kind) == ({}, "", "contest")


class TestAtTheLocalStripe:
    """With the real SDK over real HTTP."""

    @pytest.fixture
    def dispute(self, sandbox: Sandbox) -> PaymentDispute:
        payment = checked_out()
        [intent] = sandbox.objects("payment_intent")
        settled = settle_payment(intent["id"]) or settle_payment(intent["id"])
        assert settled
        sandbox.order("disputes", payment_intent=intent["id"], reason="fraudulent")
        settle_payment(intent["id"], looks_for_disputes=True)
        assert Payment.objects.get(pk=payment.pk).is_disputed
        return PaymentDispute.objects.get()

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_evidence_is_submitted_once(self, sandbox, dispute, when):
        sandbox.fail_next("/v1/disputes/*", method="POST", effect="disconnect", when=when)
        answer = contest(at=timezone.now())
        payment_disputes.send_answers()
        answer.refresh_from_db()
        assert answer.status == "waiting"
        later = timezone.now() + timedelta(minutes=1)
        payment_disputes.send_answers(clock=lambda: later)
        answer.refresh_from_db()
        assert answer.status == "sent"
        assert PaymentDispute.objects.get().status == "under_review"
        [at_stripe] = sandbox.objects("dispute")
        assert at_stripe["evidence_details"]["submission_count"] == 1
        assert at_stripe["evidence"]["uncategorized_text"] == EVIDENCE["uncategorized_text"]
        sandbox.order(f"disputes/{dispute.dispute_id}", outcome="won")
        settle_payment(dispute.payment.intent_id, looks_for_disputes=True)
        assert PaymentDispute.objects.get().status == "won"
        assert Wallet.objects.get(user=dispute.payment.user).purchase == 100

    def test_a_concession_takes_the_credits(self, sandbox, dispute):
        accept_dispute(dispute=dispute, reason="so", actor=finance(), at=timezone.now())
        payment_disputes.send_answers()
        assert PaymentDispute.objects.get().status == "lost"
        assert Wallet.objects.get(user=dispute.payment.user).purchase == 0
