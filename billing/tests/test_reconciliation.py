"""
Stripe against the books: every fault is named, and nothing else.

The suite looks at some 100 payments; RECONCILED_PAYMENTS=5000 plants 60 faults in so many.
"""

import os
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from billing import gateway
from billing.choices import BREAK_REMEDIES, SETTLEABLE, BreakKind
from billing.errors import AlreadyExplained, ReconciliationRunning
from billing.models import Break, Payment, Reconciliation
from billing.queries.reconciliation import rows_of
from billing.services import comparison, examination, reconciliation
from billing.services.breaks import explain_break
from billing.services.reconciliation import ask_for_run, settle_break, start_at_once, work_runs
from billing.services.settlement import settle_payment
from billing.tests.payments import told
from billing.tests.reconciliation import (
    FAULTS,
    Town,
    a_dispute_is_never_told,
    a_payment_is_never_told,
    a_refund_is_never_told,
    a_stranger_pays,
    credits_are_given_without_a_payment,
    planted,
)
from creditsite.errors import Conflict, InvalidRequest, NotPermitted
from ledger.errors import OwnWallet
from ledger.tests.factories import finance

pytestmark = pytest.mark.django_db
PAYMENTS = int(os.environ.get("RECONCILED_PAYMENTS", 100))
PLANTED = max(len(FAULTS), 60 if PAYMENTS > 1_000 else 0)
HOUR = timedelta(hours=1)


@pytest.fixture
def town(sandbox: Any) -> Town:
    return Town(sandbox, users=3)


@pytest.mark.breaks_the_books
def test_names_every_fault_and_nothing_else(sandbox):
    town = Town(sandbox, users=max(PAYMENTS // 50, 6))
    town.live(PAYMENTS)
    assert town.reconciled() == set()
    assert all(row.ties for row in rows_of(Reconciliation.objects.get().figures))
    faults = planted(town, PLANTED)
    assert len(faults) == PLANTED
    begun = time.monotonic()
    assert town.reconciled() == faults
    run = Reconciliation.objects.latest("pk")
    print(f"{PLANTED} faults in {run.payments:,} payments: {time.monotonic() - begun:.1f} s")
    assert (run.breaks, run.new_breaks) == (PLANTED, PLANTED)
    settle_all_that_can_be()
    left = {kind for kind, _ in town.reconciled()}
    assert left <= set(BreakKind) - (SETTLEABLE - LASTING)
    assert {BreakKind.NOT_PAID, BreakKind.DOUBLE} <= left


# Settling brings the counters to Stripe's; the note of what is not there stays.
LASTING = {BreakKind.REFUND_UNKNOWN, BreakKind.REFUND_AMOUNT, BreakKind.DISPUTE_AMOUNT}


def settle_all_that_can_be() -> None:
    actor = finance()
    for item in Break.objects.filter(gone_at=None, kind__in=SETTLEABLE):
        settle_break(item=item, reason="found by night", actor=actor, clock=timezone.now)


class TestBreaks:
    def test_of_every_kind_say_what_to_do(self):
        for kind in BreakKind:
            assert len(BREAK_REMEDIES[kind]) > 20

    def test_that_are_mended_close_by_themselves(self, town: Town):
        _, id = a_payment_is_never_told(town)
        assert town.reconciled() == {("not_credited", id)}
        first = Break.objects.get()
        town.settled(id)
        assert town.reconciled() == set()
        first.refresh_from_db()
        assert first.gone_at is not None

    def test_that_come_back_are_new_ones(self, town: Town):
        kind, id = credits_are_given_without_a_payment(town)
        town.reconciled()
        Break.objects.update(gone_at=town.now)
        assert town.reconciled() == {(kind, id)}
        assert Break.objects.count() == 2

    def test_older_than_the_run_stay_until_they_are_mended(self, town: Town):
        a_refund_is_never_told(town)
        town.reconciled()
        at = timezone.now()
        run = start_at_once(since=at - timedelta(minutes=5), at=at)
        reconciliation.work(run, clock=lambda: at)
        assert (run.payments, run.breaks, run.new_breaks) == (0, 1, 0)
        town.settled(Break.objects.get().intent_id)
        assert town.reconciled() == set()

    def test_of_chargebacks_are_found_however_old_their_payment(self, town: Town):
        payment = town.bought()
        id = town.disputed(payment, 1_000)
        town.settled(str(payment.intent_id))
        town.decided(id, "lost")
        at = timezone.now()
        reconciliation.work(start_at_once(since=at - timedelta(minutes=5), at=at), clock=lambda: at)
        assert Break.objects.get().kind == BreakKind.DISPUTE_STATE

    @pytest.mark.parametrize("kind", ["refund_missing", "dispute_missing"])
    def test_are_found_by_what_is_new_however_old_the_payment(self, town: Town, kind: str):
        payment, at = town.bought(), timezone.now()
        goes_back = town.refunded if kind == "refund_missing" else town.disputed
        id = goes_back(payment, 300, at=at - timedelta(minutes=50))
        run = start_at_once(since=at - HOUR, at=at)
        reconciliation.work(run, clock=lambda: at)
        assert list(Break.objects.values_list("kind", "object_id")) == [(kind, id)]


class TestUnderWay:
    def test_is_what_was_paid_just_now(self, town: Town):
        payment = town.opened()
        payment.created_at = timezone.now() - timedelta(minutes=2)
        payment.save(update_fields=["created_at"])
        id = town.paid(payment)
        assert town.reconciled() == set()
        assert Reconciliation.objects.get().under_way == 1
        assert town.reconciled(minutes=20) == {("not_credited", id)}

    @pytest.mark.parametrize("outcome", ["won", "lost"])
    def test_is_what_stripe_tells_of_just_now(self, town: Town, outcome: str):
        payment = town.bought()
        id = town.disputed(payment, 1_000)
        town.settled(str(payment.intent_id))
        town.decided(id, outcome, at=timezone.now())
        assert town.reconciled() == set()
        assert town.reconciled(minutes=20) == {("dispute_state", id)}

    def test_is_what_an_event_waits_for_but_not_for_ever(self, town: Town):
        id = town.paid(town.opened())
        told("payment_intent.succeeded", id, at=timezone.now())
        assert town.reconciled(minutes=20) == set()
        assert town.reconciled(minutes=61) == {("not_credited", id)}

    def test_is_read_again_when_it_is_settled_meanwhile(self, town: Town, monkeypatch):
        payment = town.bought()
        town.refunded(payment, 300)
        read, times = examination.read_at_stripe, []

        def slowly(intent_id: str, books: Any) -> Any:
            found = read(intent_id, books)
            if not times:
                settle_payment(intent_id, clock=lambda: town.now - HOUR)
            times.append(intent_id)
            return found

        monkeypatch.setattr(examination, "read_at_stripe", slowly)
        assert town.reconciled() == set()
        assert times == [payment.intent_id] * 2


class TestExplaining:
    def test_counts_until_either_side_says_something_else(self, town: Town):
        payment = town.bought()
        id = town.refunded(payment, 300)
        town.reconciled()
        item = Break.objects.get()
        explain_break(item=item, reason="the bank knows", actor=finance(), at=town.now)
        town.reconciled()
        item.refresh_from_db()
        assert (item.explanation, Reconciliation.objects.latest("pk").breaks) == (
            "the bank knows",
            0,
        )
        town.change(id, amount=200)
        town.reconciled()
        item.refresh_from_db()
        assert (item.explained_by, item.explanation) == (None, "")
        assert Reconciliation.objects.latest("pk").breaks == 1

    def test_is_recorded_and_done_once(self, town: Town):
        a_stranger_pays(town)
        town.reconciled()
        item, actor = Break.objects.get(), finance()
        explain_break(item=item, reason="a test of ours", actor=actor, at=town.now)
        assert AuditEvent.objects.get(action="billing.break.explained").reason == "a test of ours"
        with pytest.raises(AlreadyExplained):
            explain_break(item=item, reason="again", actor=actor, at=town.now)

    def test_is_refused_to_who_may_not_and_to_whose_it_is(self, town: Town):
        a_refund_is_never_told(town)
        town.reconciled()
        item = Break.objects.get()
        for act in (explain_break, settle_break):
            when = {"at": town.now} if act is explain_break else {"clock": timezone.now}
            with pytest.raises(NotPermitted):
                act(item=item, reason="x", actor=StaffFactory(groups="Auditor"), **when)
            owner = item.payment.user
            StaffFactory._meta.model.objects.filter(pk=owner.pk).update(is_staff=True)
            owner = type(owner).objects.get(pk=owner.pk)
            owner.groups.set(finance().groups.all())
            with pytest.raises(OwnWallet):
                act(item=item, reason="x", actor=owner, **when)


class TestSettling:
    def test_mends_and_is_recorded(self, town: Town):
        a_dispute_is_never_told(town)
        town.reconciled()
        item = Break.objects.get()
        payment = settle_break(
            item=item, reason="the webhook was lost", actor=finance(), clock=timezone.now
        )
        item.refresh_from_db()
        assert payment is not None
        assert payment.is_disputed
        assert item.gone_at is not None
        assert AuditEvent.objects.filter(action="billing.break.settled").exists()
        with pytest.raises(Conflict):
            settle_break(item=item, reason="again", actor=finance(), clock=timezone.now)

    def test_is_not_offered_for_what_it_does_not_mend(self, town: Town):
        credits_are_given_without_a_payment(town)
        town.reconciled()
        with pytest.raises(Conflict):
            settle_break(item=Break.objects.get(), reason="x", actor=finance(), clock=timezone.now)


class TestCheckouts:
    def test_whose_tax_is_another_are_named(self, town: Town):
        payment = town.bought(tax_minor=150)
        session = gateway.create_payment_checkout(
            customer=payment.customer_id,
            lines=[gateway.Line("Credits", 1_000, "usd")],
            metadata={},
            idempotency_key="k",
            success_url="https://example.com/",
            cancel_url="https://example.com/",
        )
        taxed = {"amount_tax": 150, "amount_discount": 0, "amount_shipping": 0}
        town.change(
            session.id,
            status="complete",
            payment_status="paid",
            amount_total=1_150,
            payment_intent=payment.intent_id,
            total_details=taxed,
        )
        Payment.objects.filter(pk=payment.pk).update(session_id=session.id)
        assert town.reconciled() == set()
        town.change(
            session.id,
            total_details=taxed | {"amount_tax": 149},
        )
        assert town.reconciled() == {("tax", str(payment.intent_id))}


class TestAnotherAccount:
    def test_of_our_key_is_named_until_it_is_ours(self, town: Town, settings):
        settings.STRIPE_ACCOUNT = "acct_of_ours"
        assert {kind for kind, _ in town.reconciled()} == {"foreign"}
        settings.STRIPE_ACCOUNT = gateway.account_id()
        assert town.reconciled() == set()


class TestRuns:
    def test_are_done_one_after_the_other(self, town: Town):
        at = timezone.now()
        start_at_once(since=at - HOUR, at=at)
        with pytest.raises(ReconciliationRunning):
            start_at_once(since=at - HOUR, at=at)
        ask_for_run(days=1, reason="", actor=None, at=at)
        assert reconciliation.claim(at) is None

    def test_whose_worker_died_are_done_by_another(self, town: Town):
        at = timezone.now()
        begun = start_at_once(since=at - HOUR, at=at)
        later = at + reconciliation.LEASE + timedelta(seconds=1)
        claimed = reconciliation.claim(later)
        assert claimed == begun
        assert reconciliation.beat(begun, later) is False
        assert reconciliation.beat(claimed, later) is True

    def test_wait_when_stripe_does_not_answer_and_are_given_up_in_the_end(
        self, town: Town, monkeypatch
    ):
        monkeypatch.setattr(reconciliation, "PAUSES", (0.0,))
        at = timezone.now()
        run = ask_for_run(days=1, reason="", actor=None, at=at)
        town.sandbox.store.add_rule(
            "fault", every_call_of_lists() | {"times": 2}
        )  # Both tries of a window.
        work_runs(clock=lambda: at)
        run.refresh_from_db()
        assert (run.status, run.error[:19]) == ("waiting", "PaymentsUnavailable")
        work_runs(clock=lambda: at)
        run.refresh_from_db()
        assert (run.status, run.error) == ("done", "")

    def test_try_a_window_again_before_they_wait(self, town: Town, monkeypatch):
        monkeypatch.setattr(reconciliation, "PAUSES", (0.0,))
        a_stranger_pays(town)
        town.sandbox.store.add_rule("fault", every_call_of_lists() | {"times": 1})
        assert {kind for kind, _ in town.reconciled()} == {"unknown"}

    def test_are_asked_for_by_who_may_and_one_at_a_time(self):
        at = timezone.now()
        with pytest.raises(NotPermitted):
            ask_for_run(days=1, reason="x", actor=StaffFactory(groups="Support"), at=at)
        with pytest.raises(InvalidRequest):
            ask_for_run(days=0, reason="x", actor=finance(), at=at)
        ask_for_run(days=3, reason="to be sure", actor=finance(), at=at)
        with pytest.raises(ReconciliationRunning):
            ask_for_run(days=3, reason="to be sure", actor=finance(), at=at)
        assert AuditEvent.objects.get(action="billing.reconciliation.asked")

    def test_of_the_night_are_written_to_finance(self, town: Town, settings):
        settings.SITE_URL = "https://credits.example.com"
        reader = finance()
        at = timezone.now()
        reconciliation.work_nightly(at=at)
        work_runs(clock=lambda: at)
        assert mail.outbox == []
        a_stranger_pays(town)
        reconciliation.work_nightly(at=at)
        work_runs(clock=lambda: at)
        (letter,) = mail.outbox
        assert letter.to == [reader.email]
        assert letter.subject == "Stripe and the books differ in 1 place"
        assert "https://credits.example.com/admin/billing/break/" in str(letter.body)

    def test_are_none_where_payments_are_not_set_up(self, settings):
        settings.STRIPE_SECRET_KEY = ""
        reconciliation.work_nightly(at=timezone.now())
        assert not Reconciliation.objects.exists()

    def test_read_each_list_page_by_page_in_windows(self, town: Town, monkeypatch):
        monkeypatch.setattr(gateway, "PAGE", 4)
        monkeypatch.setattr(comparison, "WINDOW", HOUR)
        for _ in range(9):
            town.bought()
        _, id = a_stranger_pays(town)
        assert town.reconciled() == {("unknown", id)}
        assert Reconciliation.objects.get().payments == 10


def every_call_of_lists() -> dict[str, Any]:
    return {
        "method": "GET",
        "path": "/v1/payment_intents",
        "nth": 1,
        "effect": "error",
        "status": 500,
        "when": "before",
        "kept": False,
        "seconds": 0,
    }


class TestTheCommand:
    def said(self, **options: Any) -> str:
        out = StringIO()
        call_command("reconcile_stripe", stdout=out, **options)
        return out.getvalue()

    def test_says_that_all_agrees(self, town: Town):
        town.bought()
        assert "1 payments since" in self.said(days=4)

    def test_lists_what_differs_and_exits_with_1(self, town: Town, capsys):
        _, id = a_stranger_pays(town)
        out = StringIO()
        with pytest.raises(CommandError) as failure:
            call_command("reconcile_stripe", days=4, stdout=out)
        assert failure.value.returncode == 1
        assert f"Paid at Stripe, unknown here: {id}" in out.getvalue()
        assert "9.00 USD came in from a guest." in out.getvalue()

    @pytest.mark.parametrize(
        "wrong", [{"since": "yesterday"}, {"days": 0}, {"since": "1999-01-01"}]
    )
    def test_refuses_what_is_no_time(self, town: Town, wrong: dict[str, Any]):
        with pytest.raises(CommandError):
            self.said(**wrong)
        assert not Reconciliation.objects.exists()

    def test_takes_a_first_day(self, town: Town):
        day = f"{town.now - timedelta(days=9):%Y-%m-%d}"
        self.said(since=day)
        assert f"{Reconciliation.objects.get().since:%Y-%m-%d}" == day

    def test_ends_a_run_that_stripe_does_not_let_be_done(self, town: Town, settings):
        settings.STRIPE_API_BASE = "http://127.0.0.1:9"
        reconciliation.PAUSES, before = (), reconciliation.PAUSES
        try:
            with pytest.raises(CommandError):
                self.said()
        finally:
            reconciliation.PAUSES = before
        assert Reconciliation.objects.get().status == "failed"


class Traffic:
    """Payments, refunds and chargebacks of this very minute, which happen while Stripe is asked."""

    def __init__(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        self.town, self.is_on, self.happened = town, True, 0
        ask = gateway.ask

        def busily(call: Any) -> Any:
            if self.is_on and self.happened < 32:
                self.is_on = False
                self.happen()
                self.is_on = True
            return ask(call)

        monkeypatch.setattr(gateway, "ask", busily)

    def happen(self) -> None:
        self.happened += 1
        town, now = self.town, timezone.now()
        match self.happened % 4:
            case 0:
                payment = town.opened()
                Payment.objects.filter(pk=payment.pk).update(created_at=now)
                payment.created_at = now
                id = town.paid(payment)
                if self.happened % 8:
                    town.settled(id, now)
            case 1:
                town.refunded(town.untouched(), 250, at=now)
            case 2:
                town.disputed(town.untouched(), 1_000, at=now)
            case _:
                payment = town.untouched()
                town.refunded(payment, 100, at=now)
                town.settled(str(payment.intent_id), now)


def test_no_traffic_is_a_break(sandbox, monkeypatch):
    town = Town(sandbox, users=3)
    town.live(30)
    traffic = Traffic(town, monkeypatch)
    assert town.reconciled() == set()
    assert traffic.happened > 20
    assert Reconciliation.objects.get().under_way > 3
    traffic.is_on = False
    assert len(town.reconciled(minutes=30)) > 10
