"""Deciding: what goes back and where to, who may, once, and with a second person."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import Approval, User
from accounts.services import approvals
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import InvalidRequest, NotPermitted
from creditsite.testing.commits import check_deferred
from creditsite.testing.races import race
from disputes import errors
from disputes.models import Attachment, Decision, Dispute, DisputeEvent
from disputes.queries.charges import open_credits
from disputes.tests.factories import (
    NOTES,
    appeal,
    charged,
    decision_of,
    disputed,
    now,
    resolve,
    review,
    reviewed,
    states,
    submit,
    support,
)
from ledger import keys
from ledger.choices import CreditType, TransactionKind
from ledger.errors import (
    AlreadyReversed,
    ExceedsTaken,
    IdempotencyKeyReused,
    NothingToRestore,
    OwnWallet,
)
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.services import posting
from ledger.services.adjustments import reverse_transaction
from ledger.tests.books import header
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    SECOND,
    available,
    balances_of,
    finance,
    moves_of,
    nothing_changes,
    pool_of_team_admin,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

pytestmark = pytest.mark.django_db


def wallet_of(dispute: Dispute) -> Wallet:
    return Wallet.objects.get(pk=dispute.wallet_id)


def void(wallet: Wallet, credit_type: CreditType) -> None:
    posting.void(wallet=wallet.pk, types=[credit_type], header=header("void", AT + HOUR))


def reverse(dispute: Dispute, amount: int | None = None) -> Any:
    actor = finance()
    return reverse_transaction(
        original=CreditTransaction.objects.get(pk=dispute.transaction_id),
        amount=amount,
        reason="it was charged twice",
        actor=actor,
        caller=f"user:{actor.pk}",
        at=AT + DAY,
    )


class TestFullRefund:
    def test_gives_back_what_was_asked_for_where_it_came_from(self, mailoutbox):
        actor, dispute = finance(), reviewed(40, 30)
        decision = decision_of(resolve(dispute, actor=actor))
        assert (decision.asked, decision.refunded, decision.to_balance) == (30, 30, 30)
        assert moves_of(wallet_of(dispute))[1:] == [("usage", -40), ("refund", 30)]
        assert Grant.objects.get(wallet=dispute.wallet_id).remaining == 90
        refund = CreditTransaction.objects.get(kind="refund")
        assert (refund.pk, refund.reverses_id) == (decision.transaction_id, dispute.transaction_id)
        assert (refund.actor_id, refund.reference_id) == (actor.pk, str(dispute.pk))
        assert states(dispute) == ("resolved", 1, 3)
        event = AuditEvent.objects.get(action="disputes.dispute.decided")
        assert (event.reason, event.before) == (NOTES, {"status": "under_review"})
        assert event.after == {
            "resolution": "full_refund",
            "asked": 30,
            "refunded": 30,
            "status": "resolved",
            "transaction": str(refund.pk),
        }
        email = mailoutbox[-1]
        assert (email.to, email.subject) == ([dispute.opened_by.email], "Your dispute was decided")
        assert NOTES in email.body
        assert "Given back: 30 credits" in email.body

    def test_gives_no_more_than_is_left(self):
        dispute = reviewed(40)
        reverse(dispute, 15)
        assert decision_of(resolve(dispute)).refunded == 25
        assert available(wallet_of(dispute)) == 100

    def test_of_nothing_left_is_refused(self):
        dispute = reviewed(40)
        reverse(dispute)
        with pytest.raises(AlreadyReversed):
            resolve(dispute)
        assert states(dispute) == ("under_review", 1, 2)
        assert decision_of(resolve(dispute, "explanation")).refunded == 0

    def test_says_what_was_voided_and_could_not_go_back(self, mailoutbox):
        wallet = wallet_with_credits(award=30, partner=50)
        dispute = reviewed(40, wallet=wallet)
        void(wallet, CreditType.PARTNER)
        decision = decision_of(resolve(dispute))
        assert (decision.asked, decision.refunded, decision.not_restorable) == (40, 30, 10)
        assert balances_of(wallet, AT + DAY)["award"] == 30
        assert "10 credits could not be given back" in mailoutbox[-1].body

    def test_of_what_was_all_voided_is_refused(self):
        wallet = wallet_with_credits(partner=50)
        dispute = reviewed(40, wallet=wallet)
        void(wallet, CreditType.PARTNER)
        with pytest.raises(NothingToRestore):
            resolve(dispute)
        assert states(dispute) == ("under_review", 1, 2)

    def test_carries_over_what_expired_since(self):
        wallet = wallet_with_credits(award=50, expires_at=AT + DAY)
        dispute = reviewed(40, wallet=wallet)
        resolve(dispute, at=AT + 2 * DAY)
        assert available(wallet, AT + 31 * DAY) == 40
        assert available(wallet, AT + 33 * DAY) == 0

    def test_shrinks_the_debt_that_the_charge_opened(self):
        wallet = wallet_with_credits(award=10)
        posted = posting.draw(
            payers=[wallet.pk], amount=25, short="debt", header=header("usage", AT)
        )
        charge = CreditTransaction.objects.get(pk=posted.transaction_id)
        dispute = review(submit(charge, 25, actor=wallet.user).dispute)
        decision = decision_of(resolve(dispute))
        assert (decision.refunded, decision.to_balance, decision.debt_reduced) == (25, 10, 15)
        assert Wallet.objects.get(pk=wallet.pk).debt == 0

    def test_goes_on_for_paused_and_closed_wallets_and_with_credits_switched_off(self):
        for status in ("paused", "closed"):
            dispute = reviewed()
            posting.set_status(wallet=dispute.wallet_id, expected="active", status=status)
            assert decision_of(resolve(dispute)).refunded == 40
        dispute = reviewed()
        set_credit_settings(credits_enabled=False)
        assert decision_of(resolve(dispute)).refunded == 40


class TestOtherResolutions:
    @pytest.mark.parametrize(
        ("resolution", "status"), [("explanation", "resolved"), ("rejected", "rejected")]
    )
    def test_move_no_credits(self, resolution, status):
        dispute = reviewed()
        decision = decision_of(resolve(dispute, resolution))
        assert (decision.transaction, decision.refunded) == (None, 0)
        assert states(dispute) == (status, 1, 3)
        assert available(wallet_of(dispute)) == 60

    def test_in_part_gives_back_that_part(self):
        dispute = reviewed(40, 10)
        assert decision_of(resolve(dispute, "partial_refund", 25)).refunded == 25

    def test_in_part_gives_back_no_more_than_is_left(self):
        dispute = reviewed()
        reverse(dispute, 30)
        with pytest.raises(ExceedsTaken) as refusal:
            resolve(dispute, "partial_refund", 11)
        assert refusal.value.numbers == {"asked": 11, "open": 10}

    @pytest.mark.parametrize(
        ("resolution", "amount"),
        [
            ("partial_refund", None),
            ("partial_refund", 0),
            ("partial_refund", 1_000_000_001),
            ("full_refund", 40),
            ("rejected", 40),
            ("explanation", 40),
        ],
    )
    def test_with_an_amount_that_does_not_go_with_them_are_refused(self, resolution, amount):
        with pytest.raises(InvalidRequest):
            resolve(reviewed(), resolution, amount)

    @pytest.mark.parametrize("notes", ["", "x" * 501])
    def test_say_why(self, notes):
        with pytest.raises(InvalidRequest, match="1 to 500"):
            resolve(reviewed(), notes=notes)


class TestWhoDecides:
    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_is_not_who_may_only_triage_or_look(self, group):
        dispute = reviewed()
        with nothing_changes(wallet_of(dispute)), pytest.raises(NotPermitted):
            resolve(dispute, actor=StaffFactory(groups=group))

    def test_is_not_a_user_nor_a_superuser_without_a_group(self):
        dispute = reviewed()
        for actor in [dispute.opened_by, User.objects.create_superuser("root@example.com")]:
            with pytest.raises(NotPermitted) as refusal:
                resolve(dispute, actor=actor)
            assert refusal.value.code == "not_permitted"

    def test_is_not_whose_wallet_it_is_or_who_may_spend_from_it(self):
        owner, member = finance(), finance()
        team, pool = pool_of_team_admin(member)
        wallet_with_credits(team.owner, award=100)
        of_pool = review(submit(charged(wallet=pool, actor_id=team.owner_id)).dispute)
        own = reviewed(wallet=wallet_with_credits(owner, award=100))
        for dispute, actor in [(own, owner), (of_pool, member)]:
            with nothing_changes(wallet_of(dispute)), pytest.raises(OwnWallet):
                resolve(dispute, actor=actor)

    def test_is_not_who_opened_it_though_they_left_the_team(self):
        member = finance()
        team, pool = pool_of_team_admin(member)
        wallet_with_credits(team.owner, award=100)
        dispute = review(submit(charged(wallet=pool, actor_id=member.pk)).dispute)
        team.memberships.get(user=member).delete()
        with pytest.raises(OwnWallet):
            resolve(dispute, actor=member)

    def test_of_an_appeal_is_somebody_else(self):
        first, dispute = finance(), reviewed()
        resolve(dispute, "rejected", actor=first)
        review(appeal(dispute))
        with pytest.raises(errors.SameReviewer):
            resolve(dispute, actor=first)
        assert decision_of(resolve(dispute)).round == 2
        assert available(wallet_of(dispute)) == 100


class TestStates:
    def test_pending_is_not_decided(self):
        with pytest.raises(errors.DisputeNotInState):
            resolve(disputed())

    def test_decided_is_not_decided_again(self):
        dispute = reviewed()
        resolve(dispute, "rejected")
        with pytest.raises(errors.DisputeNotInState):
            resolve(dispute)
        assert available(wallet_of(dispute)) == 60

    def test_a_version_that_was_not_shown_is_refused(self):
        dispute = reviewed()
        with pytest.raises(errors.DisputeChanged):
            resolve(dispute, version=1)
        assert decision_of(resolve(dispute, version=2)).refunded == 40

    def test_all_rounds_together_give_back_what_was_taken(self):
        dispute = reviewed(40)
        resolve(dispute, "partial_refund", 15)
        reverse(dispute, 5)
        review(appeal(dispute))
        assert decision_of(resolve(dispute)).refunded == 20
        assert (available(wallet_of(dispute)), open_credits(dispute.transaction_id)) == (100, 0)
        with pytest.raises(AlreadyReversed):
            reverse(dispute)


class TestKeys:
    def test_repeat_a_decision(self):
        actor, dispute = finance(), reviewed()
        first = resolve(dispute, actor=actor, key="k")
        again = resolve(dispute, actor=actor, key="k")
        assert again == (decision_of(first), False)
        with pytest.raises(IdempotencyKeyReused):
            resolve(dispute, "rejected", actor=actor, key="k")
        assert available(wallet_of(dispute)) == 100

    def test_that_moved_credits_are_refused(self):
        actor, dispute = finance(), reviewed()
        spend(wallet_of(dispute), 1, key="k", caller=f"user:{actor.pk}")
        with pytest.raises(IdempotencyKeyReused):
            resolve(dispute, actor=actor, key="k")


class TestWithASecondPerson:
    @pytest.fixture
    def dispute(self) -> Dispute:
        set_credit_settings(approval_dispute_above=30)
        return reviewed()

    def asked(self, dispute: Dispute, **more: Any) -> Approval:
        approval = resolve(dispute, **more)
        assert isinstance(approval, Approval)
        return approval

    def approve(self, approval: Approval, checker: User | None = None) -> Approval:
        return approvals.approve(
            approval=approval,
            checker=checker or finance(),
            note="looks right",
            at=approval.asked_at + HOUR,
        )

    def test_waits_and_is_done_once_when_approved(self, dispute):
        actor = finance()
        with nothing_changes_but_the_record(dispute):
            approval = self.asked(dispute, actor=actor, key="k")
        assert states(dispute) == ("under_review", 1, 3)
        assert Decision.objects.count() == 0
        assert approval.payload == {
            "dispute": str(dispute.pk),
            "round": 1,
            "resolution": "full_refund",
            "amount": 40,
        }
        assert self.asked(dispute, actor=actor, key="k").pk == approval.pk
        ended = self.approve(approval)
        assert ended.status == "executed"
        decision = Decision.objects.get()
        assert (decision.refunded, decision.decided_by, decision.approval) == (40, actor, ended)
        assert states(dispute) == ("resolved", 1, 4)
        assert resolve(dispute, actor=actor, key="k") == (decision, False)
        assert available(wallet_of(dispute)) == 100

    def test_up_to_the_limit_is_done_at_once(self, dispute):
        assert decision_of(resolve(dispute, "partial_refund", 30)).refunded == 30

    def test_is_one_at_a_time(self, dispute):
        self.asked(dispute)
        with pytest.raises(errors.DisputeWaits):
            resolve(dispute, "rejected")

    def test_is_not_asked_about_what_the_books_refuse(self, dispute):
        reverse(dispute)
        with pytest.raises(AlreadyReversed):
            resolve(dispute)
        assert Approval.objects.count() == 0

    def test_refused_lets_it_be_decided_otherwise(self, dispute):
        approval = self.asked(dispute)
        approvals.refuse(approval=approval, checker=finance(), note="no", at=AT + DAY)
        assert now(dispute).approval is None
        kinds = dispute.events.order_by("id").values_list("kind", flat=True)
        assert list(kinds)[-2:] == ["approval_asked", "approval_ended"]
        assert decision_of(resolve(dispute, "rejected")).resolution == "rejected"

    def test_expired_lets_it_be_decided_before_anybody_booked_that(self, dispute):
        approval = self.asked(dispute)
        later = approval.expires_at
        assert decision_of(resolve(dispute, "rejected", at=later)).resolution == "rejected"
        approvals.expire_approvals(at=later)
        assert states(dispute) == ("rejected", 1, 4)

    def test_of_before_fails_where_another_waits_by_now(self, dispute):
        first = self.asked(dispute)
        second = self.asked(dispute, at=first.expires_at)
        behind = first.expires_at - SECOND  # By a clock that goes behind.
        ended = approvals.approve(approval=first, checker=finance(), note="yes", at=behind)
        assert (ended.status, now(dispute).approval) == ("failed", second)
        assert self.approve(second).status == "executed"
        assert available(wallet_of(dispute)) == 100

    def test_fails_if_the_books_changed(self, dispute):
        approval = self.asked(dispute)
        reverse(dispute, 1)
        ended = self.approve(approval)
        assert (ended.status, ended.error) == (
            "failed",
            "40 credits cannot be put back: 39 were taken and not yet given back.",
        )
        assert (states(dispute), now(dispute).approval) == (("under_review", 1, 4), None)

    def test_is_not_for_whose_own_it_is_nor_for_who_decided_before(self):
        set_credit_settings(approval_dispute_above=30)
        first, dispute = finance(), reviewed()
        resolve(dispute, "rejected", actor=first)
        review(appeal(dispute))
        approval = self.asked(dispute)
        with pytest.raises(NotPermitted):
            self.approve(approval, first)
        with pytest.raises(NotPermitted):
            self.approve(approval, support())
        assert self.approve(approval).status == "executed"

    def test_is_not_done_for_a_maker_who_came_to_share_the_wallet(self):
        set_credit_settings(approval_dispute_above=30)
        maker = finance()
        team, pool = pool_of_team_admin()
        wallet_with_credits(team.owner, award=100)
        dispute = review(submit(charged(wallet=pool, actor_id=team.owner_id)).dispute)
        approval = self.asked(dispute, actor=maker)
        team.memberships.create(user=maker)
        before = available(pool)
        assert self.approve(approval).status == "failed"
        assert available(pool) == before


class TestTheDatabase:
    """What the services would never ask it."""

    def refuses(self, sql: str, match: str, *parameters: object) -> None:
        with (
            pytest.raises(DatabaseError, match=match),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, parameters)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ("status = 'resolved', version = version + 1", "does not go from"),
            ("status = 'under_review'", "a version of its own"),
            ("status = 'under_review', version = version + 2", "a version of its own"),
            ("assignee_id = 1", "a version of its own"),
            ("round = 2, appealed_at = now(), version = version + 1", "does not go from"),
            ("requested = 1", "never changes"),
            ("opened_by_id = 1", "never changes"),
            ("description = 'another'", "by being erased"),
            ("description = '', erased_at = now(), other_reason = 'x'", "by being erased"),
        ],
    )
    def test_refuses_a_dispute_to_go_where_it_may_not(self, change, match):
        disputed()
        self.refuses(f"UPDATE disputes_dispute SET {change}", match)  # noqa: S608

    def test_refuses_what_is_decided_to_be_undecided(self):
        resolve(reviewed(), "rejected")
        self.refuses(
            "UPDATE disputes_dispute SET status = 'under_review', version = version + 1",
            "does not go from",
        )

    def test_refuses_an_outcome_without_its_decision(self):
        reviewed()
        for status in ("resolved", "rejected"):
            self.refuses(
                "UPDATE disputes_dispute SET status = %s, version = version + 1",
                "does not go from",
                status,
            )

    def test_refuses_to_change_or_delete_what_is_kept(self):
        dispute = reviewed()
        resolve(dispute)
        user = UserFactory()
        Attachment.objects.create(
            dispute=dispute, name="a.txt", content_type="text/plain", size=1, content=b"a",
            uploaded_by=user, by_staff=False, is_internal=False, uploaded_at=AT,
        )  # fmt: skip
        self.refuses("UPDATE disputes_decision SET refunded = 1", "never changes")
        self.refuses("UPDATE disputes_decision SET notes = 'x'", "never changes")
        self.refuses("UPDATE disputes_disputeevent SET text = 'x'", "never changes")
        self.refuses("UPDATE disputes_disputeevent SET is_internal = false, text = ''", "never")
        self.refuses("UPDATE disputes_attachment SET content = 'x'", "never changes")
        check_deferred()
        for table in ("dispute", "decision", "disputeevent", "attachment"):
            self.refuses(f"DELETE FROM disputes_{table}", "never changes")  # noqa: S608
            self.refuses(f"TRUNCATE disputes_{table} CASCADE", "never changes")

    def test_refuses_decisions_of_whom_they_are_not(self):
        dispute, first = reviewed(), finance()
        told = {"resolution": "rejected", "started_at": AT, "decided_at": AT}
        told |= {"dispute": dispute, "fingerprint": dispute.fingerprint}
        with pytest.raises(DatabaseError, match="of their own"), transaction.atomic():
            Decision.objects.create(round=1, decided_by=dispute.opened_by, **told)
        resolve(dispute, "rejected", actor=first)
        with pytest.raises(DatabaseError, match="under review"), transaction.atomic():
            Decision.objects.create(round=2, decided_by=finance(), **told)
        review(appeal(dispute))
        with pytest.raises(DatabaseError, match="somebody else"), transaction.atomic():
            Decision.objects.create(round=2, decided_by=first, **told)

    def test_gives_back_once_a_round_whoever_asks(self):
        dispute = reviewed()
        resolve(dispute)
        refund = CreditTransaction.objects.get(kind=TransactionKind.REFUND)
        assert refund.key == keys.digest("disputes", f"dispute:{dispute.pk}:1")


class TestManyAtOnce:
    def test_reviewers_take_it_once(self, ledger_db):
        dispute = disputed()
        actors = [finance() for _ in range(6)]
        outcomes = race(*[lambda a=actor: review(dispute, a) for actor in actors])
        assert sorted(outcomes) == ["Dispute"] + ["DisputeNotInState"] * 5
        assert DisputeEvent.objects.filter(kind="taken").count() == 1

    def test_reviewers_decide_it_once(self, ledger_db):
        dispute = reviewed()
        gives = [lambda n=n: resolve(dispute, "partial_refund", n) for n in range(1, 5)]
        acts = [*gives, *[lambda: resolve(dispute, "rejected")] * 4]
        assert sorted(race(*acts)) == ["Decided"] + ["DisputeNotInState"] * 7
        decision = Decision.objects.get()
        assert available(wallet_of(dispute)) == 60 + decision.refunded

    def test_decisions_and_reversals_give_back_what_was_taken(self, ledger_db):
        dispute = reviewed()
        acts = [lambda: resolve(dispute)] + [lambda: reverse(dispute, 13)] * 4
        outcomes = race(*acts)
        assert set(outcomes) <= {"Decided", "Posting", "AlreadyReversed", "ExceedsTaken"}
        given = 40 - open_credits(dispute.transaction_id)
        assert available(wallet_of(dispute)) == 60 + given

    def test_approvals_execute_once(self, ledger_db):
        set_credit_settings(approval_dispute_above=30)
        dispute = reviewed()
        approval = resolve(dispute)
        checkers = [finance() for _ in range(4)]
        at = dispute.due_at
        acts = [
            lambda c=checker: approvals.approve(approval=approval, checker=c, note="yes", at=at)
            for checker in checkers
        ]
        assert sorted(race(*acts)) == ["Approval"] + ["ApprovalNotWaiting"] * 3
        assert available(wallet_of(dispute)) == 100

    def test_one_key_decides_once(self, ledger_db):
        actor, dispute = finance(), reviewed()
        assert race(*[lambda: resolve(dispute, actor=actor, key="k")] * 5) == ["Decided"] * 5
        assert Decision.objects.count() == 1


@contextmanager
def nothing_changes_but_the_record(dispute: Dispute) -> Iterator[None]:
    """Assert that the block leaves the books as they were."""
    before = moves_of(wallet_of(dispute))
    yield
    assert moves_of(wallet_of(dispute)) == before
