from datetime import UTC, date, datetime, timedelta

import pytest

from accounts.services.approvals import approve
from audit.models import AuditEvent
from billing.errors import AlreadyAllotted, NotOnTier
from billing.models import OfferVersion, Tier
from billing.queries.tiers import next_due_of, tier_of
from billing.services import tiers
from billing.tests.sale import plan
from billing.tests.subscriptions import FakeBilling, begun, price, settle
from billing.tests.tiers import (
    NOVEMBER,
    allot,
    assign,
    first_of,
    growth,
    months_of,
    on_tier,
    run_due,
    waiting,
)
from creditsite.testing.races import race
from ledger.errors import IdempotencyKeyReused, OwnWallet, WalletClosed
from ledger.models import CreditTransaction, Grant
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import (
    CustomerFactory,
    close,
    finance,
    moves_of,
    set_credit_settings,
    wallet_with_credits,
)

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def plans(db):
    growth()


class TestAllotDueTiers:
    def test_gives_on_the_next_monthly_day(self):
        wallet = on_tier()
        december = first_of(2026, 12)
        assert run_due(december - SECOND) == 0
        assert run_due(december) == 1
        assert run_due(december) == 0
        assert moves_of(wallet) == [("allocation", 2_000)]
        grant = Grant.objects.get(wallet=wallet)
        assert (grant.credit_type, grant.source, grant.paid_minor) == ("award", "plan", 0)
        (booked,) = CreditTransaction.objects.filter(wallet=wallet)
        assert booked.description == "Growth for 2026-12"

    def test_gives_this_month_if_its_day_is_yet_to_come(self):
        set_credit_settings(monthly_day=25)
        wallet = on_tier()
        run_due(datetime(2026, 11, 25, tzinfo=UTC))
        assert months_of(wallet) == ["2026-11"]

    def test_gives_on_the_last_day_of_a_shorter_month(self):
        set_credit_settings(monthly_day=31)
        wallet = on_tier()
        assert run_due(datetime(2026, 11, 29, 23, 59, tzinfo=UTC)) == 0
        assert run_due(datetime(2026, 11, 30, tzinfo=UTC)) == 1
        assert months_of(wallet) == ["2026-11"]

    def test_begins_months_in_the_time_zone_of_business(self):
        set_credit_settings(time_zone="Pacific/Auckland")
        wallet = on_tier()
        midnight = datetime(2026, 11, 30, 11, tzinfo=UTC)
        assert run_due(midnight - SECOND) == 0
        assert run_due(midnight) == 1
        assert months_of(wallet) == ["2026-12"]

    def test_makes_up_for_what_was_missed(self):
        wallet = on_tier()
        assert run_due(datetime(2027, 3, 15, tzinfo=UTC)) == 4
        assert months_of(wallet) == ["2026-12", "2027-01", "2027-02", "2027-03"]

    def test_makes_up_for_twelve_months_at_the_most(self):
        wallet = on_tier()
        assert run_due(datetime(2028, 6, 15, tzinfo=UTC)) == 12
        assert months_of(wallet)[0] == "2027-07"
        assert Tier.objects.get().next_period == date(2028, 7, 1)

    def test_gives_each_tier_the_months_that_it_was_on(self):
        wallet = on_tier()
        plan("pro", credits=7_000)
        assign(wallet, "pro", at=first_of(2026, 12) + DAY)
        tiers.end_tier(wallet=wallet, reason="x", actor=None, at=first_of(2027, 1) + DAY)
        assert run_due(datetime(2027, 5, 1, tzinfo=UTC)) == 2
        assert moves_of(wallet) == [("allocation", 2_000), ("allocation", 7_000)]
        assert not Tier.objects.exclude(next_period=None).exists()

    def test_gives_a_wallet_one_tier_a_month_however_it_changes(self):
        wallet = on_tier()
        plan("pro", credits=7_000)
        run_due(first_of(2026, 12))
        for day, code in enumerate(["pro", "growth", "pro"], 1):
            assign(wallet, code, at=first_of(2026, 12) + day * DAY)
            with pytest.raises(AlreadyAllotted):
                allot(wallet, at=first_of(2026, 12) + day * DAY)
            assert run_due(first_of(2026, 12) + day * DAY) == 0
        assert moves_of(wallet) == [("allocation", 2_000)]

    def test_passes_over_closed_wallets(self):
        wallet, other = on_tier(), on_tier()
        close(wallet)
        assert run_due(first_of(2026, 12)) == 1
        assert months_of(other) == ["2026-12"]

    def test_gives_expiring_credits_where_awards_expire(self):
        set_credit_settings(award_expiry_days=30)
        wallet = on_tier()
        run_due(first_of(2026, 12))
        assert Grant.objects.get(wallet=wallet).expires_at == first_of(2026, 12) + 30 * DAY

    def test_gives_a_month_once_when_two_do_so_at_once(self, ledger_db):
        wallets = [on_tier() for _ in range(3)]
        january = first_of(2027, 1)
        outcomes = race(lambda: run_due(january), lambda: run_due(january))
        assert outcomes == ["int", "int"]
        assert [months_of(wallet) for wallet in wallets] == 3 * [["2026-12", "2027-01"]]


class TestAllotNow:
    def test_gives_this_month_and_the_next_day_gives_the_next(self):
        wallet, actor = on_tier(), finance()
        posted = allot(wallet, actor=actor)
        assert posted.amount == 2_000
        assert run_due(first_of(2026, 12) - SECOND) == 0
        assert run_due(first_of(2026, 12)) == 1
        assert months_of(wallet) == ["2026-11", "2026-12"]
        event = AuditEvent.objects.get(action="billing.tier.allotted")
        assert event.after == {"tier": "growth", "period": "2026-11", "amount": 2_000}

    def test_comes_before_the_scheduler_in_the_same_month(self):
        set_credit_settings(monthly_day=25)
        wallet = on_tier()
        allot(wallet)
        assert run_due(datetime(2026, 11, 26, tzinfo=UTC)) == 0
        assert months_of(wallet) == ["2026-11"]

    def test_refuses_a_second_one_and_one_after_the_scheduler(self):
        wallet = on_tier()
        allot(wallet, idempotency_key="a")
        with pytest.raises(AlreadyAllotted) as refusal:
            allot(wallet, idempotency_key="b", at=NOVEMBER + DAY)
        assert refusal.value.status == 409
        run_due(first_of(2026, 12))
        with pytest.raises(AlreadyAllotted):
            allot(wallet, at=first_of(2026, 12) + DAY)
        assert len(moves_of(wallet)) == 2

    def test_answers_a_repeat_for_ever(self):
        wallet = on_tier()
        first = allot(wallet, idempotency_key="a")
        tiers.end_tier(wallet=wallet, reason="x", actor=None, at=NOVEMBER + DAY)
        again = allot(wallet, idempotency_key="a", at=NOVEMBER + 40 * DAY)
        assert (again.transaction_id, again.is_new) == (first.transaction_id, False)
        with pytest.raises(IdempotencyKeyReused):
            allot(on_tier(), idempotency_key="a")

    def test_refuses_who_is_on_no_tier(self):
        with pytest.raises(NotOnTier):
            allot(wallet_of(CustomerFactory()))

    def test_refuses_a_closed_wallet_and_ones_own(self):
        wallet, actor = on_tier(), finance()
        close(wallet)
        with pytest.raises(WalletClosed):
            allot(wallet)
        with pytest.raises(OwnWallet):
            allot(on_tier(actor), actor=actor)

    def test_asks_a_second_person_about_many_credits(self):
        wallet = on_tier()
        set_credit_settings(approval_adjustment_above=1_999)
        approval = waiting(allot(wallet, actor=finance()))
        assert moves_of(wallet) == []
        assert approval.sentence == (
            f"Give {wallet} 2,000 awarded credits of the tier growth for 2026-11"
        )
        approve(approval=approval, checker=finance(), note="", at=NOVEMBER + DAY)
        assert months_of(wallet) == ["2026-11"]

    def test_fails_when_approved_after_the_month_was_given(self):
        set_credit_settings(monthly_day=25)
        wallet = on_tier()
        set_credit_settings(approval_adjustment_above=1_999)
        approval = waiting(allot(wallet, actor=finance()))
        run_due(datetime(2026, 11, 25, tzinfo=UTC))
        ended = approve(approval=approval, checker=finance(), note="", at=NOVEMBER + 6 * DAY)
        assert ended.status == "failed"
        assert len(moves_of(wallet)) == 1

    def test_gives_once_when_two_ask_at_once(self, ledger_db):
        wallet = on_tier()
        outcomes = race(
            lambda: allot(wallet, idempotency_key="a"), lambda: allot(wallet, idempotency_key="b")
        )
        assert sorted(outcomes) == ["AlreadyAllotted", "Posting"]
        assert months_of(wallet) == ["2026-11"]


class TestASubscriptionBesides:
    """What is paid for takes the place of a tier, and a paid month is never refused for one."""

    def subscribed(self, stripe: FakeBilling, wallet, at):
        stripe.now = at
        return begun(stripe, price(), user=wallet.user)

    def test_brings_its_months_instead(self, fake_billing):
        wallet = on_tier()
        self.subscribed(fake_billing, wallet, NOVEMBER + DAY)
        assert run_due(first_of(2026, 12)) == 0
        assert moves_of(wallet) == [("allocation", 100)]
        with pytest.raises(AlreadyAllotted, match="its subscription brings credits instead"):
            allot(wallet, at=first_of(2026, 12))

    def test_leaves_the_tier_for_when_it_has_ended(self, fake_billing):
        wallet = on_tier()
        subscription = self.subscribed(fake_billing, wallet, NOVEMBER + DAY)
        fake_billing.change(
            subscription.subscription_id, status="canceled", ended_at=first_of(2026, 12) + DAY
        )
        run_due(first_of(2026, 12))
        settle(subscription.subscription_id, first_of(2026, 12) + DAY)
        assert run_due(first_of(2027, 1)) == 1
        assert months_of(wallet) == ["2027-01"]

    def test_counts_by_the_month_in_which_what_it_paid_for_begins(self, fake_billing):
        wallet = on_tier()
        subscription = self.subscribed(fake_billing, wallet, NOVEMBER + DAY)
        fake_billing.change(
            subscription.subscription_id, status="canceled", ended_at=NOVEMBER + 2 * DAY
        )
        settle(subscription.subscription_id, NOVEMBER + 2 * DAY)
        with pytest.raises(AlreadyAllotted, match="a subscription paid for some"):
            allot(wallet, at=NOVEMBER + 3 * DAY)
        assert run_due(first_of(2026, 12)) == 1

    def test_is_given_what_it_paid_for_after_the_tier_was(self, fake_billing):
        wallet = on_tier()
        allot(wallet)
        self.subscribed(fake_billing, wallet, NOVEMBER + DAY)
        assert moves_of(wallet) == [("allocation", 2_000), ("allocation", 100)]


class TestRollover:
    def test_keeps_up_to_the_cap_of_earlier_months(self):
        version = OfferVersion.objects.get()
        wallet = wallet_of(CustomerFactory())
        capped = OfferVersion.objects.create(
            offer=version.offer,
            number=2,
            name="Growth",
            credits=2_000,
            rollover_cap=500,
            created_at=NOVEMBER,
        )
        assert assign(wallet).version == capped
        run_due(first_of(2026, 12))
        assert run_due(first_of(2027, 1)) == 1
        assert moves_of(wallet) == [
            ("allocation", 2_000),
            ("expiry", -1_500),
            ("allocation", 2_000),
        ]

    def test_lets_all_expire_with_the_month_where_none_is_kept(self):
        version = OfferVersion.objects.get()
        wallet = wallet_of(CustomerFactory())
        OfferVersion.objects.create(
            offer=version.offer,
            number=2,
            name="Growth",
            credits=2_000,
            rollover_cap=0,
            created_at=NOVEMBER,
        )
        assign(wallet)
        run_due(first_of(2026, 12))
        assert Grant.objects.get(wallet=wallet).expires_at == first_of(2027, 1)


class TestNextDueOf:
    def test_is_the_next_monthly_day_not_given_yet(self):
        wallet = on_tier()
        assert next_due_of(tier_of(wallet), NOVEMBER) == first_of(2026, 12)
        set_credit_settings(monthly_day=25)
        assert next_due_of(tier_of(wallet), NOVEMBER) == datetime(2026, 11, 25, tzinfo=UTC)
        allot(wallet)
        assert next_due_of(tier_of(wallet), NOVEMBER) == datetime(2026, 12, 25, tzinfo=UTC)


def test_wallets_of_others_are_left_alone():
    other = wallet_with_credits(award=5)
    on_tier()
    run_due(first_of(2026, 12))
    assert moves_of(other) == [("award", 5)]
