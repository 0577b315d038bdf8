"""Disputing a charge: whose it is, until when, for how much, and once."""

from datetime import timedelta

import pytest

from accounts.models import Role, User
from accounts.tests.factories import TeamFactory, UserFactory
from creditsite.errors import InvalidRequest
from creditsite.testing.races import race
from disputes import errors
from disputes.models import Dispute, DisputeEvent, DisputeReason
from disputes.services.reasons import save_reason
from disputes.tests.factories import (
    WHY,
    appeal,
    charged,
    disputed,
    now,
    resolve,
    review,
    reviewed,
    some_key,
    states,
    submit,
)
from ledger.errors import ExceedsTaken, IdempotencyKeyReused, TransactionNotFound
from ledger.models import CreditTransaction
from ledger.queries.wallets import wallet_of
from ledger.tests.books import reverse
from ledger.tests.books import spend as overdraw
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    SECOND,
    close,
    pool_of_team_admin,
    seat,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

pytestmark = pytest.mark.django_db


class TestSubmitDispute:
    def test_keeps_what_was_said_of_the_charge(self):
        charge = charged(40)
        dispute = submit(charge, 30, reason="Poor result").dispute
        row = now(dispute)
        assert (row.charged, row.requested, row.status, row.round) == (40, 30, "pending", 1)
        assert (row.reason_id, row.other_reason, row.description) == ("poor_result", "", WHY)
        assert (row.wallet_id, row.opened_by_id) == (charge.wallet_id, charge.actor_id)
        assert row.due_at == AT + HOUR + timedelta(hours=48)
        event = DisputeEvent.objects.get()
        assert (event.kind, event.by_staff, event.is_internal) == ("submitted", False, False)

    def test_confirms_by_email(self, mailoutbox):
        dispute = disputed()
        [email] = mailoutbox
        assert (email.to, email.subject) == ([dispute.opened_by.email], "We have your dispute")
        assert "2026-06-03 13:00 UTC" in email.body

    def test_counts_what_the_charge_made_the_wallet_owe(self):
        wallet = wallet_with_credits(award=10)
        posted = overdraw(wallet.pk, 25, AT, short="debt")
        charge = CreditTransaction.objects.get(pk=posted.transaction_id)
        assert submit(charge, 25, actor=wallet.user).dispute.charged == 25

    @pytest.mark.parametrize("description", ["too short", "x" * 2_001])
    def test_refuses_a_description_too_short_or_too_long(self, description):
        with pytest.raises(InvalidRequest, match="10 to 2,000"):
            submit(charged(), description=description)

    @pytest.mark.parametrize("more", [{"requested": 0}, {"reason": ""}, {"reason": "x" * 201}])
    def test_refuses_what_is_wrong_whatever_the_books_say(self, more):
        with pytest.raises(InvalidRequest):
            submit(charged(), **more)

    def test_is_once_for_a_charge(self):
        charge = charged()
        submit(charge)
        with pytest.raises(errors.AlreadyDisputed):
            submit(charge, 1)

    def test_refuses_more_than_is_not_given_back(self):
        wallet = wallet_with_credits(award=100)
        posted = spend(wallet, 40, actor_id=wallet.user_id)
        reverse(posted, 15, AT)
        charge = CreditTransaction.objects.get(pk=posted.transaction_id)
        with pytest.raises(ExceedsTaken) as refusal:
            submit(charge, 26)
        assert refusal.value.numbers == {"asked": 26, "open": 25}
        assert submit(charge, 25).is_new

    def test_refuses_what_was_given_back(self):
        wallet = wallet_with_credits(award=100)
        posted = spend(wallet, 40, actor_id=wallet.user_id)
        reverse(posted, None, AT)
        with pytest.raises(errors.NothingToDispute):
            submit(CreditTransaction.objects.get(pk=posted.transaction_id), 1)

    def test_is_of_use_and_of_nothing_else(self):
        wallet = wallet_with_credits(award=100)
        given = CreditTransaction.objects.get(wallet=wallet)
        with pytest.raises(errors.NotDisputable):
            submit(given, 1, actor=wallet.user)

    def test_ends_with_the_days_of_the_settings(self):
        charge = charged()
        with pytest.raises(errors.TooLateToDispute) as refusal:
            submit(charge, at=AT + 30 * DAY)
        assert refusal.value.numbers == {"until": "2026-07-01T12:00:00Z"}
        assert submit(charge, at=AT + 30 * DAY - SECOND).is_new

    def test_goes_by_the_settings_of_its_time(self):
        set_credit_settings(dispute_days=2, dispute_review_hours=5)
        with pytest.raises(errors.TooLateToDispute):
            disputed(at=AT + 2 * DAY)
        assert disputed(at=AT + DAY).due_at == AT + DAY + 5 * HOUR

    def test_goes_on_for_a_closed_wallet_and_with_credits_switched_off(self):
        wallet = wallet_with_credits(award=100)
        charge = charged(wallet=wallet)
        close(wallet)
        set_credit_settings(credits_enabled=False)
        assert submit(charge).is_new


class TestReasons:
    def test_begin_with_five(self):
        listed = DisputeReason.objects.order_by("position").values_list("label", flat=True)
        assert list(listed) == [
            "Service not delivered",
            "Charged twice",
            "Wrong amount",
            "Poor result",
            "Other",
        ]

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("charged_twice", ("charged_twice", "")),
            ("CHARGED twice", ("charged_twice", "")),
            ("It smells", ("other", "It smells")),
            ("other", ("other", "")),
        ],
    )
    def test_are_named_by_code_or_label_and_else_kept_under_other(self, text, kept):
        dispute = submit(charged(), reason=text).dispute
        assert (dispute.reason_id, dispute.other_reason) == kept

    def test_that_are_not_listed_any_more_are_texts(self):
        save_reason(
            code="poor_result",
            label="Poor result",
            position=1,
            is_active=False,
            actor=None,
            reason="nobody uses it",
            at=AT,
        )
        dispute = submit(charged(), reason="poor_result").dispute
        assert (dispute.reason_id, dispute.other_reason) == ("other", "poor_result")


class TestWhoMay:
    def test_is_not_a_stranger_who_is_not_told_that_there_is_one(self):
        with pytest.raises(TransactionNotFound):
            submit(charged(), actor=UserFactory())

    def test_is_not_told_of_what_is_not_there(self):
        user = UserFactory()
        missing = CreditTransaction(pk=some_key(), actor_id=user.pk)
        with pytest.raises(TransactionNotFound):
            submit(missing, actor=user)

    def test_of_a_pool_is_its_owner_and_the_member_who_made_it(self):
        member, other = UserFactory(role=None), UserFactory(role=None)
        team, pool = pool_of_team_admin(member, other)
        wallet_with_credits(team.owner, award=100)
        with pytest.raises(TransactionNotFound):
            submit(charged(wallet=pool, actor_id=member.pk), actor=other)
        assert submit(charged(wallet=pool, actor_id=member.pk), actor=member).is_new
        assert submit(charged(wallet=pool, actor_id=member.pk, amount=5), 5, actor=team.owner)

    def test_is_not_a_member_who_has_left(self):
        member = UserFactory(role=None)
        team, pool = pool_of_team_admin(member)
        wallet_with_credits(team.owner, award=100)
        charge = charged(wallet=pool, actor_id=member.pk)
        team.memberships.get(user=member).delete()
        with pytest.raises(errors.NotYourCharge):
            submit(charge, actor=member)

    def test_of_an_organisation_is_who_manages_it_and_who_made_it(self):
        manager = UserFactory(role=Role.objects.get(code="admin"))
        member, other = UserFactory(role=None), UserFactory(role=None)
        team = TeamFactory()
        seat(team, manager, member, other)
        wallet = wallet_with_credits(team, award=100)
        assert wallet.pk == wallet_of(team).pk
        with pytest.raises(errors.NotYourCharge):
            submit(charged(wallet=wallet, actor_id=member.pk), actor=other)
        assert submit(charged(10, wallet=wallet, actor_id=member.pk), 10, actor=member).is_new
        assert submit(charged(10, wallet=wallet, actor_id=member.pk), 10, actor=manager).is_new


class TestKeys:
    def test_repeat_the_same_and_refuse_another(self):
        charge = charged()
        first = submit(charge, key="k")
        again = submit(charge, key="k")
        assert (again.dispute.pk, again.is_new) == (first.dispute.pk, False)
        with pytest.raises(IdempotencyKeyReused):
            submit(charge, 39, key="k")
        assert Dispute.objects.count() == 1

    def test_that_moved_credits_are_refused(self):
        wallet = wallet_with_credits(award=100)
        charge = charged(wallet=wallet)
        spend(wallet, 1, key="k", caller=f"user:{wallet.user_id}")
        with pytest.raises(IdempotencyKeyReused):
            submit(charge, key="k")


class TestAppealDispute:
    def test_opens_it_again_for_somebody_else(self, mailoutbox):
        dispute = reviewed()
        resolve(dispute, "rejected")
        assert appeal(dispute).due_at == dispute.due_at + timedelta(hours=48)
        row = now(dispute)
        assert (row.status, row.round, row.assignee, row.told_new_at) == ("pending", 2, None, None)
        event = row.events.get(kind="appealed")
        assert (event.text, event.by_staff) == ("Please look again.", False)
        assert mailoutbox[-1].subject == "We have your appeal"

    def test_is_once(self):
        dispute = reviewed()
        resolve(dispute, "rejected")
        review(appeal(dispute))
        with pytest.raises(errors.AlreadyAppealed):
            appeal(dispute)
        resolve(dispute, "rejected")
        with pytest.raises(errors.AlreadyAppealed):
            appeal(dispute)

    def test_is_of_what_was_decided(self):
        dispute = disputed()
        with pytest.raises(errors.DisputeNotInState) as refusal:
            appeal(dispute)
        assert refusal.value.numbers == {"dispute_status": "pending"}

    def test_is_not_a_strangers(self):
        dispute = reviewed()
        resolve(dispute, "rejected")
        with pytest.raises(errors.DisputeNotFound):
            appeal(dispute, actor=UserFactory())

    def test_is_of_what_is_not_given_back(self):
        dispute = reviewed()
        resolve(dispute)
        with pytest.raises(errors.NothingToDispute):
            appeal(dispute)

    def test_ends_with_the_days_of_the_settings(self):
        dispute = reviewed()
        decided_at = dispute.due_at
        resolve(dispute, "rejected", at=decided_at)
        with pytest.raises(errors.TooLateToDispute):
            appeal(dispute, at=decided_at + 30 * DAY)
        assert appeal(dispute, at=decided_at + 30 * DAY - SECOND).round == 2

    def test_names_the_version_that_was_shown(self):
        dispute = reviewed()
        resolve(dispute, "rejected")
        with pytest.raises(errors.DisputeChanged):
            appeal(dispute, version=2)
        assert appeal(dispute, version=3).version == 4
        assert states(dispute) == ("pending", 2, 4)


class TestManyAtOnce:
    def test_dispute_a_charge_once(self, ledger_db):
        charge = charged()
        user = User.objects.get(pk=charge.actor_id)
        acts = [lambda n=n: submit(charge, n + 1, actor=user) for n in range(6)]
        assert sorted(race(*acts)) == ["AlreadyDisputed"] * 5 + ["Submitted"]
        assert Dispute.objects.count() == 1

    def test_with_one_key_get_one_dispute(self, ledger_db):
        charge = charged()
        assert race(*[lambda: submit(charge, key="k")] * 6) == ["Submitted"] * 6
        assert Dispute.objects.count() == 1

    def test_appeal_once(self, ledger_db):
        dispute = reviewed()
        resolve(dispute, "rejected")
        assert sorted(race(*[lambda: appeal(dispute)] * 4)) == ["AlreadyAppealed"] * 3 + ["Dispute"]
