"""The page on which one agrees to auto top-ups."""

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from billing.choices import TopUpEnd
from billing.models import AutoTopUp
from billing.tests.stripe import visit
from billing.tests.top_ups import FakeCards, agreed, declined, is_off, look, low, now_of
from ledger.tests.api import poor_user
from ledger.tests.pages import text

pytestmark = pytest.mark.django_db
PAGE = "/billing/auto-top-up/"
TERMS = {"act": "agree", "threshold": "100", "amount": "500", "monthly_limit": "2000"}


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_leads_from_the_card_to_the_agreement(sandbox):
    user = poor_user()
    client = browser(user)
    assert "First save the card" in text(client.get(PAGE))
    to_stripe = client.post(PAGE, {"act": "card"})
    back = visit(to_stripe["Location"], card_number="4242 4242 4242 4242")[2]
    assert back == f"http://testserver{PAGE}?card=1"
    page = text(client.get(f"{PAGE}?card=1"))
    assert "Visa ending in 4242" in page
    priced = text(client.post(PAGE, TERMS))
    assert "500 credits cost 50.00 USD today" in priced
    assert 'name="price" value="500:5000"' in priced
    assert not AutoTopUp.objects.get(user=user).is_enabled
    answer = client.post(PAGE, TERMS | {"price": "500:5000"})
    assert [str(m) for m in get_messages(answer.wsgi_request)] == [
        "Auto top-up is on: 500 credits for 50.00 USD, or less."
    ]
    assert AutoTopUp.objects.get(user=user).is_enabled
    assert "Switch off" in text(client.get(PAGE))


@pytest.mark.parametrize("price", ["500:4999", "400:5000", "5000", "x"])
def test_asks_again_about_another_price(price):
    auto = agreed(is_enabled=False)
    page = text(browser(auto.user).post(PAGE, TERMS | {"price": price}))
    assert "500 credits cost 50.00 USD today" in page
    assert not now_of(auto).is_enabled


def test_asks_about_no_price_that_was_agreed_to():
    auto = agreed()
    browser(auto.user).post(PAGE, TERMS | {"threshold": "70"})
    assert now_of(auto).threshold == 70


def test_switches_off(fake_cards: FakeCards):
    auto = agreed()
    assert browser(auto.user).post(PAGE, {"act": "stop"}).status_code == 302
    assert is_off(auto, TopUpEnd.USER)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": "-1"},
        {"threshold": "1e3"},
        {"amount": "0"},
        {"amount": "５００"},
        {"amount": ""},
        {"monthly_limit": "499"},
        {"act": "agree to all"},
        {"act": ""},
    ],
)
def test_refuses_what_is_no_figure_and_shows_it_again(wrong):
    auto = agreed(is_enabled=False)
    answer = browser(auto.user).post(PAGE, TERMS | wrong)
    assert answer.status_code == 200
    assert not now_of(auto).is_enabled


def test_shows_what_was_charged_and_why_not(fake_cards: FakeCards):
    auto = low()
    look()
    client = browser(auto.user)
    page = text(client.get(PAGE))
    assert ">paid<" in page
    assert "50.00 USD" in page
    AutoTopUp.objects.update(paused_why="declined", paused_until="2099-01-01T00:00Z")
    assert "Your card was declined." in text(client.get(PAGE))
    AutoTopUp.objects.update(is_enabled=False, ended_why="price", paused_why="")
    assert "The price has changed since you agreed to it." in text(client.get(PAGE))


def test_offers_to_pay_what_the_bank_asks_for(fake_cards: FakeCards):
    auto = low()
    fake_cards.says = declined("authentication_required")
    look()
    assert "Pay the top-up" in text(browser(auto.user).get(PAGE))


def test_says_so_when_stripe_does_not_answer(settings):
    settings.STRIPE_SECRET_KEY = ""
    user = poor_user()
    client = browser(user)
    answer = client.post(PAGE, {"act": "card"}, follow=True)
    assert "Payments are not set up." in text(answer)


def test_is_for_who_is_signed_in():
    assert Client().get(PAGE).status_code == 302
