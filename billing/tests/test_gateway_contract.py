"""
What the gateway relies on in Stripe.

By `STRIPE_TEST_KEY=sk_test_… pytest billing/tests/test_gateway_contract.py` the same is asked of
Stripe's own test mode.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from billing import gateway
from billing.gateway import (
    AuthenticationRequired,
    Line,
    PaymentDeclined,
    PaymentsUnavailable,
    StripeRefused,
)
from billing.tests.stripe import Clocked, customer, key, pay, price, sdk

pytestmark = pytest.mark.usefixtures("stripe_account")

FROM_NOW = datetime.now(UTC) - timedelta(minutes=5)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(StripeRefused) as refusal:
        call()
    return refusal.value.reason


class TestCustomers:
    def test_are_kept_changed_and_deleted(self):
        ada = customer()
        assert (ada.email, ada.name, ada.metadata) == ("ada@example.com", "Ada", {"user": "7"})
        assert gateway.retrieve_customer(ada.id) == ada
        changed = gateway.update_customer(ada.id, email="ada@example.org", idempotency_key=key())
        assert (changed.email, changed.name) == ("ada@example.org", "Ada")
        gateway.delete_customer(ada.id)
        gateway.delete_customer(ada.id)
        assert gateway.retrieve_customer(ada.id).is_deleted
        assert ada.id not in [one["id"] for one in sdk().customers.list()["data"]]

    def test_have_cards(self):
        ada = customer()
        saved = sdk().payment_methods.attach("pm_card_visa", {"customer": ada.id})["id"]
        changed = gateway.update_customer(ada.id, payment_method=saved, idempotency_key=key())
        assert changed.default_payment_method == saved
        cards = list(gateway.list_cards(ada.id))
        assert [(card.id, card.brand, card.last4) for card in cards] == [(saved, "visa", "4242")]
        gateway.remove_card(saved, idempotency_key=key())
        assert list(gateway.list_cards(ada.id)) == []

    def test_unknown_ones_are_refused(self):
        assert refused(lambda: gateway.retrieve_customer("cus_nobody")) == "resource_missing"


class TestKeys:
    def test_the_same_call_is_done_once(self):
        same = {"email": "ada@example.com", "metadata": {}, "idempotency_key": key()}
        assert gateway.create_customer(**same).id == gateway.create_customer(**same).id

    def test_another_call_is_refused(self):
        same = key()
        gateway.create_customer(email="a@example.com", metadata={}, idempotency_key=same)
        reason = refused(
            lambda: gateway.create_customer(
                email="b@example.com", metadata={}, idempotency_key=same
            )
        )
        assert reason == "idempotency_error"

    def test_a_decline_is_remembered_too(self):
        same = {"customer": customer().id, "payment_method": "pm_card_chargeDeclined"}
        same |= {"amount_minor": 500, "currency": "usd", "metadata": {}, "idempotency_key": key()}
        payments = set()
        for _ in range(2):
            with pytest.raises(PaymentDeclined) as refusal:
                gateway.pay_off_session(**same)
            payments.add(refusal.value.payment_intent)
        assert len(payments) == 1

    def test_eight_at_once_are_one(self):
        same = {"email": "ada@example.com", "metadata": {}, "idempotency_key": key()}
        made: list[str] = []
        start = threading.Barrier(8)

        def create() -> None:
            start.wait()
            while True:
                try:
                    made.append(gateway.create_customer(**same).id)
                except PaymentsUnavailable:  # Another one is at it.
                    time.sleep(0.01)
                else:
                    return

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 8
        assert len(set(made)) == 1


class TestCheckout:
    addresses = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/"}

    def begin(self, **given):
        lines = [Line("200 credits", 1_500, "usd"), Line("1 credit", 10, "usd", quantity=3)]
        same = {"customer": customer().id, "lines": lines, "metadata": {"order": "5"}}
        return gateway.create_payment_checkout(
            **(same | self.addresses | {"idempotency_key": key()} | given)
        )

    def test_for_a_payment_says_what_is_to_be_paid(self):
        session = self.begin()
        assert (session.mode, session.status, session.payment_status) == (
            "payment",
            "open",
            "unpaid",
        )
        assert (session.amount_minor, session.tax_minor, session.currency) == (1_530, 0, "usd")
        assert session.url
        assert not session.is_paid
        assert session.metadata == {"order": "5"}
        assert gateway.retrieve_checkout(session.id) == session
        assert session.id in [one.id for one in gateway.list_checkouts(FROM_NOW)]

    def test_ends_when_told(self):
        session = self.begin(expires_at=datetime.now(UTC) + timedelta(hours=1))
        assert session.expires_at - session.created_at <= timedelta(hours=1, seconds=5)
        assert gateway.expire_checkout(session.id, idempotency_key=key()).status == "expired"
        refused(lambda: gateway.expire_checkout(session.id, idempotency_key=key()))

    def test_for_a_subscription_takes_recurring_prices(self):
        same = {"customer": customer().id, "metadata": {}, **self.addresses}
        session = gateway.create_subscription_checkout(
            price=price(1_999), idempotency_key=key(), **same
        )
        assert (session.mode, session.amount_minor) == ("subscription", 1_999)
        refused(
            lambda: gateway.create_subscription_checkout(
                price="price_of_nothing", idempotency_key=key(), **same
            )
        )

    def test_for_a_card_costs_nothing(self):
        session = gateway.create_card_checkout(
            customer=customer().id,
            currency="usd",
            metadata={},
            idempotency_key=key(),
            **self.addresses,
        )
        assert (session.mode, session.amount_minor) == ("setup", 0)
        assert session.payment_method is None

    @pytest.mark.parametrize("amount", [1, -5, 100_000_000])
    def test_refuses_amounts_that_cannot_be_charged(self, amount):
        refused(lambda: self.begin(lines=[Line("Credits", amount, "usd")]))


class TestPayments:
    def test_off_session_are_paid_at_once(self):
        paid = pay(amount_minor=1_234)
        assert (paid.status, paid.amount_minor, paid.received_minor) == ("succeeded", 1_234, 1_234)
        assert paid.charge
        assert paid.receipt_url
        assert gateway.retrieve_payment_intent(paid.id) == paid
        assert gateway.invoice_of_payment(paid.id) is None
        assert paid.id in [one.id for one in gateway.list_payment_intents(FROM_NOW)]

    @pytest.mark.parametrize(("currency", "amount"), [("jpy", 1_500), ("ugx", 5_001)])
    def test_are_in_our_minor_units(self, currency, amount):
        assert pay(amount_minor=amount, currency=currency).received_minor == amount

    def test_declined_say_why(self):
        with pytest.raises(PaymentDeclined) as refusal:
            pay(card="pm_card_visa_chargeDeclinedInsufficientFunds")
        assert refusal.value.reason == "insufficient_funds"
        assert not isinstance(refusal.value, AuthenticationRequired)
        tried = gateway.retrieve_payment_intent(str(refusal.value.payment_intent))
        assert (tried.status, tried.failure) == ("requires_payment_method", "insufficient_funds")
        assert tried.received_minor == 0

    def test_that_need_the_cardholder_say_so(self):
        with pytest.raises(AuthenticationRequired):
            pay(card="pm_card_authenticationRequired")

    def test_begun_for_the_browser_can_be_cancelled(self):
        begun = gateway.create_payment_intent(
            customer=customer().id,
            amount_minor=700,
            currency="usd",
            metadata={},
            idempotency_key=key(),
        )
        assert begun.status == "requires_payment_method"
        assert begun.client_secret
        cancelled = gateway.cancel_payment_intent(begun.id, idempotency_key=key())
        assert cancelled.status == "canceled"
        again = refused(lambda: gateway.cancel_payment_intent(begun.id, idempotency_key=key()))
        assert again == "payment_intent_unexpected_state"

    def test_in_no_currency_are_refused(self):
        refused(lambda: pay(currency="xyz"))


class TestRefunds:
    def give_back(self, payment: gateway.PaymentIntent, amount: int) -> gateway.Refund:
        return gateway.refund_payment(
            payment_intent=payment.id,
            amount_minor=amount,
            currency=payment.currency,
            metadata={"why": "asked"},
            idempotency_key=key(),
        )

    def test_are_of_part_and_then_of_the_rest_and_no_more(self):
        payment = pay(amount_minor=1_000)
        first = self.give_back(payment, 400)
        assert (first.status, first.amount_minor) == ("succeeded", 400)
        assert (first.payment_intent, first.metadata) == (payment.id, {"why": "asked"})
        assert gateway.retrieve_payment_intent(payment.id).refunded_minor == 400
        refused(lambda: self.give_back(payment, 601))
        second = self.give_back(payment, 600)
        assert gateway.retrieve_payment_intent(payment.id).refunded_minor == 1_000
        assert refused(lambda: self.give_back(payment, 1)) == "charge_already_refunded"
        assert gateway.retrieve_refund(first.id) == first
        found = [one.id for one in gateway.list_refunds(FROM_NOW)]
        assert found.index(second.id) < found.index(first.id)

    def test_move_the_balance(self):
        refund = self.give_back(pay(amount_minor=1_000), 250)
        moves = {move.source: move for move in gateway.list_balance_movements(FROM_NOW)}
        assert moves[refund.id].amount_minor == -250
        assert moves[refund.id].category == "refund"


class TestDisputes:
    def dispute(self) -> gateway.Dispute:
        payment = pay(card="pm_card_createDispute")
        for _ in range(30):
            found = [
                one for one in gateway.list_disputes(FROM_NOW) if one.payment_intent == payment.id
            ]
            if found and found[0].withdrawn_minor:
                return found[0]
            time.sleep(1)
        raise AssertionError("The payment was not disputed.")

    def settled(self, id: str) -> gateway.Dispute:
        for _ in range(30):
            dispute = gateway.retrieve_dispute(id)
            if dispute.status in {"won", "lost"}:
                return dispute
            time.sleep(1)
        return dispute

    def test_take_the_money_and_forbid_refunds(self):
        dispute = self.dispute()
        assert (dispute.status, dispute.reason) == ("needs_response", "fraudulent")
        assert (dispute.amount_minor, dispute.withdrawn_minor) == (1_000, 1_000)
        payment = gateway.retrieve_payment_intent(str(dispute.payment_intent))
        assert payment.is_disputed
        reason = refused(
            lambda: gateway.refund_payment(
                payment_intent=payment.id,
                amount_minor=100,
                currency="usd",
                metadata={},
                idempotency_key=key(),
            )
        )
        assert reason == "charge_disputed"

    @pytest.mark.parametrize(
        ("evidence", "outcome", "withdrawn"),
        [("winning_evidence", "won", 0), ("losing_evidence", "lost", 1_000)],
    )
    def test_are_decided_by_evidence(self, evidence, outcome, withdrawn):
        dispute = self.dispute()
        sent = gateway.submit_dispute_evidence(
            dispute.id, evidence={"uncategorized_text": evidence}, idempotency_key=key()
        )
        assert sent.has_evidence
        decided = self.settled(dispute.id)
        assert (decided.status, decided.withdrawn_minor) == (outcome, withdrawn)

    def test_can_be_conceded(self):
        assert gateway.concede_dispute(self.dispute().id, idempotency_key=key()).status == "lost"


class TestSubscriptions:
    def test_are_paid_for_from_the_start(self):
        plan = price(1_999)
        held = Clocked(price_id=plan)
        subscription = held.subscription()
        assert (subscription.status, subscription.price) == ("active", plan)
        assert int(subscription.period_start.timestamp()) == held.now
        invoice = held.latest_invoice()
        assert (invoice.status, invoice.reason) == ("paid", "subscription_create")
        assert (invoice.total_minor, invoice.paid_minor, invoice.tax_minor) == (1_999, 1_999, 0)
        assert invoice.subscription == held.id
        [line] = invoice.lines
        assert (line.price, line.amount_minor, line.is_proration) == (plan, 1_999, False)
        assert (line.period_start, line.period_end) == (
            subscription.period_start,
            subscription.period_end,
        )
        assert gateway.invoice_of_payment(str(invoice.payment_intent)) == invoice.id

    def test_renew_on_the_day_of_their_anchor(self):
        begins = int(datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp())
        held = Clocked(price_id=price(1_999), begins=begins)
        seen = [held.subscription().period_end]
        for end in [datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)]:
            held.advance_to(int(end.timestamp()))
            seen.append(held.subscription().period_end)
        assert [f"{end:%m-%d %H}" for end in seen] == ["02-28 12", "03-31 12", "04-30 12"]
        invoice = held.latest_invoice()
        assert (invoice.status, invoice.reason) == ("paid", "subscription_cycle")

    def test_upgraded_at_once_are_billed_the_difference(self):
        held = Clocked(price_id=price(1_000))
        better = price(4_000)
        held.advance(days=10)
        before = held.subscription()
        at = datetime.fromtimestamp(held.now, UTC)
        expected = gateway.preview_change(before, price=better, at=at)
        after = gateway.change_subscription(
            before, price=better, bills_now=True, idempotency_key=key()
        )
        assert (after.price, after.period_end) == (better, before.period_end)
        invoice = held.latest_invoice()
        assert (invoice.status, invoice.reason) == ("paid", "subscription_update")
        assert invoice.total_minor == expected.total_minor
        period = (before.period_end - before.period_start).total_seconds()
        left = (before.period_end - at).total_seconds()
        assert abs(invoice.total_minor - 3_000 * left / period) <= 1
        assert sorted(line.amount_minor < 0 for line in invoice.lines) == [False, True]
        assert all(line.is_proration for line in invoice.lines)
        assert all(line.period_end == before.period_end for line in invoice.lines)

    def test_downgraded_cost_less_from_the_next_period(self):
        held = Clocked(price_id=price(4_000))
        cheaper = price(1_000)
        first = held.latest_invoice().id
        gateway.change_subscription(
            held.subscription(), price=cheaper, bills_now=False, idempotency_key=key()
        )
        assert held.latest_invoice().id == first
        held.advance(days=32)
        assert held.latest_invoice().total_minor == 1_000

    def test_an_upgrade_that_is_not_paid_changes_nothing(self):
        plan, better = price(1_000), price(4_000)
        held = Clocked(price_id=plan)
        poor = sdk().payment_methods.attach(
            "pm_card_chargeCustomerFail", {"customer": held.customer}
        )["id"]
        sdk().subscriptions.update(held.id, {"default_payment_method": poor})
        before = held.subscription()
        with pytest.raises(PaymentDeclined):
            gateway.change_subscription(before, price=better, bills_now=True, idempotency_key=key())
        assert held.subscription() == before

    def test_end_with_their_period_unless_kept(self):
        held = Clocked(price_id=price())
        ending = gateway.end_with_period(held.id, idempotency_key=key())
        assert ending.cancels_at_period_end
        kept = gateway.keep_subscription(held.id, idempotency_key=key())
        assert (kept.cancels_at_period_end, kept.cancel_at) == (False, None)
        gateway.end_with_period(held.id, idempotency_key=key())
        held.advance(days=32)
        ended = held.subscription()
        assert (ended.status, ended.ended_at) == ("canceled", ending.period_end)

    def test_end_at_once_when_cancelled(self):
        held = Clocked(price_id=price())
        assert gateway.cancel_subscription(held.id).status == "canceled"
        assert gateway.cancel_subscription(held.id).status == "canceled"
        assert refused(lambda: gateway.cancel_subscription("sub_none")) == "resource_missing"
        found = {one.id: one.status for one in gateway.list_subscriptions(FROM_NOW)}
        assert found[held.id] == "canceled"

    def test_are_past_due_until_the_invoice_is_paid(self):
        held = Clocked(price_id=price())
        poor = sdk().payment_methods.attach(
            "pm_card_chargeCustomerFail", {"customer": held.customer}
        )["id"]
        sdk().subscriptions.update(held.id, {"default_payment_method": poor})
        held.advance(days=32)
        assert held.subscription().status == "past_due"
        invoice = held.latest_invoice()
        assert (invoice.status, invoice.paid_minor, invoice.attempts) == ("open", 0, 1)
        assert invoice.next_attempt_at
        with pytest.raises(PaymentDeclined):
            gateway.pay_invoice(invoice.id, idempotency_key=key())
        sdk().subscriptions.update(held.id, {"default_payment_method": held.card})
        paid = gateway.pay_invoice(invoice.id, idempotency_key=key())
        assert (paid.status, paid.paid_minor) == ("paid", 1_999)
        assert held.subscription().status == "active"
        assert invoice.id in [one.id for one in gateway.list_invoices(FROM_NOW)]


class TestPortal:
    def test_has_an_address(self):
        address = gateway.create_portal(
            customer=customer().id, return_url="https://example.com/", idempotency_key=key()
        )
        assert address.startswith("http")


class TestEvents:
    def test_tell_what_happened(self):
        payment = pay()
        found = [
            event
            for event in gateway.list_events(FROM_NOW, ["payment_intent.succeeded"])
            if event.object_id == payment.id
        ]
        assert [(one.type, one.object_type) for one in found] == [
            ("payment_intent.succeeded", "payment_intent")
        ]

    def test_are_of_our_account(self):
        assert gateway.account_id().startswith("acct_")
