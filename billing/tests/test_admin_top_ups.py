"""The staff pages of auto top-ups: what they show, whom they ask, what they refuse."""

import pytest
from django.core import mail
from django.test import Client

from billing import gateway
from billing.models import AutoTopUp
from billing.tests.test_admin_payments import signed_in
from billing.tests.top_ups import FakeCards, agreed, declined, is_off, look, low
from ledger.tests.pages import page_of, recorded, sent, text

pytestmark = pytest.mark.django_db
LIST = "/admin/billing/autotopup/"


@pytest.fixture
def staff() -> Client:
    return signed_in()


class TestPages:
    def test_list_who_agreed_to_what(self, staff: Client):
        auto, other = agreed(), agreed(is_enabled=False, ended_why="card")
        page = text(staff.get(LIST))
        for words in [str(auto.user), str(other.user), "500 at 100", "2,000 a month at most"]:
            assert words in page
        assert "50.00 USD" in page
        found = text(staff.get(LIST, {"q": auto.user.email}))
        assert str(other.user) not in found

    def test_list_asks_as_much_for_three_as_for_one(
        self, staff: Client, django_assert_max_num_queries
    ):
        agreed()
        staff.get(LIST)
        with django_assert_max_num_queries(14) as one:
            staff.get(LIST)
        agreed()
        agreed()
        with django_assert_max_num_queries(len(one)):
            staff.get(LIST)

    def test_tell_what_was_charged_and_why_nothing_is(self, fake_cards: FakeCards, staff: Client):
        auto = low()
        fake_cards.says = declined()
        look()
        AutoTopUp.objects.update(paused_until="2099-01-01T00:00Z")
        page = text(staff.get(page_of(auto)))
        for words in [
            "The card was declined, until 2099-01-01 00:00.",
            "Declined by the bank",
            "insufficient_funds",
            "Visa ending in 4242",
            "50.00 USD",
        ]:
            assert words in page

    def test_tell_of_who_is_asked_to_pay(self, fake_cards: FakeCards, staff: Client):
        auto = low()
        fake_cards.says = gateway.AuthenticationRequired(
            "No.", reason="authentication_required", payment_intent=None
        )
        look()
        assert "The bank asks for the cardholder." in text(staff.get(page_of(auto)))

    def test_are_reached_from_the_wallet(self, staff: Client):
        auto = agreed()
        assert page_of(auto) in text(staff.get(page_of(auto.wallet)))


class TestSwitchOff:
    def test_ends_it_tells_the_user_and_is_recorded(self, staff: Client):
        auto = agreed()
        sent(staff, page_of(auto, "switch-off"))
        assert is_off(auto, "staff")
        assert mail.outbox[-1].to == [auto.user.email]
        assert [action for action, _ in recorded()] == ["billing.top_up.ended"]

    def test_is_not_offered_where_it_is_off(self, staff: Client):
        auto = agreed(is_enabled=False)
        assert "switch-off" not in text(staff.get(page_of(auto)))
        assert staff.get(page_of(auto, "switch-off")).status_code == 302

    def test_is_not_for_support(self):
        auto = agreed()
        support = signed_in("Support")
        assert support.get(page_of(auto)).status_code == 200
        assert support.get(page_of(auto, "switch-off")).status_code == 403

    def test_is_not_for_ones_own(self, staff: Client):
        auto = agreed(staff.get("/admin/").wsgi_request.user)
        response = sent(staff, page_of(auto, "switch-off"))
        assert "form" in response.context
        assert not is_off(auto, "staff")
