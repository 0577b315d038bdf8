from datetime import UTC, datetime, timedelta, timezone

import pytest

from accounts.models import TeamMembership
from accounts.tests.factories import TeamFactory
from ledger import errors
from ledger.models import CreditTransaction, FeaturePrice
from ledger.queries.wallets import payers_of, wallet_of
from ledger.services.adjustments import pause_wallet
from ledger.services.charges import charge_for
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    SECOND,
    CustomerFactory,
    available,
    balances_of,
    catalogue,
    close,
    finance,
    moves_of,
    nothing_changes,
    only,
    place_hold,
    pool_of_team_admin,
    price_of,
    priced_feature,
    quantities,
    seat,
    spend,
    transactions_of,
    wallet_with_credits,
)


def pause(wallet):
    pause_wallet(wallet=wallet, reason="test", actor=finance(), at=AT)


@pytest.mark.django_db
class TestSpendCredits:
    def test_takes_credits_in_burn_down_order(self):
        wallet = wallet_with_credits(purchase=50, partner=20, award=30)
        posted = spend(wallet, 60)
        assert balances_of(wallet) == {"award": 0, "purchase": 40, "partner": 0}
        assert moves_of(wallet)[-1] == ("usage", -60)
        assert (posted.amount, posted.balance_after, posted.current) == (-60, 40, 40)
        assert posted.credit_types == ["award", "partner", "purchase"]
        assert posted.amounts == [30, 20, 10]

    def test_is_one_statement_when_the_prices_are_known(self, django_assert_num_queries):
        catalogue()
        wallet = wallet_with_credits(award=30, purchase=50)
        payers = only(wallet)
        charge_for(quantities(report=1), at=AT)
        with django_assert_num_queries(1):
            charge = charge_for(quantities(report=1), at=AT)
            posted = spend(payers, charge, key="once")
        assert (posted.current, posted.status) == (40, "active")

    def test_is_two_statements_at_the_most_when_repeated_and_read_again(
        self, django_assert_max_num_queries
    ):
        wallet = wallet_with_credits(award=30)
        payers = only(wallet)
        first = spend(payers, 10, key="once")
        with django_assert_max_num_queries(2):
            posted = spend(payers, 10, key="once")
            again = CreditTransaction.objects.get(pk=posted.transaction_id)
        assert (again.pk, again.amount, posted.current) == (first.transaction_id, -10, 20)

    def test_keeps_what_it_was_for(self):
        catalogue()
        actor, wallet = CustomerFactory(), wallet_with_credits(award=100)
        charge = charge_for(quantities(llm_input=2_000, llm_output=350), at=AT)
        spend(
            wallet,
            charge,
            actor_id=actor.pk,
            description="A letter",
            reference_id="letter-7",
            project="mail",
            metadata={"pages": 2},
            occurred_at=AT - DAY,
        )
        kept = transactions_of(wallet)[-1]
        assert (kept.actor, kept.caller, kept.feature) == (actor, CALLER, "llm.input+llm.output")
        assert (kept.description, kept.reference_id, kept.project, kept.metadata) == (
            "A letter",
            "letter-7",
            "mail",
            {"pages": 2},
        )
        assert (kept.occurred_at, kept.recorded_at) == (AT - DAY, AT)
        assert kept.price_ids == [
            FeaturePrice.objects.get(feature__code=code).pk for code in ("llm.input", "llm.output")
        ]
        assert kept.quantities == [2_000, 350]

    def test_refuses_more_than_the_balance(self):
        wallet = wallet_with_credits(award=60, purchase=40)
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits) as refusal:
            spend(wallet, 101)
        assert (refusal.value.needed, refusal.value.available) == (101, 100)

    def test_refuses_to_spend_what_is_held_or_expired(self):
        wallet = wallet_with_credits(award=60, expires_at=AT + DAY)
        place_hold(wallet, 25, expires_in=2 * DAY)
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits) as refusal:
            spend(wallet, 36)
        assert refusal.value.available == 35
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits) as refusal:
            spend(wallet, 1, at=AT + DAY)
        assert refusal.value.available == 0

    def test_takes_purchased_credits_only_where_the_feature_does(self):
        priced_feature("export", 15, requires_purchased=True)
        wallet = wallet_with_credits(award=100, purchase=20)
        charge = charge_for(quantities(export=1), at=AT)
        spend(wallet, charge)
        assert balances_of(wallet) == {"award": 100, "purchase": 5, "partner": 0}
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits) as refusal:
            spend(wallet, charge)
        assert (refusal.value.needed, refusal.value.available) == (15, 5)

    def test_refuses_a_paused_and_a_closed_wallet(self):
        paused, closed = wallet_with_credits(award=10), wallet_with_credits(award=10)
        pause(paused)
        close(closed)
        with nothing_changes(paused), pytest.raises(errors.WalletPaused):
            spend(paused, 1)
        with nothing_changes(closed), pytest.raises(errors.WalletClosed):
            spend(closed, 1)


@pytest.mark.django_db
class TestKeysOfSpends:
    def test_have_one_effect_and_the_first_answer_for_ever(self):
        wallet = wallet_with_credits(award=100)
        first = spend(wallet, 10, key="once")
        spend(wallet, 20)
        again = spend(wallet, 10, key="once", at=AT + 400 * DAY)
        assert (again.outcome, again.is_new) == ("replayed", False)
        assert (again.transaction_id, again.number, again.amount, again.balance_after) == (
            first.transaction_id,
            2,
            -10,
            90,
        )
        assert again.current == 70
        assert len(transactions_of(wallet)) == 3

    def test_are_recognised_before_balance_and_status_are_looked_at(self):
        wallet = wallet_with_credits(award=10)
        spend(wallet, 10, key="once")
        assert not spend(wallet, 10, key="once").is_new
        pause(wallet)
        assert spend(wallet, 10, key="once").status == "paused"

    def test_belong_to_their_caller(self):
        wallet = wallet_with_credits(award=100)
        for caller in (CALLER, "key:2", "user:1"):
            assert spend(wallet, 10, key="once", caller=caller).is_new
        assert available(wallet) == 70

    def test_are_not_remembered_for_a_refusal(self):
        wallet = wallet_with_credits(award=10)
        with pytest.raises(errors.InsufficientCredits):
            spend(wallet, 11, key="once")
        assert spend(wallet, 10, key="once").is_new

    @pytest.mark.parametrize(
        "other",
        [
            {"charge": 11},
            {"description": "else"},
            {"reference_id": "r-2"},
            {"project": "else"},
            {"metadata": {"a": 1}},
            {"occurred_at": AT - SECOND},
        ],
    )
    def test_are_refused_for_another_request(self, other):
        wallet = wallet_with_credits(award=100)
        spend(wallet, 10, key="once")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            spend(wallet, **({"charge": 10} | other), key="once")

    def test_are_refused_for_another_wallet(self):
        wallet, other = wallet_with_credits(award=100), wallet_with_credits(award=100)
        spend(wallet, 10, key="once")
        with nothing_changes(other), pytest.raises(errors.IdempotencyKeyReused):
            spend(other, 10, key="once")

    def test_are_refused_for_a_hold(self):
        wallet = wallet_with_credits(award=100)
        spend(wallet, 10, key="once")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            place_hold(wallet, 10, key="once")

    def test_mean_the_same_instant_in_whatever_time_zone(self):
        wallet = wallet_with_credits(award=100)
        there = timezone(timedelta(hours=2))
        spend(wallet, 10, key="once", occurred_at=datetime(2026, 5, 1, 12, tzinfo=UTC))
        again = spend(wallet, 10, key="once", occurred_at=datetime(2026, 5, 1, 14, tzinfo=there))
        assert not again.is_new

    def test_are_recognised_when_the_price_has_changed_since(self):
        feature, wallet = priced_feature("report", 40), wallet_with_credits(award=100)
        spend(wallet, charge_for(quantities(report=1), at=AT), key="once")
        price_of(feature, 55, valid_from=AT + DAY)
        again = charge_for(quantities(report="1.0"), at=AT + DAY)
        assert again.amount == 55
        assert spend(wallet, again, key="once").amount == -40


@pytest.mark.django_db
class TestWhoPays:
    def scene(self, own, pool):
        """A member with credits of their own and a seat in a team whose wallet has some."""
        member = CustomerFactory()
        team, pool_wallet = pool_of_team_admin(member)
        own_wallet = wallet_with_credits(member, award=own)
        spend(pool_wallet, available(pool_wallet) - pool)
        return member, team, own_wallet, pool_wallet

    def test_is_the_own_wallet_if_it_covers_the_whole_amount(self):
        member, _, own, pool = self.scene(own=30, pool=100)
        posted = spend(payers_of(member), 30, actor_id=member.pk)
        assert (posted.wallet_id, available(own), available(pool)) == (own.pk, 0, 100)

    def test_is_the_pool_if_it_does_not_never_both(self):
        member, _, own, pool = self.scene(own=29, pool=100)
        posted = spend(payers_of(member), 30, actor_id=member.pk)
        assert (posted.wallet_id, available(own), available(pool)) == (pool.pk, 29, 70)
        assert transactions_of(pool)[-1].actor == member

    def test_is_nobody_if_neither_covers_it_alone(self):
        member, _, own, pool = self.scene(own=29, pool=28)
        with (
            nothing_changes(own),
            nothing_changes(pool),
            pytest.raises(errors.InsufficientCredits) as refusal,
        ):
            spend(payers_of(member), 30)
        assert (refusal.value.needed, refusal.value.available) == (30, 29)

    def test_is_the_team_that_is_named_even_if_the_own_wallet_covers_it(self):
        member, team, own, pool = self.scene(own=100, pool=100)
        spend(payers_of(member, team), 30, actor_id=member.pk)
        assert (available(own), available(pool)) == (100, 70)

    def test_is_only_the_team_that_is_named(self):
        member, team, own, _ = self.scene(own=100, pool=10)
        with nothing_changes(own), pytest.raises(errors.InsufficientCredits):
            spend(payers_of(member, team), 30)

    def test_is_the_first_seat_that_covers_it(self):
        member, _, _, pool = self.scene(own=0, pool=10)
        organisation = TeamFactory()
        seat(organisation, member)
        later = wallet_with_credits(organisation, award=50)
        spend(payers_of(member), 10)
        spend(payers_of(member), 20)
        assert (available(pool), available(later)) == (0, 30)

    def test_is_not_the_pool_when_the_own_wallet_is_paused(self):
        member, _, own, pool = self.scene(own=100, pool=100)
        pause(own)
        with nothing_changes(pool), pytest.raises(errors.WalletPaused):
            spend(payers_of(member), 30)

    def test_is_not_a_pool_that_is_paused(self):
        member, _, _, pool = self.scene(own=10, pool=100)
        pause(pool)
        with nothing_changes(pool), pytest.raises(errors.InsufficientCredits):
            spend(payers_of(member), 30)

    def test_stays_who_it_was_when_the_request_is_repeated(self):
        member, _, own, pool = self.scene(own=30, pool=100)
        spend(payers_of(member), 30, key="once")
        again = spend(payers_of(member), 30, key="once")
        assert (again.is_new, again.wallet_id) == (False, own.pk)
        TeamMembership.objects.all().delete()
        assert spend(payers_of(member), 30, key="once").wallet_id == own.pk
        assert (available(own), available(pool)) == (0, 100)

    def test_tells_the_requests_of_two_members_of_one_team_apart(self):
        one, other = CustomerFactory(), CustomerFactory()
        team, pool = pool_of_team_admin(one, other)
        spend(payers_of(one, team), 10, key="once", actor_id=one.pk)
        with nothing_changes(pool), pytest.raises(errors.IdempotencyKeyReused):
            spend(payers_of(other, team), 10, key="once", actor_id=other.pk)

    def test_is_the_wallet_of_the_owner_for_the_owner_of_a_team(self):
        team, pool = pool_of_team_admin()
        spend(payers_of(team.owner, team), 10)
        assert available(pool) == 4_990
        assert wallet_of(team.owner) == pool
