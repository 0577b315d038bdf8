from datetime import timedelta

import pytest
from django.db import transaction

from accounts.models import TeamMembership
from accounts.services.users import change_partner
from accounts.tests.factories import TeamAdminFactory, TeamFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict
from creditsite.testing.races import race
from ledger import errors
from ledger.choices import CreditType, GrantSource
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.services import adjustments, holds
from ledger.tests import books
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    CustomerFactory,
    available,
    balances_of,
    bulk_created,
    close,
    finance,
    moves_of,
    nothing_changes,
    open_hold,
    seat,
    set_credit_settings,
    spend,
    transactions_of,
    wallet_with_credits,
)

REASON = "the customer asked"
AWARD, PARTNER, PURCHASE = CreditType.AWARD, CreditType.PARTNER, CreditType.PURCHASE


@pytest.fixture(autouse=True)
def one_person_is_enough(books_stay_true):
    set_credit_settings(approval_adjustment_above=3_000_000)


def request(more):
    """What every act is given, unless ``more`` says otherwise."""
    if key := more.pop("key", None):
        more["idempotency_key"] = key
    return {"reason": REASON, "caller": CALLER, "at": AT, **more}


def add(wallet, amount, credit_type=AWARD, **more):
    more.setdefault("actor", finance())
    return adjustments.add_credits(
        wallet=wallet, amount=amount, credit_type=credit_type, **request(more)
    )


def remove(wallet, amount, credit_type=None, **more):
    more.setdefault("actor", finance())
    return adjustments.remove_credits(
        wallet=wallet, amount=amount, credit_type=credit_type, **request(more)
    )


def set_balances(wallet, *, award=None, partner=None, purchase=None, version=None, **more):
    more.setdefault("actor", finance())
    more.setdefault("key", "form 1")
    targets = {AWARD: award, PARTNER: partner, PURCHASE: purchase}
    return adjustments.set_balances(
        wallet=wallet,
        targets={name: target for name, target in targets.items() if target is not None},
        version=Wallet.objects.get(pk=wallet.pk).version if version is None else version,
        **request(more),
    )


def reverse(posted, **more):
    more.setdefault("actor", finance())
    original = CreditTransaction.objects.get(pk=posted.transaction_id)
    return adjustments.reverse_transaction(original=original, **request(more))


def pause(wallet, actor=None):
    adjustments.pause_wallet(wallet=wallet, reason=REASON, actor=actor or finance(), at=AT)


def resume(wallet, actor=None):
    adjustments.resume_wallet(wallet=wallet, reason=REASON, actor=actor or finance(), at=AT)


def release(hold_id):
    holds.release_hold(hold_id=hold_id, caller=CALLER, at=AT, actor_id=None)


def capture(hold_id, amount=None):
    holds.capture_hold(hold_id=hold_id, caller=CALLER, at=AT, actor_id=None, amount=amount)


def event(action):
    """The one audit event of that name."""
    return AuditEvent.objects.get(action=action)


def events(action):
    return AuditEvent.objects.filter(action=action).count()


@pytest.mark.django_db
class TestRefuseOwnWallet:
    ACTS = {
        "add": lambda wallet, actor: add(wallet, 10, actor=actor),
        "remove": lambda wallet, actor: remove(wallet, 10, actor=actor),
        "set": lambda wallet, actor: set_balances(wallet, award=7, actor=actor),
        "reverse": lambda wallet, actor: adjustments.reverse_transaction(
            original=transactions_of(wallet)[0], **request({"actor": actor})
        ),
        "pause": pause,
        "resume": resume,
    }

    def assert_refused(self, owner, actor):
        wallet = wallet_with_credits(owner, award=100)
        for act in self.ACTS.values():
            with nothing_changes(wallet), pytest.raises(errors.OwnWallet):
                act(wallet, actor)

    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_refuses_the_owner(self, is_superuser):
        actor = finance(is_superuser=is_superuser)
        self.assert_refused(actor, actor)

    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_refuses_who_has_a_seat_in_the_team_of_the_owner(self, is_superuser):
        actor, team = finance(is_superuser=is_superuser), TeamFactory(owner=TeamAdminFactory())
        seat(team, actor)
        self.assert_refused(team.owner, actor)

    def test_refuses_who_has_a_seat_in_the_organisation(self):
        actor, team = finance(), TeamFactory()
        seat(team, actor)
        self.assert_refused(team, actor)

    def test_lets_the_seat_of_a_team_that_was_left_be(self):
        actor, team = finance(), TeamFactory()
        seat(team, actor)
        TeamMembership.objects.all().delete()
        assert add(wallet_with_credits(team), 10, actor=actor).is_new

    def test_lets_a_seat_in_another_team_be(self):
        actor, own, other = finance(), TeamFactory(), TeamFactory()
        seat(own, actor)
        assert add(wallet_with_credits(other), 10, actor=actor).is_new


@pytest.mark.django_db
class TestAddCredits:
    @pytest.mark.parametrize("credit_type", CreditType)
    def test_gives_credits_of_each_type(self, credit_type):
        wallet = wallet_with_credits()
        posted = add(wallet, 40, credit_type)
        expected = {"award": 0, "purchase": 0, "partner": 0, credit_type.value: 40}
        assert balances_of(wallet) == expected
        assert moves_of(wallet) == [(credit_type.value, 40)]
        assert (posted.amount, posted.balance_after, posted.current) == (40, 40, 40)

    def test_enters_purchased_credits_without_money(self):
        wallet = wallet_with_credits()
        add(wallet, 40, PURCHASE)
        grant = Grant.objects.get()
        assert (grant.paid_minor, grant.currency, grant.source) == (0, "", GrantSource.MANUAL)

    def test_keeps_when_they_expire(self):
        wallet = wallet_with_credits()
        add(wallet, 40, expires_at=AT + DAY)
        assert available(wallet, AT + DAY - timedelta(microseconds=1)) == 40
        assert available(wallet, AT + DAY) == 0

    def test_records_who_and_why_once(self):
        wallet, actor = wallet_with_credits(award=5), finance()
        for _ in range(2):
            posted = add(wallet, 40, actor=actor, key="once")
        assert not posted.is_new
        assert (balances_of(wallet)["award"], events("ledger.credits.added")) == (45, 2)
        recorded = AuditEvent.objects.order_by("pk").last()
        assert (recorded.actor_id, recorded.reason, recorded.at) == (actor.pk, REASON, AT)
        assert recorded.before == {"balance": 5}
        assert recorded.after == {
            "balance": 45,
            "transaction": str(posted.transaction_id),
            "credit_type": "award",
            "amount": 40,
        }
        booked = transactions_of(wallet)[-1]
        assert (booked.actor, booked.description, booked.caller) == (actor, REASON, CALLER)

    @pytest.mark.parametrize("amount", [-1, 0, 1_000_001])
    def test_refuses_an_amount_out_of_range(self, amount):
        wallet = wallet_with_credits()
        with nothing_changes(wallet), pytest.raises(errors.InvalidAmount):
            add(wallet, amount)

    def test_reaches_the_largest_balance_of_each_type_and_no_more(self):
        wallet = wallet_with_credits(award=999_999, purchase=5)
        with nothing_changes(wallet), pytest.raises(errors.BalanceTooLarge) as refusal:
            add(wallet, 2)
        assert refusal.value.numbers == {"largest": 1_000_000}
        add(wallet, 1)
        assert balances_of(wallet) == {"award": 1_000_000, "purchase": 5, "partner": 0}

    @pytest.mark.parametrize("before", [timedelta(), DAY])
    def test_refuses_credits_that_have_expired(self, before):
        wallet = wallet_with_credits()
        with nothing_changes(wallet), pytest.raises(errors.InvalidAmount):
            add(wallet, 40, expires_at=AT - before)

    @pytest.mark.parametrize(
        "other", [{"amount": 41}, {"credit_type": PARTNER}, {"reason": "another"}]
    )
    def test_refuses_the_key_of_another_request(self, other):
        wallet = wallet_with_credits()
        add(wallet, 40, key="once")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            add(wallet, **({"amount": 40} | other), key="once")

    def test_refuses_a_closed_wallet_and_not_a_paused_one(self):
        closed, paused = wallet_with_credits(), wallet_with_credits()
        close(closed)
        pause(paused)
        with nothing_changes(closed), pytest.raises(errors.WalletClosed):
            add(closed, 40)
        assert add(paused, 40).status == "paused"


@pytest.mark.django_db
class TestRemoveCredits:
    def test_takes_in_burn_down_order(self):
        wallet = wallet_with_credits(award=30, partner=20, purchase=50)
        assert remove(wallet, 60).amount == -60
        assert balances_of(wallet) == {"award": 0, "partner": 0, "purchase": 40}
        assert moves_of(wallet)[-1] == ("adjustment", -60)

    @pytest.mark.parametrize("credit_type", CreditType)
    def test_takes_of_one_type(self, credit_type):
        wallet = wallet_with_credits(award=50, partner=50, purchase=50)
        remove(wallet, 20, credit_type)
        expected = {"award": 50, "partner": 50, "purchase": 50, credit_type.value: 30}
        assert balances_of(wallet) == expected

    def test_counts_as_no_use(self):
        wallet = wallet_with_credits(purchase=50)
        remove(wallet, 20)
        assert Grant.objects.get(wallet=wallet).consumed == 0

    def test_takes_what_is_free_now_and_what_is_held_when_its_hold_ends(self):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 80)
        assert remove(wallet, 50).amount == -20
        assert (balances_of(wallet)["award"], available(wallet)) == (80, 0)
        release(hold_id)
        assert (balances_of(wallet)["award"], available(wallet)) == (50, 50)
        assert moves_of(wallet)[1:] == [("adjustment", -20), ("adjustment", -30)]

    def test_takes_nothing_of_what_its_hold_captured(self):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 80)
        remove(wallet, 50)
        capture(hold_id, 60)
        assert balances_of(wallet)["award"] == 0
        assert moves_of(wallet)[1:] == [("adjustment", -20), ("usage", -60), ("adjustment", -20)]

    def test_records_who_and_why_once(self):
        wallet, actor = wallet_with_credits(award=100), finance()
        for _ in range(2):
            posted = remove(wallet, 40, AWARD, actor=actor, key="once")
        assert (posted.is_new, balances_of(wallet)["award"]) == (False, 60)
        recorded = event("ledger.credits.removed")
        assert (recorded.actor_id, recorded.reason) == (actor.pk, REASON)
        assert (recorded.before, recorded.after) == (
            {"balance": 100},
            {
                "balance": 60,
                "transaction": str(posted.transaction_id),
                "credit_type": "award",
                "amount": 40,
            },
        )

    def test_refuses_more_than_there_is_held_credits_included(self):
        wallet = wallet_with_credits(award=100, purchase=1_000)
        open_hold(wallet, 80)
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits):
            remove(wallet, 101, AWARD)
        assert remove(wallet, 100, AWARD).amount == -20

    def test_refuses_what_an_earlier_removal_waits_for(self):
        wallet = wallet_with_credits(award=100)
        open_hold(wallet, 80)
        remove(wallet, 50)
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits):
            remove(wallet, 51)
        assert remove(wallet, 50).amount == 0

    @pytest.mark.parametrize("amount", [-1, 0, 1_000_000_001])
    def test_refuses_an_amount_out_of_range(self, amount):
        wallet = wallet_with_credits(award=100)
        with nothing_changes(wallet), pytest.raises(errors.InvalidAmount):
            remove(wallet, amount)

    def test_refuses_a_closed_wallet_and_not_a_paused_one(self):
        closed, paused = wallet_with_credits(award=10), wallet_with_credits(award=10)
        close(closed)
        pause(paused)
        with nothing_changes(closed), pytest.raises(errors.WalletClosed):
            remove(Wallet.objects.get(pk=closed.pk), 10)
        assert remove(paused, 10).balance_after == 0

    def test_refuses_the_key_of_another_request(self):
        wallet = wallet_with_credits(award=100)
        remove(wallet, 40, key="once")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            remove(wallet, 40, AWARD, key="once")


@pytest.mark.django_db
class TestSetBalances:
    def test_brings_each_type_to_exactly_its_target(self):
        wallet = wallet_with_credits(award=100, partner=7, purchase=50)
        postings = set_balances(wallet, award=30, partner=7, purchase=1_000_000)
        assert balances_of(wallet) == {"award": 30, "partner": 7, "purchase": 1_000_000}
        assert [(p.amount, p.is_new) for p in postings] == [(-70, True), (999_950, True)]
        assert moves_of(wallet)[-2:] == [("adjustment", -70), ("adjustment", 999_950)]

    @pytest.mark.parametrize("credit_type", CreditType)
    def test_sets_one_type_and_leaves_the_others(self, credit_type):
        wallet = wallet_with_credits(award=50, partner=50, purchase=50)
        for target in (0, 1_000_000, 1, 99):
            set_balances(wallet, **{credit_type.value: target}, key=f"to {target}")
            expected = {"award": 50, "partner": 50, "purchase": 50, credit_type.value: target}
            assert balances_of(wallet) == expected

    def test_enters_purchased_credits_without_money(self):
        wallet = wallet_with_credits()
        set_balances(wallet, purchase=30)
        assert Grant.objects.get().paid_minor == 0

    def test_reaches_below_several_grants(self):
        wallet = wallet_with_credits(award=10)
        for amount in (20, 30):
            add(wallet, amount)
        set_balances(wallet, award=25)
        assert balances_of(wallet)["award"] == 25

    def test_counts_no_expired_credits(self):
        wallet = wallet_with_credits(award=50, expires_at=AT + DAY)
        set_balances(wallet, award=50, at=AT + 2 * DAY)
        assert balances_of(wallet, AT + 2 * DAY)["award"] == 50

    def test_records_before_and_after_once(self):
        wallet, actor = wallet_with_credits(award=100, purchase=5), finance()
        set_balances(wallet, award=30, partner=2, purchase=5, actor=actor)
        recorded = event("ledger.wallet.adjusted")
        assert (recorded.actor_id, recorded.reason, recorded.target_id) == (
            actor.pk,
            REASON,
            str(wallet.pk),
        )
        assert recorded.before == {"award": 100, "partner": 0, "purchase": 5}
        assert recorded.after == {"award": 30, "partner": 2, "purchase": 5}

    def test_posts_and_records_nothing_when_all_is_so_already(self):
        wallet = wallet_with_credits(award=100)
        with nothing_changes(wallet):
            assert set_balances(wallet, award=100, partner=0) == []

    def test_refuses_a_form_opened_before_the_wallet_changed(self):
        wallet = wallet_with_credits(award=100)
        spend(wallet, 1)
        with nothing_changes(wallet), pytest.raises(errors.StaleVersion):
            set_balances(wallet, award=30, version=wallet.version)

    def test_refuses_a_target_below_what_is_held_and_sets_none(self):
        wallet = wallet_with_credits(award=100, purchase=100)
        open_hold(wallet, 130)
        with nothing_changes(wallet), pytest.raises(errors.BelowHeld) as refusal:
            set_balances(wallet, partner=9, award=100, purchase=29)
        assert refusal.value.numbers == {"held": 30}
        set_balances(wallet, award=100, purchase=30)
        assert available(wallet) == 0

    @pytest.mark.parametrize("target", [-1, 1_000_001])
    def test_refuses_a_target_out_of_range(self, target):
        wallet = wallet_with_credits(award=100)
        with nothing_changes(wallet), pytest.raises(errors.InvalidAmount):
            set_balances(wallet, award=target)

    def test_posts_nothing_when_the_form_is_sent_again(self):
        wallet = wallet_with_credits(award=100)
        opened_at = wallet.version
        set_balances(wallet, award=30, purchase=8, version=opened_at)
        spend(wallet, 5)
        with nothing_changes(wallet):
            assert set_balances(wallet, award=30, purchase=8, version=opened_at) == []

    @pytest.mark.parametrize(
        "other",
        [
            {"award": 31},
            {"award": 30, "purchase": 1},
            {"purchase": 1},
            {"award": 30, "reason": "b"},
        ],
    )
    def test_refuses_the_key_of_another_request(self, other):
        wallet = wallet_with_credits(award=100)
        set_balances(wallet, award=30)
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            set_balances(wallet, **other)

    def test_refuses_the_key_of_the_same_request_for_another_wallet(self):
        wallet, other = wallet_with_credits(award=100), wallet_with_credits(award=100)
        set_balances(wallet, award=30)
        with nothing_changes(other), pytest.raises(errors.IdempotencyKeyReused):
            set_balances(other, award=30)

    def test_lowers_a_closed_wallet_and_refuses_to_raise_it(self):
        wallet = wallet_with_credits(award=100)
        close(wallet)
        with nothing_changes(wallet), pytest.raises(errors.WalletClosed):
            set_balances(wallet, award=101)
        set_balances(wallet, award=0)
        assert balances_of(wallet)["award"] == 0

    def test_lets_one_of_two_forms_in_when_both_saw_the_same(self, ledger_db):
        wallet, actors = wallet_with_credits(award=100), [finance(), finance()]

        def submit(number, version, turn):
            return lambda: set_balances(
                wallet,
                award=100 + 10 * turn + number,
                version=version,
                actor=actors[number],
                key=f"{turn} of {number}",
            )

        for turn in range(1, 7):
            version = Wallet.objects.get(pk=wallet.pk).version
            outcomes = race(submit(0, version, turn), submit(1, version, turn))
            assert sorted(outcomes) == ["StaleVersion", "list"]
        assert len(transactions_of(wallet)) == 7


@pytest.mark.django_db
class TestReverseTransaction:
    def test_puts_back_what_a_spend_took(self):
        wallet = wallet_with_credits(award=30, purchase=50)
        spent = spend(wallet, 60)
        assert reverse(spent).amount == 60
        assert balances_of(wallet) == {"award": 30, "purchase": 50, "partner": 0}
        assert CreditTransaction.objects.get(kind="reversal").reverses_id == spent.transaction_id

    def test_puts_back_a_part_and_then_the_rest(self):
        wallet = wallet_with_credits(award=100)
        spent = spend(wallet, 60)
        assert [reverse(spent, amount=25).amount, reverse(spent).amount] == [25, 35]
        with nothing_changes(wallet), pytest.raises(errors.AlreadyReversed):
            reverse(spent)
        assert balances_of(wallet)["award"] == 100

    def test_refuses_to_put_back_more_than_was_taken(self):
        wallet = wallet_with_credits(award=100)
        spent = spend(wallet, 60)
        with nothing_changes(wallet), pytest.raises(errors.ExceedsTaken) as refusal:
            reverse(spent, amount=61)
        assert refusal.value.numbers == {"asked": 61, "open": 60}

    def test_takes_a_grant_back(self):
        wallet = wallet_with_credits(award=100)
        assert reverse(add(wallet, 40)).amount == -40
        assert balances_of(wallet)["award"] == 100

    def test_refuses_a_grant_that_is_partly_spent_unless_what_is_left_will_do(self):
        wallet = wallet_with_credits()
        given = add(wallet, 40)
        spend(wallet, 15)
        with nothing_changes(wallet), pytest.raises(errors.PartlySpent) as refusal:
            reverse(given)
        assert refusal.value.numbers == {"available": 25}
        assert reverse(given, partly=True).amount == -25

    def test_puts_a_removal_back(self):
        wallet = wallet_with_credits(award=100)
        reverse(remove(wallet, 30))
        assert balances_of(wallet)["award"] == 100

    def test_refuses_a_reversal_and_a_payment(self):
        wallet = wallet_with_credits(award=100)
        reversal = reverse(spend(wallet, 60))
        bought = books.buy(wallet.pk, 100, 1_000, AT)
        for posted in (reversal, bought):
            with nothing_changes(wallet), pytest.raises(errors.NotReversible):
                reverse(posted)

    def test_records_who_and_why_once(self):
        wallet, actor = wallet_with_credits(award=100), finance()
        spent = spend(wallet, 60)
        for _ in range(2):
            posted = reverse(spent, actor=actor, key="once")
        assert (posted.is_new, balances_of(wallet)["award"]) == (False, 100)
        recorded = event("ledger.transaction.reversed")
        assert (recorded.actor_id, recorded.reason) == (actor.pk, REASON)
        assert recorded.target_id == str(spent.transaction_id)
        assert (recorded.before["balance"], recorded.after["balance"]) == (40, 100)

    def test_refuses_the_key_of_another_request(self):
        wallet = wallet_with_credits(award=100)
        spent = spend(wallet, 60)
        reverse(spent, amount=10, key="once")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            reverse(spent, amount=20, key="once")

    def test_says_that_nothing_can_be_put_back_into_what_was_voided(self):
        user = CustomerFactory(is_partner=True)
        wallet = wallet_with_credits(user, partner=100)
        spent = spend(wallet, 60)
        change_partner(user=user, is_partner=False, actor=finance(), reason=REASON, at=AT)
        with nothing_changes(wallet), pytest.raises(errors.NothingToRestore):
            reverse(spent)


@pytest.mark.django_db
class TestPauseAndResume:
    def test_stop_spends_and_holds_and_let_them_go_on(self):
        wallet = wallet_with_credits(award=100)
        pause(wallet)
        for act in (spend, open_hold):
            with nothing_changes(wallet), pytest.raises(errors.WalletPaused):
                act(wallet, 10)
        resume(wallet)
        spend(wallet, 10)
        open_hold(wallet, 10)
        assert available(wallet) == 80

    def test_leave_captures_and_releases_of_holds_alone(self):
        wallet = wallet_with_credits(award=100)
        taken, given_back = open_hold(wallet, 30), open_hold(wallet, 40)
        pause(wallet)
        capture(taken)
        release(given_back)
        assert available(wallet) == 70

    def test_record_who_and_why(self):
        wallet, actor = wallet_with_credits(), finance()
        pause(wallet, actor)
        resume(wallet, actor)
        paused, resumed = event("ledger.wallet.paused"), event("ledger.wallet.resumed")
        assert (paused.actor_id, paused.reason) == (actor.pk, REASON)
        assert (paused.before, paused.after) == ({"status": "active"}, {"status": "paused"})
        assert (resumed.before, resumed.after) == ({"status": "paused"}, {"status": "active"})

    def test_refuse_a_wallet_that_is_so_already(self):
        wallet = wallet_with_credits()
        with nothing_changes(wallet), pytest.raises(Conflict, match="Only a wallet that is paused"):
            resume(wallet)
        pause(wallet)
        with nothing_changes(wallet), pytest.raises(Conflict, match="Only a wallet that is active"):
            pause(wallet)

    def test_refuse_a_closed_wallet(self):
        wallet = wallet_with_credits()
        close(wallet)
        for act in (pause, resume):
            with nothing_changes(wallet), pytest.raises(Conflict):
                act(wallet)

    def test_pause_once_when_two_do_it_at_once(self, ledger_db):
        wallet, actors = wallet_with_credits(), [finance(), finance()]
        outcomes = race(*[lambda actor=actor: pause(wallet, actor) for actor in actors])
        assert sorted(outcomes) == ["Conflict", "NoneType"]
        assert events("ledger.wallet.paused") == 1


@pytest.mark.django_db
class TestVoidPartnerCredits:
    def switch(self, user, is_partner, actor=None):
        change_partner(
            user=user, is_partner=is_partner, actor=actor or finance(), reason=REASON, at=AT
        )

    def test_clears_partner_credits_and_no_others_when_the_status_ends(self):
        user, actor = CustomerFactory(is_partner=True), finance()
        wallet = wallet_with_credits(user, award=10, partner=20, purchase=30)
        self.switch(user, False, actor)
        assert balances_of(wallet) == {"award": 10, "partner": 0, "purchase": 30}
        voided = transactions_of(wallet)[-1]
        assert (voided.kind, voided.amount, voided.actor) == ("void", -20, actor)
        assert voided.description == "Partner status ended"

    def test_clears_what_is_held_when_its_hold_ends(self):
        user = CustomerFactory(is_partner=True)
        wallet = wallet_with_credits(user, partner=20)
        hold_id = open_hold(wallet, 15)
        self.switch(user, False)
        assert (balances_of(wallet)["partner"], available(wallet)) == (15, 0)
        capture(hold_id, 5)
        assert balances_of(wallet)["partner"] == 0
        assert moves_of(wallet)[1:] == [("void", -5), ("usage", -5), ("void", -10)]

    def test_posts_nothing_when_the_status_starts_or_there_is_nothing_to_clear(self):
        user = CustomerFactory()
        wallet = wallet_with_credits(user, award=10)
        self.switch(user, True)
        self.switch(user, False)
        assert moves_of(wallet) == [("award", 10)]

    def test_leaves_credits_given_after_the_status_began_again(self):
        user = CustomerFactory(is_partner=True)
        wallet = wallet_with_credits(user, partner=20)
        self.switch(user, False)
        self.switch(user, True)
        add(wallet, 7, PARTNER)
        assert balances_of(wallet)["partner"] == 7

    def test_fails_the_switch_when_the_actor_shares_the_wallet(self):
        owner, actor = TeamAdminFactory(is_partner=True), finance()
        seat(TeamFactory(owner=owner), actor)
        wallet = wallet_with_credits(owner, partner=20)
        with nothing_changes(wallet), pytest.raises(errors.OwnWallet), transaction.atomic():
            self.switch(owner, False, actor)
        owner.refresh_from_db()
        assert owner.is_partner

    def test_passes_over_a_user_who_has_no_wallet(self):
        (user,) = bulk_created(1, is_partner=True)
        self.switch(user, False)
        assert not Wallet.objects.filter(user=user).exists()
