from contextlib import contextmanager
from datetime import timedelta

import pytest

from accounts.errors import ApprovalEnded, IdempotencyKeyReused
from accounts.models import Approval, TeamMembership, User
from accounts.services import approvals
from accounts.tests.factories import TeamAdminFactory, TeamFactory
from audit.models import AuditEvent
from creditsite.errors import NotPermitted
from creditsite.testing.races import race
from ledger import errors
from ledger.choices import CreditType
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.services import adjustments
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    CustomerFactory,
    balances_of,
    close,
    finance,
    moves_of,
    nothing_changes,
    open_hold,
    seat,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

REASON = "the customer asked"
AWARD, PARTNER, PURCHASE = CreditType.AWARD, CreditType.PARTNER, CreditType.PURCHASE
LARGE = 100_001


def request(actor, **more):
    return {"reason": REASON, "actor": actor, "caller": f"user:{actor.pk}", "at": AT} | more


def add(wallet, amount=LARGE, credit_type=AWARD, actor=None, **more):
    return adjustments.add_credits(
        wallet=wallet, amount=amount, credit_type=credit_type, **request(actor or finance(), **more)
    )


def remove(wallet, amount=LARGE, credit_type=None, actor=None, **more):
    return adjustments.remove_credits(
        wallet=wallet, amount=amount, credit_type=credit_type, **request(actor or finance(), **more)
    )


def set_to(wallet, actor=None, key="form 1", version=None, **targets):
    return adjustments.set_balances(
        wallet=wallet,
        targets={CreditType(name): target for name, target in targets.items()},
        version=Wallet.objects.get(pk=wallet.pk).version if version is None else version,
        **request(actor or finance(), idempotency_key=key),
    )


def reverse(transaction_id, actor=None, **more):
    return adjustments.reverse_transaction(
        original=CreditTransaction.objects.get(pk=transaction_id),
        **request(actor or finance(), **more),
    )


def approve(approval, checker=None, at=AT + HOUR):
    return approvals.approve(
        approval=approval, checker=checker or finance(), note="looks right", at=at
    )


def waits(outcome):
    return isinstance(outcome, Approval) and outcome.status == "waiting"


@contextmanager
def nothing_moves(wallet):
    """Assert that the block moves no credits; that it was tried is recorded as a failure."""

    def state():
        row = Wallet.objects.filter(pk=wallet.pk).values().get()
        return (
            row,
            moves_of(wallet),
            AuditEvent.objects.filter(action__startswith="ledger.").count(),
        )

    before = state()
    yield
    assert state() == before
    assert AuditEvent.objects.latest("pk").action == "accounts.approval.failed"


def rich(owner=None):
    return wallet_with_credits(owner, award=300_000, purchase=200_000)


ACTS = {
    "add": lambda wallet, **more: add(wallet, **more),
    "remove": lambda wallet, **more: remove(wallet, **more),
    "set": lambda wallet, **more: set_to(
        wallet, award=0, key=more.pop("idempotency_key", "form 1"), **more
    ),
    "reverse": lambda wallet, **more: reverse(
        CreditTransaction.objects.filter(wallet=wallet).latest("number").pk, **more
    ),
}
each_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


@pytest.mark.django_db
class TestEachLargeAct:
    @each_act
    def test_waits_having_moved_nothing(self, act):
        wallet, actor = rich(), finance()
        before = balances_of(wallet), Wallet.objects.get(pk=wallet.pk).version
        approval = act(wallet, actor=actor)
        assert waits(approval)
        assert (approval.maker, approval.about, approval.reason) == (actor, wallet.user, REASON)
        assert (balances_of(wallet), Wallet.objects.get(pk=wallet.pk).version) == before
        assert str(wallet) in approval.sentence
        last = AuditEvent.objects.latest("pk")
        assert (last.action, last.approval_id) == ("accounts.approval.asked", approval.pk)

    @each_act
    def test_is_booked_once_in_the_name_of_its_maker_when_approved(self, act):
        wallet, actor = rich(), finance()
        before = CreditTransaction.objects.count()
        ended = approve(act(wallet, actor=actor))
        assert ended.status == "executed", ended.error
        booked = CreditTransaction.objects.order_by("-recorded_at", "-number")[0]
        assert ended.result == {"transactions": [str(booked.pk)]}
        assert CreditTransaction.objects.count() == before + 1
        assert (booked.actor, booked.description) == (actor, REASON)
        approval_event, act_event = AuditEvent.objects.order_by("-pk")[:2]
        assert act_event.action.startswith("ledger.")
        assert (act_event.actor_id, act_event.approval_id) == (actor.pk, ended.pk)
        assert approval_event.action == "accounts.approval.executed"

    @each_act
    def test_answers_a_repeat_with_what_it_came_to(self, act):
        wallet, actor = rich(), finance()
        again = {"actor": actor, "idempotency_key": "k"}
        if act is ACTS["set"]:
            again["version"] = wallet.version
        if act is ACTS["reverse"]:
            first = CreditTransaction.objects.filter(wallet=wallet).latest("number").pk
            act = lambda wallet, **more: reverse(first, **more)  # noqa: E731
        approval = act(wallet, **again)
        assert act(wallet, **again) == approval
        ended = approve(approval)
        assert ended.status == "executed", ended.error
        after = balances_of(wallet)
        repeat = act(wallet, **again)
        assert repeat == [] or (
            not repeat.is_new and str(repeat.transaction_id) in ended.result["transactions"]
        )
        assert (balances_of(wallet), Approval.objects.count()) == (after, 1)

    @each_act
    def test_says_so_when_the_repeated_request_was_refused(self, act):
        wallet, actor = rich(), finance()
        approval = act(wallet, actor=actor, idempotency_key="k")
        approvals.refuse(approval=approval, checker=finance(), note="no", at=AT)
        with nothing_changes(wallet), pytest.raises(ApprovalEnded):
            act(wallet, actor=actor, idempotency_key="k")

    @each_act
    @pytest.mark.parametrize("group", ["Support", "Auditor", None])
    def test_takes_the_permission_in_the_service(self, act, group):
        wallet = rich()
        actor = (
            finance(is_superuser=True) if group else User.objects.create_superuser("r@example.com")
        )
        actor.groups.clear()
        if group:
            actor.groups.add(*actor.groups.model.objects.filter(name=group))
        with nothing_changes(wallet), pytest.raises(NotPermitted):
            act(wallet, actor=actor)
        assert Approval.objects.count() == 0

    @each_act
    def test_needs_no_second_person_at_the_limit(self, act):
        set_credit_settings(approval_adjustment_above=300_000)
        wallet = rich()
        outcome = act(wallet)
        assert not isinstance(outcome, Approval)
        assert Approval.objects.count() == 0

    @each_act
    def test_fails_if_the_wallet_has_become_the_makers_own(self, act):
        team, actor = TeamFactory(), finance()
        wallet = rich(owner=team)
        approval = act(wallet, actor=actor)
        seat(team, actor)
        with nothing_moves(wallet):
            ended = approve(approval)
        assert (ended.status, ended.error) == ("failed", str(errors.OwnWallet()))


@pytest.mark.django_db
class TestChecker:
    def test_is_not_who_owns_the_wallet(self):
        owner = finance()
        approval = add(rich(owner=owner))
        with pytest.raises(NotPermitted) as refusal:
            approve(approval, owner)
        assert refusal.value.code == "own_wallet"

    def test_is_not_who_shares_the_wallet(self):
        team = TeamFactory(owner=TeamAdminFactory())
        checker = finance(is_superuser=True)
        seat(team, checker)
        approval = add(rich(owner=team.owner))
        with pytest.raises(NotPermitted):
            approve(approval, checker)
        TeamMembership.objects.all().delete()
        assert approve(approval, checker).status == "executed"


@pytest.mark.django_db
class TestTheBooksComeFirst:
    def test_refuse_at_once_what_they_would_refuse_later(self):
        wallet, closed = wallet_with_credits(award=950_000), wallet_with_credits(award=200_000)
        close(closed)
        closed.refresh_from_db()
        for refusal, act in [
            (errors.BalanceTooLarge, lambda: add(wallet)),
            (errors.InsufficientCredits, lambda: remove(wallet, 950_001)),
            (errors.WalletClosed, lambda: add(closed)),
            (errors.WalletClosed, lambda: remove(closed)),
            (errors.StaleVersion, lambda: set_to(wallet, award=0, version=7)),
            (errors.InvalidAmount, lambda: add(wallet, expires_at=AT)),
        ]:
            with pytest.raises(refusal):
                act()
        assert Approval.objects.count() == 0

    def test_are_asked_again_when_it_is_approved(self):
        wallet = rich()
        approval = remove(wallet, 450_000)
        spend(wallet, 100_000)
        with nothing_moves(wallet):
            ended = approve(approval)
        assert (ended.status, ended.error) == (
            "failed",
            "450,000 credits are needed; 400,000 are available.",
        )

    def test_do_not_add_credits_that_have_expired_meanwhile(self):
        approval = add(rich(), expires_at=AT + HOUR)
        assert approve(approval, at=AT + HOUR).status == "failed"


@pytest.mark.django_db
class TestSetBalances:
    def test_binds_the_differences_and_not_the_targets(self):
        wallet = wallet_with_credits(award=200_000, purchase=50)
        approval = set_to(wallet, award=50_000, purchase=80)
        assert approval.payload == {
            "wallet": wallet.pk,
            "changes": {"award": -150_000, "purchase": 30},
        }
        spend(wallet, 20_000)
        ended = approve(approval)
        assert ended.status == "executed", ended.error
        assert balances_of(wallet) == {"award": 30_000, "purchase": 80, "partner": 0}
        event = AuditEvent.objects.get(action="ledger.wallet.adjusted")
        assert event.before == {"award": 180_000, "purchase": 50}
        assert event.after == {"award": 30_000, "purchase": 80}

    def test_never_goes_below_what_is_held(self):
        wallet = wallet_with_credits(award=200_000)
        approval = set_to(wallet, award=10_000)
        open_hold(wallet, 150_000)
        with nothing_moves(wallet):
            assert approve(approval).status == "failed"

    def test_never_goes_above_the_largest_balance(self):
        wallet = wallet_with_credits(award=10)
        approval = set_to(wallet, award=1_000_000)
        wallet_with_credits(wallet.user, award=1)
        assert approve(approval).status == "failed"
        assert balances_of(wallet)["award"] == 11

    def test_does_all_of_it_or_nothing(self):
        wallet = wallet_with_credits(award=10, purchase=200_000)
        approval = set_to(wallet, award=60_000, purchase=100_000)
        spend(wallet, 150_000)
        with nothing_moves(wallet):
            assert approve(approval).status == "failed"

    def test_counts_what_moves_of_all_types_together(self):
        wallet = wallet_with_credits(award=60_000)
        assert not isinstance(set_to(wallet, award=10_000, purchase=50_000), Approval)
        assert waits(set_to(wallet, award=60_000, purchase=100_001, key="form 2"))


@pytest.mark.django_db
class TestReverse:
    def test_puts_back_a_large_spend_when_approved(self):
        wallet = rich()
        spent = spend(wallet, 250_000)
        approval = reverse(spent.transaction_id)
        assert waits(approval)
        assert approve(approval).status == "executed"
        assert moves_of(wallet)[-1] == ("reversal", 250_000)

    def test_fails_if_it_was_reversed_meanwhile(self):
        wallet = rich()
        spent = spend(wallet, 250_000)
        approval, other = reverse(spent.transaction_id), reverse(spent.transaction_id)
        assert [approve(other).status, approve(approval).status] == ["executed", "failed"]

    def test_asks_nobody_about_a_small_part(self):
        spent = spend(rich(), 250_000)
        assert reverse(spent.transaction_id, amount=10).amount == 10


@pytest.mark.django_db
class TestKeys:
    def test_of_what_waits_is_refused_for_another_request(self):
        wallet, actor = rich(), finance()
        add(wallet, actor=actor, idempotency_key="k")
        for act in [
            lambda: add(wallet, LARGE + 1, actor=actor, idempotency_key="k"),
            lambda: add(wallet, 1, actor=actor, idempotency_key="k"),
            lambda: remove(wallet, actor=actor, idempotency_key="k"),
            lambda: set_to(wallet, award=1, actor=actor, key="k"),
        ]:
            with pytest.raises(IdempotencyKeyReused):
                act()
        assert Approval.objects.count() == 1

    def test_that_was_used_by_a_spend_since_fails_the_approval(self):
        wallet, actor = rich(), finance()
        approval = add(wallet, actor=actor, idempotency_key="k")
        spend(wallet, 5, key="k", caller=f"user:{actor.pk}")
        ended = approve(approval)
        assert (ended.status, ended.error) == ("failed", str(errors.IdempotencyKeyReused()))

    def test_has_one_effect_for_two_requests_at_once(self, ledger_db):
        wallet, actor = rich(), finance()
        outcomes = race(
            *[lambda: add(wallet, 5, actor=actor, idempotency_key="k")] * 4,
            *[lambda: add(wallet, actor=actor, idempotency_key="k")] * 4,
        )
        assert outcomes in (
            ["Posting"] * 4 + ["IdempotencyKeyReused"] * 4,
            ["IdempotencyKeyReused"] * 4 + ["Approval"] * 4,
        )
        booked = CreditTransaction.objects.filter(wallet=wallet, amount=5).count()
        assert booked + Approval.objects.count() == 1


@pytest.mark.django_db
class TestSentences:
    def sentence(self, outcome):
        assert waits(outcome)
        kind = approvals.KINDS[outcome.kind]
        assert kind.describe(outcome.payload) == outcome.sentence
        return outcome.sentence, kind.state(outcome.payload, AT)

    def test_name_what_how_much_and_whose(self):
        wallet = wallet_with_credits(CustomerFactory(email="bob@example.com"), award=350_000)
        has = "bob@example.com has now: award 350,000, partner 0, purchase 0"
        assert self.sentence(add(wallet, 250_000, PURCHASE, expires_at=AT + DAY)) == (
            "Add 250,000 purchase credits to bob@example.com, until 2026-06-02 12:00 UTC",
            [f"{has}."],
        )
        assert self.sentence(remove(wallet, 250_000, AWARD)) == (
            "Remove 250,000 award credits from bob@example.com",
            [f"{has}."],
        )
        assert self.sentence(remove(wallet, 250_000)) == (
            "Remove 250,000 credits of any type from bob@example.com",
            [f"{has}."],
        )
        hold = open_hold(wallet, 5)
        assert hold
        assert self.sentence(set_to(wallet, award=100_000, purchase=7)) == (
            "Change the balances of bob@example.com: -250,000 award, +7 purchase",
            [
                f"{has}; 5 of them are held.",
                "award: 350,000 → 100,000 (-250,000)",
                "purchase: 0 → 7 (+7)",
            ],
        )

    def test_name_what_is_reversed(self):
        wallet = wallet_with_credits(CustomerFactory(email="bob@example.com"), award=350_000)
        spent = spend(wallet, 250_000)
        sentence, state = self.sentence(reverse(spent.transaction_id))
        assert sentence == (
            "Reverse all that is left of no. 2 of bob@example.com, usage of -250,000 credits"
        )
        assert state[0].startswith("250,000 credits go back into")
        sentence, _ = self.sentence(reverse(spent.transaction_id, amount=200_000))
        assert sentence.startswith("Reverse 200,000 credits of no. 2 of")
        given = Grant.objects.get(wallet=wallet)
        grant = CreditTransaction.objects.get(wallet=wallet, number=1)
        sentence, _ = self.sentence(reverse(grant.pk, partly=True))
        assert sentence.endswith("award of +350,000 credits, though partly spent")
        assert given.remaining == 100_000


def test_an_approval_lasts_as_long_as_the_setting_says(db, settings):
    settings.APPROVAL_DAYS = 2
    assert add(rich()).expires_at == AT + timedelta(days=2)
