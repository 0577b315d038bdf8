import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import stripe

from billing import gateway
from billing.gateway import PaymentDeclined
from billing.stripe_sandbox.sandbox import public
from billing.stripe_sandbox.server import serving
from billing.tests.shapes import KINDS, differences
from billing.tests.stripe import (
    SECRET,
    Clocked,
    Sandbox,
    customer,
    key,
    pay,
    price,
    sdk,
    visit,
    webhook_door,
)
from creditsite.testing.ports import free_port_pair

DONE, BACK = "https://example.com/done?id={CHECKOUT_SESSION_ID}", "https://example.com/back"
PAID, DECLINED, ASKS = "4242 4242 4242 4242", "4000000000000002", "4000002500003155"


def checkout(**given):
    return gateway.create_payment_checkout(
        **{
            "customer": customer().id,
            "lines": [gateway.Line("100 credits", 1_000, "usd")],
            "success_url": DONE,
            "cancel_url": BACK,
            "metadata": {},
            "idempotency_key": key(),
        }
        | given
    )


def subscribing() -> gateway.CheckoutSession:
    return gateway.create_subscription_checkout(
        customer=customer().id,
        price=price(1_999),
        success_url=DONE,
        cancel_url=BACK,
        metadata={"wallet": "3"},
        idempotency_key=key(),
    )


class TestPaymentPage:
    def test_takes_a_card_and_sends_the_customer_back(self, sandbox):
        session = checkout()
        status, page, _ = visit(session.url)
        assert status == 200
        assert "100 credits" in page
        assert "10.00 USD" in page
        assert "<script" not in page
        done = (303, "", f"https://example.com/done?id={session.id}")
        assert visit(session.url, card_number=PAID) == done
        assert visit(session.url) == done
        paid = gateway.retrieve_checkout(session.id)
        assert (paid.status, paid.is_paid, paid.url) == ("complete", True, None)
        payment = gateway.retrieve_payment_intent(paid.payment_intent)
        assert (payment.status, payment.received_minor) == ("succeeded", 1_000)

    def test_shows_a_decline_and_takes_another_card(self, sandbox):
        session = checkout()
        status, page, _ = visit(session.url, card_number=DECLINED)
        assert (status, "Your card was declined." in page) == (402, True)
        assert gateway.retrieve_checkout(session.id).status == "open"
        assert visit(session.url, card_number=PAID)[0] == 303
        assert gateway.retrieve_checkout(session.id).is_paid
        assert Counter(one["status"] for one in sandbox.objects("charge")) == {
            "succeeded": 1,
            "failed": 1,
        }

    @pytest.mark.parametrize(("answer", "is_paid"), [("pass", True), ("fail", False)])
    def test_asks_for_authentication(self, sandbox, answer, is_paid):
        session = checkout()
        address = sandbox.url + visit(session.url, card_number=ASKS)[2]
        assert not gateway.retrieve_checkout(session.id).is_paid
        assert "10.00 USD" in visit(address)[1]
        visit(address, action=answer)
        assert gateway.retrieve_checkout(session.id).is_paid is is_paid

    def test_refuses_what_is_no_test_card(self, sandbox):
        session = checkout()
        assert visit(session.url, card_number="4111 1111")[0] == 402
        assert visit(session.url, card_number="")[0] == 200
        assert gateway.retrieve_checkout(session.id).status == "open"

    def test_can_be_left_and_expires(self, sandbox):
        session = checkout()
        assert visit(session.url, action="cancel")[2] == BACK
        sandbox.order("clock", seconds=86_400)
        assert visit(session.url)[0] == 410
        assert visit(session.url, card_number=PAID)[0] == 410
        assert gateway.retrieve_checkout(session.id).status == "expired"

    def test_charges_tax_on_top(self, sandbox):
        sandbox.order("settings", tax_percent=15)
        session = checkout(calculates_tax=True)
        assert (session.amount_minor, session.tax_minor) == (1_150, 150)
        visit(session.url, card_number=PAID)
        payment = gateway.retrieve_payment_intent(
            gateway.retrieve_checkout(session.id).payment_intent
        )
        assert payment.received_minor == 1_150

    @pytest.mark.parametrize("outcome", ["succeeded", "failed"])
    def test_completes_before_a_slow_payment_arrives(self, sandbox, outcome):
        session = checkout()
        visit(session.url, card_number="4000000000000606")
        waiting = gateway.retrieve_checkout(session.id)
        assert (waiting.status, waiting.is_paid) == ("complete", False)
        sandbox.order(f"payment_intents/{waiting.payment_intent}", outcome=outcome)
        assert gateway.retrieve_checkout(session.id).is_paid is (outcome == "succeeded")
        types = [event["type"] for event in sandbox.events()]
        assert f"checkout.session.async_payment_{outcome}" in types

    def test_subscribes(self, sandbox):
        session = subscribing()
        assert visit(session.url, card_number=DECLINED)[0] == 402
        assert sandbox.objects("subscription") == []
        visit(session.url, card_number=PAID)
        subscription = gateway.retrieve_subscription(
            gateway.retrieve_checkout(session.id).subscription
        )
        assert (subscription.status, subscription.metadata) == ("active", {"wallet": "3"})
        assert subscription.default_payment_method

    def test_subscribes_after_authentication(self, sandbox):
        session = subscribing()
        address = sandbox.url + visit(session.url, card_number=ASKS)[2]
        assert [one["status"] for one in sandbox.objects("subscription")] == ["incomplete"]
        visit(address, action="pass")
        paid = gateway.retrieve_checkout(session.id)
        assert gateway.retrieve_subscription(paid.subscription).status == "active"

    def test_saves_a_card_that_is_then_charged_without_asking(self, sandbox):
        ada = customer()
        session = gateway.create_card_checkout(
            customer=ada.id,
            currency="usd",
            success_url=DONE,
            cancel_url=BACK,
            metadata={},
            idempotency_key=key(),
        )
        visit(session.url, card_number=ASKS)
        saved = gateway.retrieve_checkout(session.id).payment_method
        assert [card.id for card in gateway.list_cards(ada.id)] == [saved]
        same = {"customer": ada.id, "payment_method": saved, "amount_minor": 500}
        same |= {"currency": "usd", "metadata": {}}
        assert gateway.pay_off_session(**same, idempotency_key=key()).status == "succeeded"
        sandbox.order(f"payment_methods/{saved}", number="4000000000009995")
        with pytest.raises(PaymentDeclined):
            gateway.pay_off_session(**same, idempotency_key=key())

    def test_shows_text_as_text(self, sandbox):
        lines = [gateway.Line("<script>alert(1)</script>", 1_000, "usd")]
        page = visit(checkout(lines=lines).url)[1]
        assert "<script" not in page
        assert "&lt;script&gt;" in page


class TestPortalPage:
    def test_cancels_keeps_and_takes_another_card(self, sandbox):
        session = subscribing()
        visit(session.url, card_number=PAID)
        held = gateway.retrieve_checkout(session.id)
        address = gateway.create_portal(
            customer=held.customer, return_url=BACK, idempotency_key=key()
        )
        page = visit(address)[1]
        assert "Every month, active" in page
        assert "19.99 USD" in page
        visit(address, action="cancel", subscription=held.subscription)
        assert gateway.retrieve_subscription(held.subscription).cancels_at_period_end
        visit(address, action="keep", subscription=held.subscription)
        assert not gateway.retrieve_subscription(held.subscription).cancels_at_period_end
        assert visit(address, action="pay", card_number=DECLINED)[0] == 402
        visit(address, action="pay", card_number="5555555555554444")
        used = gateway.retrieve_subscription(held.subscription).default_payment_method
        assert {card.id: card.brand for card in gateway.list_cards(held.customer)}[used] == (
            "mastercard"
        )

    def test_is_about_its_own_customer(self, sandbox):
        held = Clocked(price_id=price())
        address = gateway.create_portal(
            customer=customer().id, return_url=BACK, idempotency_key=key()
        )
        assert visit(address, action="cancel", subscription=held.id)[0] == 402
        assert not held.subscription().cancels_at_period_end


class TestRequests:
    def refusal(self, call) -> stripe.InvalidRequestError:
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            call()
        return refusal.value

    @pytest.mark.parametrize(
        ("given", "code", "param"),
        [
            ({"emial": "a@example.com"}, "parameter_unknown", "emial"),
            ({"address": {"cty": "Paarl"}}, "parameter_unknown", "address[cty]"),
            ({"balance": "ten"}, "parameter_invalid_integer", "balance"),
            ({"balance": 1.5}, "parameter_invalid_integer", "balance"),
            ({"email": ["a"]}, None, "email"),
            ({"preferred_locales": "en"}, None, "preferred_locales"),
            ({"shipping": {"name": "Ada"}}, "parameter_missing", "shipping[address]"),
            ({"tax_exempt": "mostly"}, None, "tax_exempt"),
            ({"tax_id_data": [{"type": "eu_vat", "value": "1"}]}, "not_in_sandbox", None),
        ],
    )
    def test_are_read_by_the_types_of_the_sdk(self, sandbox, given, code, param):
        refusal = self.refusal(lambda: sdk().customers.create(given))
        assert refusal.code == code
        assert param in {None, refusal.param}
        assert sandbox.objects("customer") == []

    def test_that_lack_something_are_refused(self, sandbox):
        refusal = self.refusal(lambda: sdk().payment_intents.create({"amount": 500}))
        assert (refusal.code, refusal.param) == ("parameter_missing", "currency")

    def test_for_what_is_not_there_are_refused(self, sandbox):
        refusal = self.refusal(lambda: sdk().coupons.create({"percent_off": 10}))
        assert "Unrecognized request URL (POST: /v1/coupons)" in refusal.user_message
        assert refusal.http_status == 404

    def test_that_are_malformed_change_no_key(self, sandbox):
        same = {"idempotency_key": key()}
        self.refusal(lambda: sdk().customers.create({"emial": "a"}, same))
        assert sdk().customers.create({"email": "a@example.com"}, same)["id"]

    def test_of_another_version_or_account_are_refused(self, sandbox, settings):
        for option in [{"stripe_version": "2020-08-27"}, {"stripe_account": "acct_other"}]:
            with pytest.raises((stripe.InvalidRequestError, stripe.PermissionError)):
                sdk().customers.create({}, option)

    def test_expand_what_is_asked_for_and_nothing_unknown(self, sandbox):
        paid = pay()
        whole = sdk().payment_intents.retrieve(
            paid.id, {"expand": ["latest_charge.balance_transaction", "customer"]}
        )
        assert whole["latest_charge"]["balance_transaction"]["net"] == 1_000 - 59
        assert whole["customer"]["email"] == "ada@example.com"
        refusal = self.refusal(
            lambda: sdk().payment_intents.retrieve(paid.id, {"expand": ["amount"]})
        )
        assert refusal.param == "expand"

    def test_page_through_lists_by_themselves(self, sandbox):
        made = [customer().id for _ in range(7)]
        found = sdk().customers.list({"limit": 3})
        assert [one["id"] for one in found.auto_paging_iter()] == made[::-1]
        before = sdk().customers.list({"limit": 2, "ending_before": made[2]})
        assert [one["id"] for one in before["data"]] == [made[4], made[3]]


class TestSubscriptions:
    def test_that_nobody_pays_become_unpaid_and_are_revived(self, sandbox):
        begins = int(datetime(2027, 1, 15, tzinfo=UTC).timestamp())
        held = Clocked(price_id=price(), begins=begins)
        sandbox.order(f"payment_methods/{held.card}", number="4000000000000341")
        held.advance(days=31)
        seen = []
        for _ in range(4):
            seen.append(held.subscription().status)
            held.advance(days=7)
        assert seen == ["past_due", "past_due", "past_due", "unpaid"]
        held.advance(days=10)
        draft = held.latest_invoice()
        assert (draft.status, draft.attempts) == ("draft", 0)
        sandbox.order(f"payment_methods/{held.card}", number="4242424242424242")
        assert gateway.pay_invoice(draft.id, idempotency_key=key()).status == "paid"
        assert held.subscription().status == "active"

    def test_may_end_after_the_last_retry(self, sandbox):
        sandbox.order("settings", after_retries="canceled")
        held = Clocked(price_id=price())
        sandbox.order(f"payment_methods/{held.card}", number="4000000000000341")
        held.advance(days=60)
        assert held.subscription().status == "canceled"

    def test_of_every_price_are_billed_in_full_and_in_order(self, sandbox):
        begins = int(datetime(2027, 1, 31, tzinfo=UTC).timestamp())
        held = Clocked(price_id=price(1_000), begins=begins)
        held.advance_to(int(datetime(2028, 1, 31, tzinfo=UTC).timestamp()))
        found = [public(one) for one in sandbox.objects("invoice")][::-1]
        assert [one["total"] for one in found] == [1_000] * 13
        periods = [one["lines"]["data"][0]["period"] for one in found]
        assert all(a["end"] == b["start"] for a, b in pairwise(periods))
        assert periods[1]["end"] == int(datetime(2027, 3, 31, tzinfo=UTC).timestamp())

    def test_give_unused_time_back_as_credit_of_the_customer(self, sandbox):
        held = Clocked(price_id=price(4_000))
        cheaper = price(1_000)
        gateway.change_subscription(
            held.subscription(), price=cheaper, bills_now=True, idempotency_key=key()
        )
        invoice = held.latest_invoice()
        assert (invoice.status, invoice.total_minor, invoice.paid_minor) == ("paid", -3_000, 0)
        held.advance(days=32)
        invoice = held.latest_invoice()
        assert (invoice.total_minor, invoice.due_minor, invoice.paid_minor) == (1_000, 0, 0)
        assert sdk().customers.retrieve(held.customer)["balance"] == -2_000

    def test_change_to_years_at_once(self, sandbox):
        held = Clocked(price_id=price(1_000))
        yearly = price(10_000, interval="year")
        after = gateway.change_subscription(
            held.subscription(), price=yearly, bills_now=True, idempotency_key=key()
        )
        assert 365 <= (after.period_end - after.period_start).days <= 366
        assert held.latest_invoice().total_minor == 9_000

    def test_follow_the_clock_of_all(self, sandbox):
        session = subscribing()
        visit(session.url, card_number=PAID)
        sandbox.order("clock", seconds=32 * 86_400)
        reasons = [one["billing_reason"] for one in sandbox.objects("invoice")]
        assert reasons == ["subscription_cycle", "subscription_create"]


class TestDisputesAndRefunds:
    def test_open_partly_and_close_on_order(self, sandbox):
        payment = pay()
        opened = sandbox.order("disputes", payment_intent=payment.id, amount=400)
        assert gateway.retrieve_dispute(opened["id"]).withdrawn_minor == 400
        sandbox.order(f"disputes/{opened['id']}", outcome="won")
        won = gateway.retrieve_dispute(opened["id"])
        assert (won.status, won.withdrawn_minor) == ("won", 0)
        types = [event["type"].removeprefix("charge.dispute.") for event in sandbox.events()]
        assert types[-4:] == ["created", "funds_withdrawn", "funds_reinstated", "closed"]

    def test_begin_as_inquiries_that_take_nothing(self, sandbox):
        payment = pay(card="pm_card_createDisputeInquiry")
        [dispute] = gateway.list_disputes(datetime(2020, 1, 1, tzinfo=UTC))
        assert (dispute.status, dispute.withdrawn_minor) == ("warning_needs_response", 0)
        assert dispute.is_refundable
        sandbox.order(f"disputes/{dispute.id}", outcome="lost")
        grown = gateway.retrieve_dispute(dispute.id)
        assert (grown.status, grown.withdrawn_minor) == ("needs_response", payment.amount_minor)

    @pytest.mark.parametrize(
        ("card", "at_first", "later"),
        [
            ("pm_card_refundFail", "succeeded", "failed"),
            ("pm_card_pendingRefund", "pending", "succeeded"),
        ],
    )
    def test_refunds_end_otherwise_later(self, sandbox, card, at_first, later):
        payment = pay(card=card)
        refund = gateway.refund_payment(
            payment_intent=payment.id,
            amount_minor=300,
            currency="usd",
            metadata={},
            idempotency_key=key(),
        )
        assert refund.status == at_first
        sandbox.order("clock", seconds=2 * 86_400)
        assert gateway.retrieve_refund(refund.id).status == later
        left = 0 if later == "failed" else 300
        assert gateway.retrieve_payment_intent(payment.id).refunded_minor == left


class TestWebhooks:
    def test_are_signed_and_in_order(self, sandbox, door):
        payment = pay()
        door.wait_for(4)
        assert door.types() == [
            "customer.created",
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
        ]
        body, signature = door.received[-1]
        event = gateway.construct_event(body, signature, at=datetime.now(UTC))
        assert (event.object_id, event.api_version) == (payment.id, stripe.api_version)

    def test_are_sent_again_until_they_are_taken(self, sandbox, door):
        door.answer = lambda count: [500, 302, 400, 200][min(count, 4) - 1]
        customer()
        door.wait_for(4)
        assert len(set(door.ids())) == 1
        [delivery] = sandbox.order("deliveries", "GET")["deliveries"]
        assert (delivery["state"], delivery["tries"]) == ("done", 4)

    def test_are_signed_with_both_secrets_while_one_follows_the_other(
        self, sandbox, door, settings
    ):
        sandbox.order("webhook", url=door.url, secrets=["whsec_new", SECRET])
        customer()
        door.wait_for(1)
        for secret in ["whsec_new", SECRET]:
            settings.STRIPE_WEBHOOK_SECRETS = [secret]
            gateway.construct_event(*door.received[0], at=datetime.now(UTC))

    def test_can_be_lost_and_sent_after_all(self, sandbox, door):
        sandbox.order("events/rules", effect="lose", types=["charge.*"])
        pay()
        door.wait_for(3)
        assert "charge.succeeded" not in door.types()
        [lost] = gateway.list_events(datetime(2020, 1, 1, tzinfo=UTC), ["charge.succeeded"])
        sandbox.order(f"events/{lost.id}/send")
        door.wait_for(4)
        assert door.ids()[-1] == lost.id

    def test_can_be_doubled_a_number_of_times(self, sandbox, door):
        sandbox.order("events/rules", effect="duplicate", copies=2, times=1)
        first, second = customer(), customer()
        door.wait_for(4)
        about = Counter(json.loads(body)["data"]["object"]["id"] for body, _ in door.received)
        assert about == {first.id: 3, second.id: 1}

    def test_can_be_late(self, sandbox, door):
        sandbox.order("events/rules", effect="delay", seconds=3_600, types=["charge.succeeded"])
        pay()
        door.wait_for(3)
        sandbox.order("clock", seconds=3_600)
        door.wait_for(4)
        assert door.types()[-1] == "charge.succeeded"

    @pytest.mark.parametrize("order", ["reversed", "shuffled", "list"])
    def test_can_be_reordered(self, sandbox, door, order):
        sandbox.order("events/hold")
        pay()
        pay()
        door.wait_for(0)
        ids = [event["id"] for event in sandbox.events()]
        wanted = [*ids[1::2], *ids[::2]] if order == "list" else order
        released = sandbox.order("events/release", order=wanted, seed=7)["released"]
        assert sorted(released) == sorted(ids)
        assert released != ids
        door.wait_for(len(ids))
        assert door.ids() == released
        if order == "list":
            assert released == wanted

    def test_go_to_endpoints_of_their_types(self, sandbox, door):
        sandbox.order("webhook", url="http://127.0.0.1:9/", secrets=["whsec_other"])
        made = sdk().webhook_endpoints.create(
            {"url": door.url, "enabled_events": ["charge.succeeded"]}
        )
        pay()
        door.wait_for(1)
        stripe.WebhookSignature.verify_header(*door.received[0], made["secret"], 300)


class TestFaults:
    def test_that_make_no_sense_are_refused(self, sandbox):
        for order in [{"effect": "explode"}, {"when": "never"}, {"colour": "blue"}]:
            with pytest.raises(AssertionError):
                sandbox.order("faults", **order)
        with pytest.raises(AssertionError):
            sandbox.order("clock", hours=3)

    def test_are_ordered_by_json_alone(self, sandbox):
        assert visit(f"{sandbox.url}/_sandbox/reset", a="form")[0] == 415


class TestObjects:
    def test_have_the_fields_and_types_that_the_sdk_says(self, sandbox):
        """All kinds, after a life of everything, with the objects in their events."""
        visit(checkout().url, card_number=PAID)
        visit(subscribing().url, card_number=PAID)
        sandbox.order("settings", tax_percent=15)
        visit(checkout(calculates_tax=True).url, card_number=ASKS)
        with pytest.raises(PaymentDeclined):
            pay(card="pm_card_chargeDeclined")
        gateway.create_card_checkout(
            customer=customer().id,
            currency="usd",
            success_url=DONE,
            cancel_url=BACK,
            metadata={},
            idempotency_key=key(),
        )
        card = sandbox.objects("checkout.session")[0]
        visit(card["url"], card_number=PAID)
        held = Clocked(price_id=price(1_000))
        gateway.change_subscription(
            held.subscription(), price=price(4_000), bills_now=True, idempotency_key=key()
        )
        gateway.end_with_period(held.id, idempotency_key=key())
        held.advance(days=32)
        payment = pay(card="pm_card_refundFail")
        gateway.refund_payment(
            payment_intent=payment.id,
            amount_minor=300,
            currency="usd",
            metadata={},
            idempotency_key=key(),
        )
        pay(card="pm_card_createDispute")
        sandbox.order("clock", seconds=86_400)
        gateway.create_portal(customer=held.customer, return_url=BACK, idempotency_key=key())
        sandbox.order("webhook", url="http://127.0.0.1:9/", secrets=["whsec_x"])
        wrong: set[str] = set()
        for name, kind in KINDS.items():
            objects = [public(one) for one in sandbox.objects(name)]
            assert objects, name
            for one in objects:
                wrong.update(differences(kind, one, name))
        for event in sandbox.events():
            item = event["data"]["object"]
            wrong.update(differences(KINDS[item["object"]], item, event["type"]))
        assert sorted(wrong) == []


class TestProgram:
    def test_keeps_everything_when_it_is_killed(self, tmp_path, settings):
        port = free_port_pair()
        settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
        settings.STRIPE_API_BASE = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "billing.stripe_sandbox", "--port", str(port)]
        command += ["--state", str(tmp_path / "var" / "stripe.sqlite")]
        command += ["--webhook", "http://127.0.0.1:9/", "--secret", SECRET]
        made, same = [], key()
        for number in [signal.SIGKILL, signal.SIGTERM]:
            program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert program.stdout
            assert program.stdout.readline() == (
                f"The local Stripe answers on http://127.0.0.1:{port}\n"
            )
            made.append(customer_with(same).id)
            assert gateway.retrieve_customer(made[0]).email == "ada@example.com"
            os.kill(program.pid, number)
            assert program.wait(10) == (-9 if number == signal.SIGKILL else 0)
            program.stdout.close()
        assert len(set(made)) == 1

    def test_sends_what_was_not_taken_before_a_restart(self, tmp_path, settings):
        settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
        state = str(tmp_path / "stripe.sqlite")
        with serving(state=state) as server:
            server.listen("http://127.0.0.1:9/", "whsec_old")
            settings.STRIPE_API_BASE = server.url
            customer()
        with webhook_door() as door, serving(state=state, retry_seconds=0.02) as server:
            server.listen(door.url, SECRET)
            door.wait_for(1)
            body, signature = door.received[0]
            assert gateway.is_signed(body, signature, SECRET)


def customer_with(same: str) -> gateway.Customer:
    return gateway.create_customer(email="ada@example.com", metadata={}, idempotency_key=same)


class TestClock:
    def test_moves_back_only_before_anything_has_happened(self, sandbox: Sandbox):
        sandbox.order("clock", seconds=-86_400)
        made = customer()
        assert sandbox.objects("customer")[0]["created"] < time.time() - 80_000
        with pytest.raises(AssertionError, match="before anything has happened"):
            sandbox.order("clock", seconds=-1)
        sandbox.order("clock", seconds=86_400)
        assert gateway.retrieve_customer(made.id).email == "ada@example.com"


class TestReset:
    def test_forgets_all_but_where_events_go(self, sandbox: Sandbox, door):
        customer()
        door.wait_for(1)
        sandbox.order("clock", seconds=7_200)
        sandbox.order("reset")
        assert sandbox.objects("customer") == []
        customer()
        door.wait_for(2)
        assert time.time() - sandbox.order("state", "GET")["now"] > -3_600
