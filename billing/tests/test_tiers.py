from datetime import timedelta

import pytest
from django.db import IntegrityError, ProgrammingError, transaction

from accounts.services.approvals import approve
from accounts.tests.factories import TeamFactory
from audit.models import AuditEvent
from billing.errors import HasCredits, NotForSale, NotOnTier, PlanNotFound
from billing.models import Offer, Tier
from billing.queries.tiers import tier_of
from billing.services import tiers
from billing.services.offers import Price, change_offer, retire_offer
from billing.services.tier_data import Tiers
from billing.tests.sale import package, plan, terms
from billing.tests.tiers import NOVEMBER, assign, growth, months_of, on_tier, run_due, waiting
from creditsite.errors import NotPermitted
from ledger.errors import IdempotencyKeyReused, OwnWallet, WalletClosed
from ledger.models import CreditTransaction
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import (
    CustomerFactory,
    balances_of,
    close,
    finance,
    moves_of,
    seat,
    set_credit_settings,
    wallet_with_credits,
)

DAY = timedelta(days=1)


def initialize(wallet, amount=0, code="growth", *, at=NOVEMBER, **more):
    given = {"reason": "a new customer", "actor": None, "caller": "test"}
    return tiers.initialize_wallet(
        wallet=wallet, plan=code, initial_balance=amount, at=at, **given | more
    )


@pytest.fixture(autouse=True)
def plans(db):
    growth()


class TestAssignTier:
    def test_moves_nothing(self):
        wallet = on_tier()
        assert moves_of(wallet) == []
        tier = tier_of(wallet)
        assert (tier.version.offer.code, tier.starts_at) == ("growth", NOVEMBER)

    def test_is_on_record(self):
        wallet, actor = wallet_of(CustomerFactory()), finance()
        assign(wallet, actor=actor)
        event = AuditEvent.objects.get(action="billing.tier.assigned")
        assert (event.actor_id, event.target_id, event.reason) == (
            actor.pk,
            str(wallet.pk),
            "they asked",
        )
        assert event.before == {"tier": None}
        assert event.after == {"tier": "growth", "version": 1, "credits": 2_000}

    def test_ends_the_tier_that_was(self):
        wallet = on_tier()
        growth_tier = tier_of(wallet)
        plan("pro", credits=7_000)
        assign(wallet, "pro", at=NOVEMBER + DAY)
        growth_tier.refresh_from_db()
        assert growth_tier.ends_at == NOVEMBER + DAY
        assert tier_of(wallet).version.offer.code == "pro"

    def test_leaves_who_is_on_it_already(self):
        wallet = on_tier()
        before = tier_of(wallet), AuditEvent.objects.count()
        assert assign(wallet, at=NOVEMBER + DAY) == before[0]
        assert (tier_of(wallet), AuditEvent.objects.count()) == before

    def test_keeps_the_version_until_it_is_assigned_again(self):
        wallet, offer = on_tier(), Offer.objects.get(code="growth")
        change_offer(
            offer=offer,
            terms=terms(name="Growth", credits=9, prices=[Price("usd", "month", 1)]),
            position=1,
            version=1,
            actor=None,
            at=NOVEMBER,
            reason="",
        )
        assert tier_of(wallet).version.number == 1
        assign(wallet, at=NOVEMBER + DAY)
        assert tier_of(wallet).version.number == 2

    def test_refuses_what_is_no_plan(self):
        package()
        for code in ["small", "unheard-of"]:
            with pytest.raises(PlanNotFound):
                on_tier(code=code)

    def test_refuses_a_plan_that_is_not_sold(self):
        retire_offer(offer=Offer.objects.get(), actor=None, at=NOVEMBER, reason="")
        with pytest.raises(NotForSale):
            on_tier()

    def test_refuses_a_closed_wallet(self):
        wallet = wallet_with_credits()
        close(wallet)
        with pytest.raises(WalletClosed):
            assign(wallet)
        assert tier_of(wallet) is None

    def test_refuses_ones_own_wallet_and_a_pool_that_one_shares(self):
        actor, team = finance(), TeamFactory()
        seat(team, actor)
        for owner in [actor, team]:
            with pytest.raises(OwnWallet):
                assign(wallet_of(owner), actor=actor)
        assert not Tier.objects.exists()

    def test_asks_a_second_person_about_many_credits(self):
        set_credit_settings(approval_adjustment_above=1_999)
        wallet, maker = wallet_of(CustomerFactory()), finance()
        approval = waiting(assign(wallet, actor=maker, idempotency_key="k"))
        assert approval.sentence == (
            f"Put {wallet} on the tier growth: 2,000 awarded credits every month"
        )
        assert tier_of(wallet) is None
        assert assign(wallet, actor=maker, idempotency_key="k") == approval
        ended = approve(approval=approval, checker=finance(), note="", at=NOVEMBER + DAY)
        assert ended.status == "executed"
        assert tier_of(wallet).assigned_by == maker
        with pytest.raises(IdempotencyKeyReused):
            assign(wallet, actor=maker, idempotency_key="k", reason="another")


class TestEndTier:
    def test_leaves_what_was_given_and_gives_no_more(self):
        wallet = on_tier()
        assert run_due(NOVEMBER + 12 * DAY) == 1
        tiers.end_tier(wallet=wallet, reason="left", actor=finance(), at=NOVEMBER + 13 * DAY)
        assert balances_of(wallet)["award"] == 2_000
        assert run_due(NOVEMBER + 60 * DAY) == 0
        assert Tier.objects.get().next_period is None
        event = AuditEvent.objects.get(action="billing.tier.ended")
        assert (event.before["tier"], event.after) == ("growth", {"tier": None})

    def test_refuses_who_is_on_none(self):
        with pytest.raises(NotOnTier):
            tiers.end_tier(wallet=wallet_of(CustomerFactory()), reason="x", actor=None, at=NOVEMBER)


class TestInitializeWallet:
    def test_puts_on_the_tier_and_gives_the_first_credits(self):
        wallet, actor = wallet_of(CustomerFactory()), finance()
        done = initialize(wallet, 500, actor=actor)
        assert done.tier == tier_of(wallet)
        assert moves_of(wallet) == [("award", 500)]
        assert months_of(wallet) == []
        actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
        assert list(actions)[-2:] == ["ledger.credits.added", "billing.tier.assigned"]

    def test_gives_none_where_none_are_named(self):
        wallet = wallet_of(CustomerFactory())
        assert initialize(wallet).posted is None
        assert moves_of(wallet) == []

    def test_refuses_a_wallet_with_credits(self):
        wallet = wallet_with_credits(award=1)
        with pytest.raises(HasCredits):
            initialize(wallet, 500)
        assert (tier_of(wallet), moves_of(wallet)) == (None, [("award", 1)])

    def test_answers_a_repeat_with_what_was_done(self):
        wallet = wallet_of(CustomerFactory())
        first = initialize(wallet, 500, idempotency_key="k")
        tiers.end_tier(wallet=wallet, reason="x", actor=None, at=NOVEMBER + DAY)
        again = initialize(wallet, 500, idempotency_key="k", at=NOVEMBER + 2 * DAY)
        assert again.tier == first.tier
        assert not again.posted.is_new
        assert (tier_of(wallet), len(moves_of(wallet))) == (None, 1)
        with pytest.raises(IdempotencyKeyReused):
            initialize(wallet, 501, idempotency_key="k")

    @pytest.mark.parametrize(("above", "amount"), [(1_000, 0), (2_000, 2_001)])
    def test_asks_a_second_person_about_many_credits(self, above, amount):
        set_credit_settings(approval_adjustment_above=above)
        wallet = wallet_of(CustomerFactory())
        approval = waiting(initialize(wallet, amount, actor=finance()))
        assert (tier_of(wallet), CreditTransaction.objects.count()) == (None, 0)
        approve(approval=approval, checker=finance(), note="", at=NOVEMBER + DAY)
        assert tier_of(wallet).version.offer.code == "growth"
        assert balances_of(wallet)["award"] == amount

    def test_takes_both_permissions(self):
        with pytest.raises(NotPermitted):
            initialize(wallet_of(CustomerFactory()), 5, actor=CustomerFactory())


class TestDatabase:
    def refused(self, change):
        with pytest.raises((IntegrityError, ProgrammingError)), transaction.atomic():
            change()

    def test_has_one_tier_for_a_wallet(self):
        tier = tier_of(on_tier())
        self.refused(
            lambda: Tier.objects.create(
                wallet=tier.wallet, version=tier.version, starts_at=NOVEMBER
            )
        )

    def test_changes_nothing_of_a_tier_but_its_end_and_that_once(self):
        tier = Tier.objects.filter(wallet=on_tier())
        self.refused(lambda: tier.update(starts_at=NOVEMBER - DAY))
        self.refused(lambda: tier.delete())
        tier.update(ends_at=NOVEMBER + DAY)
        self.refused(lambda: tier.update(ends_at=None))
        self.refused(lambda: tier.update(ends_at=NOVEMBER + 2 * DAY))
        tier.update(next_period=None)


class TestPersonalData:
    def test_is_given_and_ends_with_the_account(self):
        wallet, keeper = on_tier(), Tiers()
        (row,) = keeper.export(wallet.user, NOVEMBER)["tiers"]
        assert row == {
            "plan": "growth",
            "credits": 2_000,
            "starts_at": NOVEMBER,
            "ends_at": None,
        }
        actor = finance()
        keeper.settle(user=wallet.user, decided={}, actor=actor, at=NOVEMBER + DAY)
        assert tier_of(wallet) is None
        assert Tier.objects.get().ended_by == actor
