import pytest

from accounts.models import TeamMembership
from accounts.tests.factories import TeamAdminFactory, TeamFactory
from creditsite.testing.races import race
from ledger.errors import WalletNotFound
from ledger.models import Wallet
from ledger.queries.wallets import (
    is_own_wallet,
    may_spend_from_pool,
    payers_of,
    payers_of_many,
    pool_of,
    wallet_of,
)
from ledger.tests.factories import CustomerFactory, bulk_created, pool_of_team_admin, seat


@pytest.mark.django_db
class TestWalletOf:
    def test_is_the_wallet_of_the_user_or_the_organisation(self):
        user, team = CustomerFactory(), TeamFactory()
        assert wallet_of(user).user == user
        assert wallet_of(team).team == team
        assert wallet_of(user) == wallet_of(user)
        assert Wallet.objects.count() == 2

    def test_opens_one_for_a_user_who_has_none(self):
        (user,) = bulk_created(1)
        assert wallet_of(user).balance == 0
        assert wallet_of(user) == Wallet.objects.get()

    def test_opens_one_when_many_ask_at_once(self, ledger_db):
        (user,) = bulk_created(1)
        assert race(*[lambda: wallet_of(user)] * 8) == ["Wallet"] * 8
        assert Wallet.objects.count() == 1


@pytest.mark.django_db
class TestPoolOf:
    def test_is_the_wallet_of_the_owner(self):
        owner = TeamAdminFactory()
        assert pool_of(TeamFactory(owner=owner)) == wallet_of(owner)

    def test_is_the_wallet_of_an_organisation(self):
        team = TeamFactory()
        assert pool_of(team).team == team


@pytest.mark.django_db
class TestPayersOf:
    def test_are_the_own_wallet_and_then_the_pools_in_the_order_of_the_seats(self):
        user, organisation = CustomerFactory(), TeamFactory()
        _, first = pool_of_team_admin(user)
        seat(organisation, user)
        payers = payers_of(user)
        assert payers.wallet_ids == [
            wallet_of(user).pk,
            first.pk,
            wallet_of(organisation).pk,
        ]

    def test_are_only_the_pool_of_the_team_that_is_named(self):
        user = CustomerFactory()
        team, pool = pool_of_team_admin(user)
        assert payers_of(user, team).wallet_ids == [pool.pk]
        assert payers_of(team.owner, team).wallet_ids == [pool.pk]

    def test_refuses_a_team_they_have_no_seat_in(self):
        team, _ = pool_of_team_admin(CustomerFactory())
        with pytest.raises(WalletNotFound):
            payers_of(CustomerFactory(), team)

    def test_are_one_subject_as_long_as_the_request_is_the_same(self):
        user, other = CustomerFactory(), CustomerFactory()
        team, _ = pool_of_team_admin(user, other)
        subjects = [payers_of(user), payers_of(user, team), payers_of(other, team)]
        assert len({payers.subject for payers in subjects}) == 3
        before = payers_of(user)
        TeamMembership.objects.all().delete()
        after = payers_of(user)
        assert before.subject == after.subject
        assert before.wallet_ids != after.wallet_ids


@pytest.mark.django_db
class TestPayersOfMany:
    def test_tells_whom_each_is_paid_by_and_leaves_out_who_is_nobody(self):
        alone, member = CustomerFactory(), CustomerFactory()
        _, pool = pool_of_team_admin(member)
        payers = payers_of_many([alone.pk, member.pk, 999_999, alone.pk])
        assert {user: list(p.wallet_ids) for user, p in payers.items()} == {
            alone.pk: [wallet_of(alone).pk],
            member.pk: [wallet_of(member).pk, pool.pk],
        }

    def test_opens_the_wallets_that_are_missing(self):
        users = bulk_created(3)
        payers = payers_of_many(user.pk for user in users)
        assert [p.wallet_ids for p in payers.values()] == [[wallet_of(u).pk] for u in users]

    @pytest.mark.parametrize("members", [1, 3])
    def test_asks_no_more_for_more_users(self, members, django_assert_num_queries):
        users = [CustomerFactory() for _ in range(members)]
        for user in users:
            pool_of_team_admin(user)
            organisation = TeamFactory()
            wallet_of(organisation)
            seat(organisation, user)
        with django_assert_num_queries(2):
            payers = payers_of_many(user.pk for user in users)
        assert [len(p.wallet_ids) for p in payers.values()] == [3] * members


@pytest.mark.django_db
class TestMaySpendFromPool:
    def test_is_for_the_owner_and_for_who_has_a_seat(self):
        member, stranger = CustomerFactory(), CustomerFactory()
        team, _ = pool_of_team_admin(member)
        assert may_spend_from_pool(team.owner, team)
        assert may_spend_from_pool(member, team)
        assert not may_spend_from_pool(stranger, team)


@pytest.mark.django_db
class TestIsOwnWallet:
    def test_is_the_own_one_and_every_pool_they_may_spend_from(self):
        user, organisation = CustomerFactory(), TeamFactory()
        team, pool = pool_of_team_admin(user)
        seat(organisation, user)
        owns = [wallet_of(user), pool, wallet_of(organisation)]
        assert [is_own_wallet(user, wallet) for wallet in owns] == [True] * 3
        assert is_own_wallet(team.owner, pool)

    def test_is_not_that_of_another(self):
        user, member = CustomerFactory(), CustomerFactory()
        team, pool = pool_of_team_admin(member)
        others = [pool, wallet_of(member), wallet_of(TeamFactory())]
        assert [is_own_wallet(user, wallet) for wallet in others] == [False] * 3
        assert not is_own_wallet(team.owner, wallet_of(member))
