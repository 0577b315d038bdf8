"""The portal: whose pages they are, what they say, and where they lead."""

from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import Payment
from billing.tests.payments import bought, opened
from billing.tests.sale import package, plan, promotion
from billing.tests.stripe import visit
from ledger.models import Wallet
from ledger.queries.wallets import pool_of
from ledger.tests.api import poor_user
from ledger.tests.factories import (
    pool_of_team_admin,
    priced_feature,
    quantities,
    spend,
    wallet_with_credits,
)
from ledger.tests.pages import text

pytestmark = pytest.mark.django_db
BUY, QUOTE, PAYMENTS = "/billing/buy/", "/billing/buy/quote/", "/billing/payments/"


def visitor(user=None):
    client = Client()
    client.force_login(user or poor_user())
    return client


def pay_form(**more):
    given = {"what": "credits", "amount": "100", "code": "", "currency": "usd"}
    return {**given, "request_id": str(uuid4()), **more}


class TestCredits:
    def test_says_what_there_is_and_what_happened(self):
        user = poor_user()
        wallet = wallet_with_credits(user, award=30, purchase=1_200, at=timezone.now())
        priced_feature("report", 3)
        from ledger.services.charges import charge_for

        charge = charge_for(quantities(report=10), at=timezone.now())
        spend(wallet, charge, at=timezone.now(), key="k")
        page = text(visitor(user).get("/billing/"))
        for words in ["1,200", "Given to you", "Used: report", "−30", "no end"]:
            assert words in page

    def test_names_the_pools_that_one_shares(self):
        member = poor_user()
        team, _ = pool_of_team_admin(member)
        wallet_with_credits(pool_of(team).user, purchase=77, at=timezone.now())
        assert f"With the team {team.name} you share" in text(visitor(member).get("/billing/"))

    def test_shows_earlier_movements_page_by_page(self):
        user = poor_user()
        wallet = wallet_with_credits(user, purchase=1_000, at=timezone.now())
        for number in range(22):
            spend(wallet, 1, at=timezone.now(), key=f"k{number}")
        client = visitor(user)
        assert text(client.get("/billing/")).count("<td>Used") == 20
        older = text(client.get("/billing/?before=4"))
        assert older.count("<td>Used") == 2
        assert client.get("/billing/?before=x").status_code == 200


class TestBuy:
    def test_shows_packages_and_no_plans(self):
        package()
        plan()
        page = text(visitor().get(BUY))
        assert "10.00 USD" in page
        assert "monthly" not in page

    @pytest.mark.parametrize("path", [BUY, QUOTE])
    def test_quotes_with_a_promotion(self, path):
        promotion(starts_at=timezone.now())
        query = {"what": "credits", "amount": "100", "code": "spring", "currency": "usd"}
        page = text(visitor().get(path, query))
        assert "SPRING: 20 % off" in page
        assert "Pay 8.00 USD" in page

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ({"what": "none"}, "There is no such package."),
            ({"what": "credits", "amount": "5", "code": "NONE"}, "There is no such code."),
            ({"what": "credits", "amount": "05"}, "Enter a whole number"),
            ({"what": "credits"}, "Enter how many credits you want."),
            ({"what": "credits", "amount": "5", "currency": "eur"}, "sold in EUR"),
            ({}, "Choose what you want"),
        ],
    )
    def test_says_what_is_wrong(self, query, words):
        assert words in text(visitor().get(QUOTE, query))

    def test_answers_so_many_tries_of_codes(self, settings):
        settings.API_THROTTLES = settings.API_THROTTLES | {"codes": (2, 60)}
        settings.API_THROTTLE_CACHE = None
        client, query = visitor(), {"what": "credits", "amount": "5", "code": "NONE"}
        pages = [text(client.get(QUOTE, query)) for _ in range(3)]
        assert ["You have tried many codes" in page for page in pages] == [False, False, True]

    def test_leads_to_the_page_to_pay_on_once_for_each_form(self, sandbox):
        user = poor_user()
        client, form = visitor(user), pay_form()
        first, again = client.post(BUY, form), client.post(BUY, form)
        assert first.status_code == 302
        assert first["Location"].startswith(f"{sandbox.url}/c/pay/")
        assert again["Location"] == first["Location"]
        payment = Payment.objects.get()
        status, _, back = visit(first["Location"], card_number="4242424242424242")
        assert (status, back) == (303, f"http://testserver{PAYMENTS}{payment.public_id}/?paid=1")
        # No webhook comes: from the third look on the page asks Stripe.
        path = f"{PAYMENTS}{payment.public_id}/"
        waiting = client.get(path, {"paid": "2"})
        assert 'content="2;url=?paid=3"' in text(waiting)
        assert "100 credits are yours" in text(client.get(path, {"paid": "3"}))
        assert client.post(BUY, form)["Location"] == path
        assert Wallet.objects.get(user=user).purchase == 100

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"request_id": "x"}, "Enter a valid UUID."),
            ({"amount": ""}, "Enter how many"),
            ({"what": "none"}, "There is no such package."),
        ],
    )
    def test_refuses_a_form_that_no_page_made(self, sandbox, changes, words):
        answer = visitor().post(BUY, pay_form(**changes))
        assert answer.status_code == 200
        assert words in text(answer)
        assert not Payment.objects.exists()

    def test_says_when_payments_are_not_set_up(self, settings):
        settings.STRIPE_SECRET_KEY = ""
        assert "Payments are not set up." in text(visitor().post(BUY, pay_form()))


class TestPayment:
    def test_of_another_is_not_there(self, fake_stripe):
        payment = bought(fake_stripe)
        path = f"{PAYMENTS}{payment.public_id}/"
        assert visitor().get(path).status_code == 404
        assert visitor().post(path).status_code == 404
        assert Client().get(path)["Location"] == f"/accounts/login/?next={path}"

    def test_can_be_paid_later(self, sandbox):
        client = visitor()
        url = client.post(BUY, pay_form())["Location"]
        path = f"{PAYMENTS}{Payment.objects.get().public_id}/"
        assert "It is not paid yet." in text(client.get(path))
        assert client.post(path)["Location"] == url
        sandbox.order("clock", seconds=2 * 3600)
        answer = client.post(path, follow=True)
        assert "no longer open" in text(answer)

    def test_stops_looking_at_last(self, sandbox):
        client = visitor()
        client.post(BUY, pay_form())
        path = f"{PAYMENTS}{Payment.objects.get().public_id}/"
        page = text(client.get(path, {"paid": "20"}))
        assert "It takes longer than usual." in page
        assert "refresh" not in page

    def test_says_what_went_back(self, fake_stripe):
        payment = bought(fake_stripe)
        client = visitor(payment.user)
        Payment.objects.filter(pk=payment.pk).update(returned_minor=400)
        page = text(client.get(f"{PAYMENTS}{payment.public_id}/"))
        assert "partly refunded" in page
        assert "4.00 USD" in page


class TestPayments:
    def test_lists_ones_own_in_as_many_queries(self, fake_stripe, django_assert_max_num_queries):
        payment = bought(fake_stripe)
        client = visitor(payment.user)
        opened()
        client.get(PAYMENTS)
        with django_assert_max_num_queries(8) as one:
            page = text(client.get(PAYMENTS))
        assert page.count("/receipt/") == 1
        bought(fake_stripe, user=payment.user)
        bought(fake_stripe, user=payment.user)
        with django_assert_max_num_queries(len(one)):
            assert text(client.get(PAYMENTS)).count("/receipt/") == 3


def test_forms_lead_to_stripe_and_nowhere_else(settings):
    settings.STRIPE_API_BASE = "https://api.stripe.com"
    stripe = "form-action 'self' https://checkout.stripe.com https://billing.stripe.com"
    client = visitor()
    assert stripe in client.get(BUY)["Content-Security-Policy"]
    assert "form-action 'self';" in client.get("/accounts/")["Content-Security-Policy"] + ";"
