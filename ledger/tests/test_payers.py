import pytest

from accounts.models import Team, TeamMembership
from accounts.tests.factories import TeamAdminFactory, TeamFactory, UserFactory
from ledger.models import Wallet
from ledger.queries.wallets import payers_of, payers_of_many, wallet_of


def seat(user, team: Team) -> None:
    TeamMembership.objects.create(team=team, user=user)


@pytest.mark.django_db
class TestPayersOf:
    def test_is_the_own_wallet_alone_for_who_has_no_seat(self, django_assert_num_queries):
        user = UserFactory()
        with django_assert_num_queries(1):
            payers = payers_of(user)
        assert payers.wallet_ids == [wallet_id(user)]

    def test_is_the_own_wallet_and_then_pools_in_the_order_of_the_seats(
        self, django_assert_num_queries
    ):
        user, owner, team = UserFactory(), TeamAdminFactory(), TeamFactory()
        wallet_of(team)
        seat(user, team)
        seat(user, Team.objects.create(name="Owned", owner=owner))
        with django_assert_num_queries(1):
            payers = payers_of(user)
        assert payers.wallet_ids == [
            wallet_id(user),
            Wallet.objects.get(team=team).pk,
            wallet_id(owner),
        ]
        assert payers == payers_of_many([user.pk])[user.pk]

    def test_opens_wallets_that_are_missing(self):
        user, team = UserFactory(), TeamFactory()
        seat(user, team)
        assert not Wallet.objects.filter(team=team).exists()
        assert payers_of(user).wallet_ids == [wallet_id(user), Wallet.objects.get(team=team).pk]


def wallet_id(user) -> int:
    return Wallet.objects.get(user=user).pk
