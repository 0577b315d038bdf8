"""Backfills that staff ask for: at once where they are small, else after a second person."""

import pytest

from accounts.errors import IdempotencyKeyReused
from accounts.models import Approval, Job, Role
from accounts.services import approvals
from accounts.services.jobs import run_job
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, NotPermitted
from ledger.models import CreditTransaction
from ledger.queries.wallets import wallet_of
from ledger.services import backfill
from ledger.tests.factories import (
    AT,
    balances_of,
    bulk_created,
    finance,
    pool_of_team_admin,
    seat,
    set_credit_settings,
)

REASON = "they came by the import"


def imported(number=1, code="member", **fields):
    return bulk_created(number, role=Role.objects.get(code=code), **fields)


def ask(actor=None, role=None, key="k"):
    return backfill.run_backfill(
        role=role, actor=actor or finance(), reason=REASON, at=AT, idempotency_key=key
    )


def approve(approval):
    return approvals.approve(approval=approval, checker=finance(), note="looks right", at=AT)


def worked(job):
    return run_job(job, clock=lambda: AT)


def award_of(user):
    return balances_of(wallet_of(user))["award"]


@pytest.fixture
def large():
    """Let two users be more than one person gives to."""
    set_credit_settings(approval_batch_wallets_above=1)


@pytest.mark.django_db
class TestRunBackfill:
    def test_makes_the_job_of_a_small_one_and_records_who_and_why(self):
        (user,), actor = imported(), finance()
        job = ask(actor)
        assert worked(job).result["member"]["granted"] == 1
        assert award_of(user) == 350
        event = AuditEvent.objects.get(action="ledger.backfill.run")
        assert (event.actor_id, event.reason, event.target_id) == (actor.pk, REASON, str(job.pk))

    def test_leaves_out_every_wallet_that_staff_own_or_may_spend_from(self):
        role = Role.objects.get(code="admin")
        (staff,), (other,) = bulk_created(1, role=role, is_staff=True), imported()
        (owner,) = imported(code="team_admin")
        team, _ = pool_of_team_admin()
        team.owner = owner
        team.save()
        seat(team, StaffFactory())
        would = backfill.preview_backfill(at=AT, by_staff=True)
        assert (would["member"]["granted"], "admin" in would) == (1, False)
        result = worked(ask()).result
        assert result == would
        assert [award_of(user) for user in (staff, owner, other)] == [0, 0, 350]
        # The system gives them theirs.
        worked(backfill.create_backfill(role=None, actor=None, at=AT))
        assert [award_of(user) for user in (staff, owner, other)] == [1_000, 5_000, 350]

    def test_refuses_when_nobody_is_due_anything(self):
        with pytest.raises(Conflict, match="Nobody is due anything"):
            ask()
        assert not Job.objects.exists()

    def test_refuses_while_such_a_one_is_not_at_its_end(self):
        imported(1, "admin")
        imported()
        job = ask()
        with pytest.raises(Conflict, match=f"Job {job.pk} is such a backfill"):
            ask(key="another")
        assert ask(role="admin", key="of a role").params == {"role": "admin"}

    @pytest.mark.parametrize(
        "limit", [{"approval_batch_wallets_above": 1}, {"approval_batch_credits_above": 699}]
    )
    def test_asks_a_second_person_about_a_large_one(self, limit):
        set_credit_settings(**limit)
        users = imported(2)
        approval = ask()
        assert isinstance(approval, Approval)
        assert approval.payload == {"role": None, "wallets": 2, "credits": 700}
        assert not Job.objects.exists()
        ended = approve(approval)
        job = Job.objects.get()
        assert (ended.status, ended.result) == ("executed", {"job": job.pk})
        worked(job)
        assert [award_of(user) for user in users] == [350, 350]
        booked = CreditTransaction.objects.filter(actor=approval.maker)
        assert booked.count() == 2
        assert AuditEvent.objects.get(action="ledger.backfill.run").approval_id == approval.pk

    @pytest.mark.usefixtures("large")
    def test_asks_once_for_a_page_sent_twice(self):
        imported(2)
        actor = finance()
        assert ask(actor) == ask(actor)
        imported(1)
        with pytest.raises(IdempotencyKeyReused):
            ask(actor)

    @pytest.mark.usefixtures("large")
    def test_gives_no_more_than_was_approved(self):
        imported(2)
        approval = ask()
        imported(1)
        ended = approve(approval)
        assert (ended.status, Job.objects.exists()) == ("failed", False)
        assert ended.error.startswith("It would give 1,050 credits to 3 users by now")

    @pytest.mark.usefixtures("large")
    def test_gives_no_more_credits_to_the_same_users_either(self):
        imported(2)
        approval = ask()
        Role.objects.filter(code="member").update(allotment=351)
        assert approve(approval).error.startswith("It would give 702 credits to 2 users by now")

    @pytest.mark.usefixtures("large")
    def test_gives_what_is_left_of_what_was_approved(self):
        users = imported(2)
        approval = ask()
        users[0].is_active = False
        users[0].save()
        assert approve(approval).status == "executed"
        worked(Job.objects.get())
        assert [award_of(user) for user in users] == [0, 350]

    @pytest.mark.usefixtures("large")
    def test_is_refused_once_its_maker_may_no_longer(self):
        imported(2)
        approval = ask()
        approval.maker.groups.clear()
        assert approve(approval).status == "refused"
        assert not Job.objects.exists()

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_is_for_finance_and_admin(self, group):
        imported()
        with pytest.raises(NotPermitted):
            ask(StaffFactory(groups=group))


@pytest.mark.django_db
class TestPhraseOf:
    @pytest.mark.parametrize(
        ("credits", "phrase"), [(9_999, ""), (10_000, "GIVE 10,000 TO 1,234 USERS")]
    )
    def test_is_asked_for_from_the_configured_number_of_credits_on(self, credits, phrase):
        assert backfill.phrase_of(backfill.Total(1_234, credits), AT) == phrase
