"""The overview of billing: everything at once, and nobody else's."""

import pytest
from django.utils import timezone

from accounts.tests.factories import TeamAdminFactory, TeamFactory, UserFactory
from billing.tests.payments import opened
from ledger.queries.wallets import wallet_of
from ledger.tests.api import as_service, as_user, poor_user, refused
from ledger.tests.factories import only, seat, spend, wallet_with_credits

pytestmark = pytest.mark.django_db
OVERVIEW = "billing/overview"


def test_has_balance_plan_payments_and_usage():
    user = UserFactory()
    wallet, now = wallet_with_credits(user, purchase=100, at=timezone.now()), timezone.now()
    for amount in range(1, 8):
        spend(wallet, amount, at=now, key=f"k{amount}")
    payment = opened(user, credits=70)
    opened()
    told = as_user(user).get(OVERVIEW).json()
    balance = as_user(user).get("credits/balance").json()
    assert told["balance"] == balance
    assert (told["tier"], told["subscription"]) == (balance["tier"], balance["subscription"])
    assert told["role_allotment"] == {
        "role": user.role.code,
        "name": user.role.name,
        "credits": user.role.allotment,
    }
    assert [row["amount"] for row in told["recent_usage"]] == [-7, -6, -5, -4, -3]
    assert [row["id"] for row in told["recent_payments"]] == [str(payment.public_id)]
    assert told["team_pools"] == []


def test_has_the_pools_that_one_shares():
    owner, member = TeamAdminFactory(), poor_user()
    team = TeamFactory(owner=owner, name="Ours")
    organisation = TeamFactory(owner=None, name="Theirs")
    seat(team, member)
    seat(organisation, member)
    wallet_with_credits(owner, purchase=50, at=timezone.now())
    wallet_with_credits(organisation, purchase=7, at=timezone.now())
    pools = as_user(member).get(OVERVIEW).json()["team_pools"]
    told = [(pool["name"], pool["is_owner"]) for pool in pools]
    assert told == [("Ours", False), ("Theirs", False)]
    assert pools[1]["available"] == 7
    (own,) = as_user(owner).get(OVERVIEW).json()["team_pools"]
    assert (own["team_id"], own["is_owner"]) == (str(team.public_id), True)
    assert own["available"] == pools[0]["available"]


def test_of_a_user_without_anything():
    told = as_user(poor_user()).get(OVERVIEW).json()
    assert (told["role_allotment"], told["recent_payments"], told["recent_usage"]) == (None, [], [])


def test_is_asked_by_services_that_name_the_user():
    user = poor_user()
    service = as_service("billing:read")
    assert service.get(OVERVIEW, {"user_id": user.pk}).json()["balance"]["user_id"] == user.pk
    assert refused(service.get(OVERVIEW))[0] == 400
    assert refused(as_service("credits:read").get(OVERVIEW, {"user_id": user.pk}))[0] == 403
    assert refused(as_user(poor_user()).get(OVERVIEW, {"user_id": user.pk}))[0] == 404


def test_asks_the_same_however_much_there_is(django_assert_max_num_queries):
    user = poor_user()
    wallet = wallet_with_credits(user, purchase=100, at=timezone.now())
    spend(only(wallet), 1, at=timezone.now(), key="a")
    opened(user)
    caller = as_user(user)
    with django_assert_max_num_queries(14) as one:
        caller.get(OVERVIEW)
    for number in range(3):
        spend(only(wallet_of(user)), 1, at=timezone.now(), key=f"b{number}")
        opened(user)
    with django_assert_max_num_queries(len(one)):
        caller.get(OVERVIEW)
