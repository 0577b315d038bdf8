"""What is kept and what goes of an auto top-up when its user is erased."""

import pytest

from accounts.tests.erasing import erased
from billing import gateway
from billing.models import TopUp
from billing.services.top_up_data import TopUps
from billing.tests.top_ups import FakeCards, look, low, now_of
from ledger.tests.factories import AT

pytestmark = pytest.mark.django_db


def test_the_card_goes_and_nothing_is_charged_any_more(fake_cards: FakeCards):
    auto = low()
    look()
    keeper = TopUps()
    assert keeper.erases(auto.user) == {"card that is charged by itself": 1}
    assert keeper.keeps(auto.user) == ["1 automatic top-ups, with their payments."]
    assert keeper.audit_targets(auto.user) == {("billing.autotopup", str(auto.pk))}
    erased(auto.user, decided={"forfeit_purchased": 500})
    found = now_of(auto)
    assert (found.is_enabled, found.card_id, found.card_last4) == (False, "", "")
    assert TopUp.objects.get().card_id == ""


def test_one_that_is_under_way_stands_in_the_way(fake_cards: FakeCards):
    auto = low()
    fake_cards.says = gateway.PaymentsUnavailable("No answer.")
    look()
    assert "under way" in TopUps().obstacles(auto.user, AT)[0]


def test_the_user_is_given_it(fake_cards: FakeCards):
    auto = low()
    look()
    given = {name: list(rows) for name, rows in TopUps().export(auto.user, AT).items()}
    assert given["auto_top_up"][0]["card_last4"] == "4242"
    assert [row["credits"] for row in given["top_ups"]] == [500]
