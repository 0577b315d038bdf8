"""Buying through the API, at the local Stripe."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import StaffFactory
from billing import gateway
from billing.models import Payment, Redemption, StripeCustomer
from billing.services.payments import customer_of
from billing.services.settlement import settle_payment
from billing.tests.sale import package, promotion
from billing.tests.stripe import sdk, visit
from ledger.models import CreditTransaction, Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.api import as_service, as_user, poor_user, refused, wrong_fields
from ledger.tests.factories import close, set_credit_settings

pytestmark = pytest.mark.django_db
BUY = "credits/purchase"
PAID, DECLINED = "4242424242424242", "4000000000000002"
ELSEWHERE = [
    "http://evil.example.com/",
    "http://testserver.example.com/",
    "http://testserver@evil.example.com/",
    "https://a:b@example.com/",
    "//example.com/",
    "/billing/",
    "javascript:alert(1)",
    "https://",
    "https://exa mple.com/",
    "https://example.com\\@evil.example.com/",
    "https://example.com:port/",
    "https://[/",
    "https://пример.рф/",
]


def usd(amount_minor):
    return {"amount_minor": amount_minor, "currency": "usd"}


def paid_on(url, card=PAID):
    return visit(url, card_number=card)


def settled(payment_id):
    payment = Payment.objects.get(public_id=payment_id)
    session = gateway.retrieve_checkout(payment.session_id)
    return settle_payment(session.payment_intent)


class TestCheckout:
    def test_leads_to_a_page_to_pay_on(self, sandbox):
        user = poor_user()
        answer = as_user(user).post(BUY, {"amount": 100, "description": "For May"}, key="k")
        assert answer.status_code == 201
        begun = answer.json()
        payment = begun["payment"]
        assert begun["client_secret"] is None
        assert payment == {
            "id": payment["id"],
            "user_id": user.pk,
            "status": "open",
            "description": "For May",
            "package": None,
            "credits": 100,
            "bonus_credits": 0,
            "promotion_code": None,
            "net": usd(1_000),
            "tax": usd(0),
            "total": usd(1_000),
            "returned": usd(0),
            "is_disputed": False,
            "created_at": payment["created_at"],
            "paid_at": None,
            "receipt_url": None,
        }
        status, _, back = paid_on(begun["checkout_url"])
        assert (status, back) == (
            303,
            f"http://testserver/billing/payments/{payment['id']}/?paid=1",
        )
        settled(payment["id"])
        assert Wallet.objects.get(user=user).purchase == 100
        given = CreditTransaction.objects.get(wallet__user=user)
        assert (given.kind, given.description) == ("purchase", "For May")

    def test_sells_a_package_with_a_promotion_that_is_reserved(self, sandbox):
        package()
        promotion("bonus", starts_at=timezone.now())
        user = poor_user()
        body = {"package": "small", "promotion_code": "spring"}
        begun = as_user(user).post(BUY, body).json()
        payment = begun["payment"]
        assert (payment["package"], payment["promotion_code"]) == ("small", "SPRING")
        assert (payment["bonus_credits"], payment["description"]) == (50, "Small: 100 credits")
        assert Redemption.objects.get().status == "reserved"
        assert "Small: 100 credits" in visit(begun["checkout_url"])[1]
        paid_on(begun["checkout_url"])
        settled(payment["id"])
        wallet = Wallet.objects.get(user=user)
        assert (wallet.purchase, wallet.award) == (100, 50)

    def test_leads_back_to_where_the_client_says(self, sandbox):
        body = {
            "amount": 100,
            "success_url": "https://app.example.com/done?s={CHECKOUT_SESSION_ID}",
            "cancel_url": "https://app.example.com/back",
        }
        begun = as_user(poor_user()).post(BUY, body).json()
        session = Payment.objects.get().session_id
        assert paid_on(begun["checkout_url"])[2] == f"https://app.example.com/done?s={session}"

    @pytest.mark.parametrize("field", ["success_url", "cancel_url"])
    def test_leads_nowhere_else(self, field):
        caller = as_user(poor_user())
        for address in ELSEWHERE:
            answer = caller.post(BUY, {"amount": 100, field: address})
            assert refused(answer) == (400, "invalid_request"), address
        assert not Payment.objects.exists()

    def test_leads_back_to_this_site_in_the_clear_where_it_is_called_so(self, sandbox):
        body = {"amount": 100, "success_url": "http://testserver/elsewhere"}
        assert as_user(poor_user()).post(BUY, body).status_code == 201

    def test_that_is_declined_can_be_paid_after_all(self, sandbox):
        begun = as_user(poor_user()).post(BUY, {"amount": 100}).json()
        assert paid_on(begun["checkout_url"], DECLINED)[0] == 402
        assert settled(begun["payment"]["id"]).status == "open"
        assert paid_on(begun["checkout_url"])[0] == 303
        assert settled(begun["payment"]["id"]).status == "credited"

    def test_calculates_tax_where_that_is_set(self, sandbox, settings):
        settings.STRIPE_AUTOMATIC_TAX = True
        sandbox.order("settings", tax_percent=15)
        user = poor_user()
        caller = as_user(user)
        body = {"amount": 100, "payment_method": "intent"}
        assert refused(caller.post(BUY, body))[0] == 400
        begun = caller.post(BUY, {"amount": 100}).json()
        paid_on(begun["checkout_url"])
        settled(begun["payment"]["id"])
        told = caller.get(f"billing/payments/{begun['payment']['id']}").json()
        assert (told["net"], told["tax"], told["total"]) == (usd(1_000), usd(150), usd(1_150))


class TestKeys:
    def test_the_same_key_leads_to_the_same_page(self, sandbox):
        caller = as_user(poor_user())
        first = caller.post(BUY, {"amount": 100}, key="k")
        again = caller.post(BUY, {"amount": 100}, key="k")
        assert again.json() == first.json()
        assert again["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first
        assert len(sandbox.objects("checkout.session")) == Payment.objects.count() == 1

    def test_it_goes_on_with_a_price_and_a_promotion_that_are_gone(self, sandbox):
        promotion(starts_at=timezone.now(), limit_total=1)
        caller, body = as_user(poor_user()), {"amount": 100, "promotion_code": "SPRING"}
        first = caller.post(BUY, body, key="k").json()
        set_credit_settings(price_per_credit="0.50", credits_enabled=False)
        assert caller.post(BUY, body, key="k").json() == first
        assert first["payment"]["total"] == usd(800)

    def test_it_is_for_one_request(self, sandbox):
        caller = as_user(poor_user())
        caller.post(BUY, {"amount": 100}, key="k")
        for other in [
            {"amount": 101},
            {"amount": 100, "description": "Else"},
            {"amount": 100, "payment_method": "intent"},
            {"amount": 100, "success_url": "https://example.com/"},
        ]:
            assert refused(caller.post(BUY, other, key="k")) == (422, "idempotency_key_reused")

    def test_of_what_was_paid_there_is_no_page_any_more(self, sandbox):
        caller = as_user(poor_user())
        first = caller.post(BUY, {"amount": 100}, key="k").json()
        paid_on(first["checkout_url"])
        settled(first["payment"]["id"])
        again = caller.post(BUY, {"amount": 100}, key="k").json()
        assert (again["payment"]["status"], again["checkout_url"]) == ("credited", None)

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("path", ["/v1/customers", "/v1/checkout/sessions"])
    def test_it_goes_on_after_stripe_did_not_answer(self, sandbox, path, when):
        promotion(starts_at=timezone.now(), limit_total=1)
        caller, body = as_user(poor_user()), {"amount": 100, "promotion_code": "SPRING"}
        sandbox.fail_next(path, method="POST", effect="disconnect", when=when)
        answer = caller.post(BUY, body, key="k")
        assert refused(answer) == (503, "payments_unavailable")
        assert answer["Retry-After"]
        assert caller.post(BUY, body, key="k").status_code == 201
        assert Payment.objects.count() == Redemption.objects.count() == 1
        assert len(sandbox.objects("customer")) == len(sandbox.objects("checkout.session")) == 1

    def test_it_begins_a_page_anew_that_was_lost_long_ago(self, sandbox):
        caller = as_user(poor_user())
        path = "/v1/checkout/sessions"
        sandbox.fail_next(path, method="POST", effect="disconnect", when="after")
        assert refused(caller.post(BUY, {"amount": 100}, key="k"))[0] == 503
        early = timezone.now() - timedelta(minutes=50)
        Payment.objects.update(created_at=early)
        page = caller.post(BUY, {"amount": 100}, key="k").json()["checkout_url"]
        assert paid_on(page)[0] == 303
        left = gateway.retrieve_checkout(Payment.objects.get().session_id).expires_at - early
        assert left // timedelta(minutes=1) in {94, 95}

    def test_it_is_not_gone_on_with_after_a_day(self, sandbox):
        caller = as_user(poor_user())
        sandbox.fail_next("/v1/checkout/sessions", method="POST", effect="disconnect")
        caller.post(BUY, {"amount": 100}, key="k")
        Payment.objects.update(created_at=timezone.now() - timedelta(days=1))
        assert refused(caller.post(BUY, {"amount": 100}, key="k")) == (409, "conflict")


class TestIntent:
    def begun(self, caller):
        return caller.post(BUY, {"amount": 100, "payment_method": "intent"}).json()

    def confirm(self, secret, card="pm_card_visa"):
        intent_id = Payment.objects.get().intent_id
        assert secret == sdk().payment_intents.retrieve(intent_id)["client_secret"]
        given = {"payment_method": card, "return_url": "https://example.com/"}
        sdk().payment_intents.confirm(intent_id, given)
        return intent_id

    def test_is_confirmed_by_the_client_and_told(self, sandbox):
        caller = as_user(poor_user())
        begun = self.begun(caller)
        assert begun["checkout_url"] is None
        intent_id = self.confirm(begun["client_secret"])
        body = {"stripe_payment_intent_id": intent_id, "amount": 100, "description": "Mine"}
        answer = caller.post(BUY, body, key="k")
        assert answer.status_code == 200
        told = answer.json()
        assert (told["payment"]["status"], told["payment"]["total"]) == ("credited", usd(1_000))
        transaction = told["transaction"]
        assert (transaction["transaction_type"], transaction["amount"]) == ("purchase", 100)
        again = caller.post(BUY, body, key="k")
        assert (again.json(), again["Idempotent-Replayed"]) == (told, "true")
        assert CreditTransaction.objects.count() == 1

    def test_has_the_same_secret_by_the_same_key(self, sandbox):
        caller, body = as_user(poor_user()), {"amount": 100, "payment_method": "intent"}
        first = caller.post(BUY, body, key="k").json()
        assert caller.post(BUY, body, key="k").json() == first

    def test_that_a_page_made_is_taken_before_any_webhook_came(self, sandbox):
        caller = as_user(poor_user())
        begun = caller.post(BUY, {"amount": 100}).json()
        paid_on(begun["checkout_url"])
        intent = gateway.retrieve_checkout(Payment.objects.get().session_id).payment_intent
        answer = caller.post(BUY, {"stripe_payment_intent_id": intent})
        assert answer.json()["payment"]["status"] == "credited"

    def test_that_is_not_paid_gives_nothing(self, sandbox):
        caller = as_user(poor_user())
        self.begun(caller)
        intent_id = Payment.objects.get().intent_id
        body = {"stripe_payment_intent_id": intent_id}
        answer = caller.post(BUY, body)
        assert refused(answer) == (409, "payment_not_paid")
        assert answer.json()["intent_status"] == "requires_payment_method"
        with pytest.raises(Exception, match="declined"):
            sdk().payment_intents.confirm(intent_id, {"payment_method": "pm_card_chargeDeclined"})
        assert refused(caller.post(BUY, body)) == (402, "payment_declined")
        assert not CreditTransaction.objects.exists()

    def test_of_another_or_of_nobody_is_not_there(self, sandbox):
        owner, other = poor_user(), poor_user()
        begun = self.begun(as_user(owner))
        mine = self.confirm(begun["client_secret"])
        customer_of(other, at=timezone.now())
        # Paid by a customer of ours, but no purchase: an invoice, say.
        known = StripeCustomer.objects.get(user=owner)
        made = sdk().payment_intents.create(
            {
                "amount": 1_000,
                "currency": "usd",
                "customer": known.customer_id,
                "payment_method": "pm_card_visa",
                "confirm": True,
                "automatic_payment_methods": {"enabled": True},
                "return_url": "https://example.com/",
            }
        )
        for caller, intent in [
            (as_user(other), mine),
            (as_user(owner), made["id"]),
            (as_user(owner), "pi_nothing"),
            (as_user(poor_user()), mine),
        ]:
            answer = caller.post(BUY, {"stripe_payment_intent_id": intent})
            assert refused(answer) == (404, "not_found")
        assert not CreditTransaction.objects.exists()

    def test_that_buys_another_number_is_refused(self, sandbox):
        caller = as_user(poor_user())
        intent_id = self.confirm(self.begun(caller)["client_secret"])
        answer = caller.post(BUY, {"stripe_payment_intent_id": intent_id, "amount": 101})
        assert refused(answer) == (409, "other_purchase")

    def test_that_is_held_back_says_so(self, sandbox):
        user = poor_user()
        caller = as_user(user)
        intent_id = self.confirm(self.begun(caller)["client_secret"])
        close(wallet_of(user))
        answer = caller.post(BUY, {"stripe_payment_intent_id": intent_id})
        assert refused(answer) == (409, "payment_held_back")


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({}, ["amount"]),
            ({"amount": 5, "package": "small"}, ["amount"]),
            ({"amount": 5, "payment_method": "cash"}, ["payment_method"]),
            ({"amount": 5, "description": "a" * 251}, ["description"]),
            ({"stripe_payment_intent_id": "pi_1", "package": "small"}, ["package"]),
            ({"stripe_payment_intent_id": "pi_1", "success_url": "https://a.b/"}, ["success_url"]),
        ],
    )
    def test_of_shape(self, body, fields):
        assert wrong_fields(as_user(poor_user()).post(BUY, body)) == fields

    def test_of_payments_that_are_not_set_up(self, settings):
        settings.STRIPE_SECRET_KEY = ""
        answer = as_user(poor_user()).post(BUY, {"amount": 100})
        assert refused(answer) == (503, "payments_unavailable")
        assert answer.json()["detail"] == "Payments are not set up."
        assert not Payment.objects.exists()

    def test_while_credits_are_switched_off(self, sandbox):
        set_credit_settings(credits_enabled=False)
        answer = as_user(poor_user()).post(BUY, {"amount": 100})
        assert refused(answer) == (503, "credits_disabled")

    def test_of_a_closed_wallet_and_not_of_a_paused_one(self, sandbox):
        from ledger.services import posting

        closed, paused = poor_user(), poor_user()
        close(wallet_of(closed))
        posting.set_status(wallet=wallet_of(paused).pk, expected="active", status="paused")
        assert refused(as_user(closed).post(BUY, {"amount": 100})) == (409, "wallet_closed")
        assert as_user(paused).post(BUY, {"amount": 100}).status_code == 201

    def test_of_what_would_cost_nothing(self, sandbox):
        promotion(starts_at=timezone.now(), basis_points=10_000)
        body = {"amount": 100, "promotion_code": "SPRING"}
        caller = as_user(poor_user())
        assert refused(caller.post(BUY, body)) == (409, "nothing_to_pay")
        assert refused(caller.post(f"{BUY}/validate", body)) == (409, "nothing_to_pay")
        assert not Redemption.objects.exists()

    def test_of_less_than_stripe_takes(self, sandbox):
        promotion(starts_at=timezone.now(), limit_total=1)
        body = {"amount": 4, "promotion_code": "SPRING"}
        answer = as_user(poor_user()).post(BUY, body)
        assert refused(answer) == (409, "too_little_to_pay")
        assert Payment.objects.get().status == "ended"
        assert Redemption.objects.get().status == "released"

    def test_in_their_order(self, sandbox):
        """A shape before an object, an object before the key, the key before the switch."""
        package()
        caller = as_user(poor_user())
        caller.post(BUY, {"amount": 100}, key="k")
        set_credit_settings(credits_enabled=False)
        assert refused(caller.post(BUY, {"package": "none", "amount": 1}, key="k"))[0] == 400
        assert refused(caller.post(BUY, {"package": "none"}, key="k"))[0] == 404
        assert refused(caller.post(BUY, {"package": "small"}, key="k"))[0] == 422
        assert refused(caller.post(BUY, {"package": "small"}, key="l"))[0] == 503


class TestServices:
    def test_buy_for_whom_they_name_by_a_key(self, sandbox):
        user = poor_user()
        service = as_service("billing:write", owner=StaffFactory())
        body = {"amount": 100, "user_id": user.pk}
        assert refused(service.post(BUY, body))[0] == 400
        assert refused(service.post(BUY, {"amount": 100}, key="k"))[0] == 400
        begun = service.post(BUY, body, key="k")
        assert begun.json()["payment"]["user_id"] == user.pk
        assert refused(as_service("billing:read").post(BUY, body, key="k"))[1] == "missing_scope"
        other = {"amount": 100, "user_id": poor_user().pk}
        assert refused(as_user(user).post(BUY, other))[0] == 404


class TestPayments:
    def test_are_listed_newest_first_and_filtered(self, sandbox):
        caller = as_user(poor_user())
        ids = [
            caller.post(BUY, {"amount": amount}).json()["payment"]["id"]
            for amount in (100, 200, 300)
        ]
        as_user(poor_user()).post(BUY, {"amount": 100})
        begun = caller.post(BUY, {"amount": 400}).json()
        paid_on(begun["checkout_url"])
        settled(begun["payment"]["id"])
        page = caller.get("billing/payments", {"page_size": 2}).json()
        assert [row["credits"] for row in page["results"]] == [400, 300]
        more = caller.client.get(page["next"]).json()
        assert [row["id"] for row in more["results"]] == ids[1::-1]
        paid = caller.get("billing/payments", {"status": "credited"}).json()["results"]
        assert [row["credits"] for row in paid] == [400]
        until = {"to": (timezone.now() - timedelta(hours=1)).isoformat()}
        assert caller.get("billing/payments", until).json()["results"] == []

    def test_have_a_receipt_once_they_are_paid(self, sandbox, settings):
        settings.SITE_URL = "https://credits.example.com"
        caller = as_user(poor_user())
        begun = caller.post(BUY, {"amount": 100}).json()
        home = f"https://credits.example.com/billing/payments/{begun['payment']['id']}/"
        assert paid_on(begun["checkout_url"])[2] == f"{home}?paid=1"
        settled(begun["payment"]["id"])
        told = caller.get(f"billing/payments/{begun['payment']['id']}").json()
        assert told["receipt_url"].startswith(home)

    def test_of_others_are_not_there(self, sandbox):
        begun = as_user(poor_user()).post(BUY, {"amount": 100}).json()
        path = f"billing/payments/{begun['payment']['id']}"
        assert refused(as_user(poor_user()).get(path)) == (404, "not_found")
        assert refused(as_service("billing:read").get(path))[0] == 400

    def test_are_asked_for_in_as_many_queries_however_many_there_are(
        self, sandbox, django_assert_num_queries
    ):
        package()
        promotion(starts_at=timezone.now(), limit_per_user=9)
        caller = as_user(poor_user())
        for _ in range(3):
            caller.post(BUY, {"package": "small", "promotion_code": "SPRING"})
        with django_assert_num_queries(2):  # Of these one is for who calls.
            assert len(caller.get("billing/payments").json()["results"]) == 3
