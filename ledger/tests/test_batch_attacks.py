"""
Every way into a batch, attacked: nothing is executed that two people did not agree on, nothing
twice, and who was refused is on record.
"""

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from accounts import tasks
from accounts.errors import ApprovalNotWaiting, ConcernsYou, OwnRequest
from accounts.models import Approval, Job, User
from accounts.services import approvals, jobs
from accounts.tests.factories import StaffFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import CreditsiteError, NotPermitted
from creditsite.testing import race
from creditsite.testing.commits import check_deferred
from ledger import errors
from ledger.choices import BatchKind, BatchStatus
from ledger.models import Batch, BatchException, BatchItem, CreditTransaction
from ledger.queries.batches import progress_of
from ledger.queries.wallets import wallet_of
from ledger.services import batches
from ledger.tests.api import as_service, as_user
from ledger.tests.batches import (
    approve,
    confirm,
    done,
    drafted,
    fresh,
    moved_by,
    planned,
    reversed_,
    run,
    started,
    users_with,
)
from ledger.tests.factories import AT, HOUR, finance, seat, set_credit_settings

pytestmark = pytest.mark.django_db


ONE_MORE = """
    INSERT INTO ledger_batchitem (
        batch_id, wallet_id, credit_type, amount, paid_minor, currency, note)
    SELECT batch_id, wallet_id, 'partner', amount, 0, '', '' FROM ledger_batchitem LIMIT 1
"""
REFUSED = [
    "UPDATE ledger_batch SET status = 'started'",
    "UPDATE ledger_batch SET status = 'draft', plan = '{}'",
    "UPDATE ledger_batch SET amount = 9",
    "UPDATE ledger_batch SET plan = '{}'",
    "UPDATE ledger_batch SET plan_expires_at = '2099-01-01'",
    "UPDATE ledger_batch SET reason = 'another'",
    "UPDATE ledger_batch SET selection = '{}'",
    "UPDATE ledger_batch SET maker_id = 1",
    "UPDATE ledger_batch SET confirmed_at = now()",
    "UPDATE ledger_batch SET status = 'waiting'",
    "DELETE FROM ledger_batch",
    "TRUNCATE ledger_batch CASCADE",
    ONE_MORE,
    "UPDATE ledger_batchitem SET amount = 9",
    "UPDATE ledger_batchitem SET note = 'x'",
    "DELETE FROM ledger_batchitem",
    "TRUNCATE ledger_batchitem",
    """
    INSERT INTO ledger_batchitem (
        batch_id, wallet_id, credit_type, amount, paid_minor, currency, note)
    VALUES (999999, 1, 'award', 1, 0, '', '')
    """,
    "DELETE FROM ledger_batchexception",
    "UPDATE ledger_batchexception SET why = 'x'",
    "TRUNCATE ledger_batchexception",
    """
    INSERT INTO ledger_batchexception (
        batch_id, wallet_id, credit_type, paid_minor, currency, note, is_at_run, why)
    SELECT batch_id, wallet_id, '', 0, '', '', true, 'x' FROM ledger_batchitem
    """,
]


def waiting(number: int = 2, amount: int = 50, **more: Any) -> Batch:
    """Return a batch that waits for a second person."""
    set_credit_settings(approval_batch_credits_above=60)
    users_with(number)
    batch = planned(BatchKind.ADD, amount, **more)
    assert isinstance(confirm(batch, at=more.get("at", AT)), Approval)
    return fresh(batch)


def denials(batch: Batch) -> list[tuple[int | None, str]]:
    """Return who was not let, and why, as the record has it."""
    rows = AuditEvent.objects.filter(
        action__in=["ledger.batch.denied", "accounts.approval.denied"]
    ).order_by("pk")
    targets = {str(batch.pk), str(batch.approval_id)}
    return [(row.actor_id, row.reason) for row in rows if row.target_id in targets]


def nothing_moved(batch: Batch) -> bool:
    return not moved_by(batch) and fresh(batch).status != BatchStatus.STARTED


def as_owner(sql: str, *parameters: object) -> None:
    """Write past the triggers, as only who owns the tables can."""
    check_deferred()
    with connection.cursor() as cursor:
        for table in ("ledger_batch", "ledger_batchitem"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(sql, parameters)
        for table in ("ledger_batch", "ledger_batchitem"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


class TestConfirming:
    def refused(self, batch: Batch, refusal: type[CreditsiteError], **how: Any) -> None:
        before = len(denials(batch))
        with pytest.raises(refusal) as raised:
            confirm(batch, **how)
        assert nothing_moved(batch)
        actor = how.get("actor", batch.maker)
        assert denials(batch)[before:] == [(actor and actor.pk, str(raised.value))]

    def test_is_for_who_made_it(self):
        users_with(1)
        batch = planned()
        self.refused(batch, errors.NotYourBatch, actor=finance())
        self.refused(batch, errors.NotYourBatch, actor=StaffFactory(groups="Admin"))
        self.refused(batch, errors.NotYourBatch, actor=None)

    def test_is_for_who_may_by_their_groups_as_they_are_now(self):
        users_with(1)
        batch = planned()
        for actor in (
            StaffFactory(groups="Support"),
            StaffFactory(groups="Auditor"),
            UserFactory(),
            User.objects.create_superuser("root@example.com"),
        ):
            self.refused(batch, NotPermitted, actor=actor)
        maker = batch.maker
        assert maker.may("ledger.run_batch")
        User.objects.get(pk=maker.pk).groups.clear()
        self.refused(batch, NotPermitted)

    def test_is_of_the_plan_that_was_shown(self):
        users_with(1)
        batch = planned()
        shown = batch.plan_hash
        self.refused(batch, errors.PlanChanged, plan_hash="")
        self.refused(batch, errors.PlanChanged, plan_hash="0" * 64)
        users_with(1)
        batches.plan_batch(batch=batch, at=AT + HOUR)
        self.refused(fresh(batch), errors.PlanChanged, plan_hash=shown)

    def test_is_in_time(self):
        users_with(1)
        batch = planned()
        self.refused(batch, errors.PlanExpired, at=AT + timedelta(minutes=60))
        assert confirm(batch, at=AT + timedelta(minutes=59)).status == "started"

    def test_takes_the_phrase_to_the_letter(self):
        set_credit_settings(typed_confirmation_from=50)
        users_with(1)
        batch = planned()
        for typed in ("", "add 50 to 1 user", "ADD 50 TO 1 USER ", "ADD ５０ TO 1 USER"):
            self.refused(batch, errors.WrongPhrase, phrase=typed)
        assert confirm(batch, phrase="ADD 50 TO 1 USER").status == "started"

    @pytest.mark.parametrize("state", ["draft", "discarded"])
    def test_is_of_a_plan(self, state):
        users_with(1)
        batch = drafted()
        if state == "discarded":
            batches.discard_batch(batch=batch, actor=batch.maker, reason="no", at=AT)
        self.refused(batch, errors.BatchNotInState)

    def test_of_nobody_is_refused(self):
        self.refused(planned(), errors.NothingToMove)

    def test_of_what_would_have_expired_is_refused(self):
        users_with(1)
        batch = planned(expires_at=AT + timedelta(minutes=10))
        self.refused(batch, errors.InvalidAmount, at=AT + timedelta(minutes=10))

    def test_is_refused_if_the_maker_has_come_to_share_a_wallet(self):
        (wallet,) = users_with(1)
        batch = planned()
        User.objects.filter(pk=wallet.user_id).update(role=None)
        team = TeamFactory(owner=wallet.user)
        seat(team, batch.maker)
        self.refused(batch, errors.OwnWallet)

    def test_twice_starts_it_once(self):
        users_with(1)
        batch = planned()
        assert confirm(batch).pk == confirm(batch).pk
        assert Job.objects.count() == 1
        asked = waiting()
        assert confirm(asked).pk == asked.approval_id
        assert Approval.objects.count() == 1

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE ledger_batchitem SET amount = 5000000",
            "UPDATE ledger_batchitem SET credit_type = 'purchase'",
            "UPDATE ledger_batchitem SET wallet_id = wallet_id + 1000",
            "DELETE FROM ledger_batchitem",
            "UPDATE ledger_batchitem SET note = 'x'",
            "UPDATE ledger_batch SET kind = 'deduct'",
            "UPDATE ledger_batch SET credit_type = 'purchase'",
            "UPDATE ledger_batch SET reason = 'another'",
            "UPDATE ledger_batch SET policy = 'take'",
            "UPDATE ledger_batch SET plan = plan || '{\"largest_balance\": 9000000}'",
            'UPDATE ledger_batch SET plan = plan || \'{"phrase": "x"}\'',
            "UPDATE ledger_batch SET expires_at = '2099-01-01'",
        ],
    )
    def test_finds_a_plan_that_was_changed_behind_its_hash(self, change):
        maker = finance()
        users_with(1)
        batch = planned(maker=maker)
        as_owner(change)
        with pytest.raises(errors.PlanChanged):
            confirm(fresh(batch), plan_hash=batch.plan_hash, phrase="x")
        assert nothing_moved(batch)
        assert denials(batch)[0][0] == maker.pk


class TestTheSecondPerson:
    @pytest.mark.parametrize(
        "how", [{"approval_batch_credits_above": 99}, {"approval_batch_wallets_above": 1}]
    )
    def test_is_asked_above_either_threshold(self, how):
        set_credit_settings(**how)
        users_with(2)
        batch = planned()
        assert batches.why_approval(batch, AT).startswith("It ")
        approval = confirm(batch)
        assert isinstance(approval, Approval)
        batch = fresh(batch)
        assert (batch.status, batch.approval, batch.job) == ("waiting", approval, None)
        assert approval.payload == {
            "batch": batch.pk, "plan_hash": batch.plan_hash, "kind": "add",
            "credit_type": "award", "wallets": 2, "credits": 100,
        }  # fmt: skip
        assert approval.sentence == "Add 50 award credits to each of 2 users"
        assert approve(approval).status == "executed"
        assert len(moved_by(run(fresh(batch)))) == 2

    def test_is_asked_of_many_small_ones_as_of_a_large_one(self):
        set_credit_settings(approval_batch_credits_above=120)
        users_with(1)
        maker = finance()
        assert isinstance(confirm(planned(maker=maker)), Batch)
        assert isinstance(confirm(planned(maker=maker)), Batch)
        third = planned(maker=maker)
        assert "together with 2 of the last 24 hours" in batches.why_approval(third, AT)
        assert isinstance(confirm(third), Approval)
        assert isinstance(confirm(planned()), Batch)  # somebody else's
        later = AT + timedelta(hours=24)
        assert isinstance(confirm(planned(maker=maker, at=later), at=later), Batch)

    def test_is_not_asked_by_the_system(self):
        set_credit_settings(approval_batch_credits_above=1)
        users_with(1)
        assert isinstance(confirm(planned(maker=None)), Batch)

    def test_is_never_the_first(self):
        maker = StaffFactory(groups="Admin", is_superuser=True)
        batch = waiting(maker=maker)
        with pytest.raises(OwnRequest):
            approve(batch.approval, maker)
        assert nothing_moved(batch)
        assert denials(batch) == [(maker.pk, "Nobody decides on what they asked for themselves.")]

    def test_may_decide_and_run_batches(self):
        batch = waiting()
        for checker in (
            StaffFactory(groups="Support"),
            StaffFactory(groups="Auditor"),
            UserFactory(),
            User.objects.create_superuser("root@example.com"),
        ):
            with pytest.raises(NotPermitted):
                approve(batch.approval, checker)
        assert nothing_moved(batch)
        assert len(denials(batch)) == 4

    def test_has_no_wallet_in_it(self):
        (wallet,) = users_with(1)
        batch = waiting(amount=100)
        User.objects.filter(pk=wallet.user_id).update(is_staff=True)
        checker = User.objects.get(pk=wallet.user_id)
        checker.groups.add(finance().groups.get())
        with pytest.raises(ConcernsYou):
            approve(batch.approval, checker)
        assert nothing_moved(batch)
        assert len(denials(batch)) == 1

    def test_decides_once(self):
        batch = waiting()
        approve(batch.approval)
        with pytest.raises(ApprovalNotWaiting):
            approve(batch.approval)
        assert Job.objects.count() == 1

    def test_comes_too_late(self):
        batch = waiting()
        with pytest.raises(ApprovalNotWaiting):
            approve(batch.approval, at=batch.approval.expires_at)
        approvals.expire_approvals(at=batch.approval.expires_at)
        assert fresh(batch).status == "discarded"

    @pytest.mark.parametrize("end", ["refuse", "withdraw"])
    def test_says_no_or_is_not_asked_any_more(self, end):
        batch = waiting()
        who = {"checker": finance()} if end == "refuse" else {"maker": batch.maker}
        getattr(approvals, end)(approval=batch.approval, note="not like this", at=AT, **who)
        assert fresh(batch).status == "discarded"
        with pytest.raises(errors.BatchNotInState):
            confirm(fresh(batch))

    @pytest.mark.parametrize("change", ["demoted", "deactivated"])
    def test_finds_that_the_maker_may_no_longer(self, change):
        batch = waiting()
        if change == "demoted":
            batch.maker.groups.clear()
        else:
            User.objects.filter(pk=batch.maker_id).update(is_active=False)
        assert approve(batch.approval).status == "refused"
        assert nothing_moved(batch)
        assert fresh(batch).status == "discarded"

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE ledger_batchitem SET amount = 5000000",
            "UPDATE ledger_batch SET kind = 'deduct'",
            "UPDATE ledger_batch SET plan_hash = repeat('0', 64)",
            ONE_MORE,
        ],
    )
    def test_approves_what_was_asked_for_or_nothing(self, change):
        batch = waiting()
        as_owner(change)
        ended = approve(batch.approval)
        assert (ended.status, ended.error) == ("failed", str(errors.PlanChanged()))
        assert nothing_moved(batch)
        assert fresh(batch).status == "discarded"

    def test_approves_only_what_waits_for_this_approval(self):
        one, other = waiting(), waiting()
        as_owner("UPDATE ledger_batch SET approval_id = NULL WHERE id = %s", other.pk)
        payload = {**one.approval.payload, "batch": other.pk}
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_approval DISABLE TRIGGER USER")
            cursor.execute(
                "UPDATE accounts_approval SET payload = %s, payload_hash = %s WHERE id = %s",
                [
                    json.dumps(payload),
                    approvals.hash_of(
                        kind=one.approval.kind, maker_id=one.maker_id, payload=payload
                    ),
                    one.approval_id,
                ],
            )
            cursor.execute("ALTER TABLE accounts_approval ENABLE TRIGGER USER")
        assert approve(one.approval).status == "failed"
        assert nothing_moved(one)
        assert nothing_moved(other)


class TestTheApi:
    def test_lets_another_approve_and_nobody_else(self):
        batch = waiting(at=timezone.now())
        path = f"admin/approvals/{batch.approval.public_id}/approve"
        note = {"note": "looks right"}
        for caller in (
            as_user(batch.maker),
            as_user(StaffFactory(groups="Support")),
            as_user(StaffFactory(groups="Auditor")),
            as_user(UserFactory(is_superuser=True)),
            as_service(owner=finance()),
        ):
            assert caller.post(path, note).status_code == 403
            assert nothing_moved(batch)
        assert denials(batch)[0][0] == batch.maker_id
        checker = as_user(finance())
        assert checker.post(path, note).json()["status"] == "executed"
        assert checker.post(path, note).status_code == 409
        assert Job.objects.count() == 1
        assert len(moved_by(run(fresh(batch)))) == 2


class TestRaces:
    def test_of_32_checkers_start_it_once(self, ledger_db):
        batch = waiting()
        checkers = [finance() for _ in range(32)]
        outcomes = race(*[lambda who=who: approve(batch.approval, who) for who in checkers])
        assert Counter(outcomes) == {"Approval": 1, "ApprovalNotWaiting": 31}
        assert Job.objects.count() == 1
        assert len(moved_by(run(fresh(batch)))) == 2

    def test_of_confirmations_start_it_once(self, ledger_db):
        users_with(2)
        batch = planned()
        assert set(race(*[lambda: confirm(batch)] * 8)) == {"Batch"}
        assert Job.objects.count() == 1

    def test_of_one_makers_batches_ask_for_a_second_person_in_time(self, ledger_db):
        set_credit_settings(approval_batch_credits_above=120)
        users_with(1)
        maker = finance()
        plans = [planned(maker=maker) for _ in range(6)]
        outcomes = Counter(race(*[lambda plan=plan: confirm(plan) for plan in plans]))
        assert outcomes == {"Batch": 2, "Approval": 4}

    def test_of_planning_and_confirming_run_what_was_shown(self, ledger_db):
        users_with(2)
        batch = planned()
        outcomes = race(
            *[lambda: confirm(batch)] * 4,
            *[lambda: batches.plan_batch(batch=batch, at=AT + HOUR)] * 4,
        )
        assert set(outcomes) <= {"Batch", "PlanChanged", "BatchNotInState"}
        after = fresh(batch)
        assert (after.status == "started") == (after.plan_hash == batch.plan_hash)

    def test_of_reversals_reverse_it_once(self, ledger_db):
        users_with(2)
        batch = done()
        outcomes = race(*[lambda: confirm(reversed_(batch))] * 6)
        assert set(outcomes) <= {"Batch", "BatchNotInState", "AlreadyReversed"}
        reversals = Batch.objects.filter(reverses=batch).exclude(status="discarded")
        assert [each.status for each in reversals] == ["started"]


class TestOtherDoors:
    def states(self) -> list[Batch]:
        users_with(2)
        discarded = planned()
        batches.discard_batch(batch=discarded, actor=discarded.maker, reason="no", at=AT)
        return [drafted(), planned(), waiting(), discarded]

    def test_the_command_starts_nothing(self):
        for batch in self.states():
            with pytest.raises(CommandError, match="cannot be run"):
                call_command("run_batch", str(batch.pk))
            assert nothing_moved(batch)
            assert denials(fresh(batch))[-1][0] is None

    def test_the_command_knows_no_other(self):
        with pytest.raises(CommandError, match="There is no batch 999"):
            call_command("run_batch", "999")

    def test_a_forged_job_moves_nothing(self):
        for batch in [*self.states(), started()]:
            forged = Job.objects.create(kind="batch", params={"batch": batch.pk, "left_out": {}})
            forged.chunks.create(lower=0, upper=2**62)
            with pytest.raises(errors.BatchNotInState):
                tasks.run_job(job_id=forged.pk)
            forged.refresh_from_db()
            assert (forged.status, moved_by(batch)) == ("failed", {})

    def test_a_job_that_is_done_moves_nothing_more(self):
        users_with(3)
        batch = done()
        before = (moved_by(batch), progress_of(batch), CreditTransaction.objects.count())
        # As if every nudge came again, and nobody had kept what is done.
        batch.job.chunks.update(done_at=None, result=None)
        Job.objects.filter(pk=batch.job_id).update(status="pending")
        again = run(batch)
        assert (moved_by(again), CreditTransaction.objects.count()) == (before[0], before[2])
        assert again.job.result["repeated"] == 3

    @pytest.mark.parametrize("group", ["Support", "Auditor", None])
    def test_every_service_refuses_who_may_not(self, group):
        actor = StaffFactory(groups=group) if group else UserFactory(is_superuser=True)
        users_with(2)
        running, ended, plan = started(), done(), planned()
        why = {"reason": "because I can", "at": AT}
        acts: list[Callable[[], object]] = [
            lambda: drafted(maker=actor),
            lambda: batches.discard_batch(batch=plan, actor=actor, **why),
            lambda: batches.reverse_batch(batch=ended, actor=actor, **why),
            lambda: batches.pause_batch(batch=running, actor=actor, **why),
            lambda: batches.cancel_batch(batch=running, actor=actor, **why),
            lambda: batches.resume_batch(batch=running, actor=actor, **why),
        ]
        count = Batch.objects.count()
        for act in acts:
            with pytest.raises(NotPermitted):
                act()
        assert Batch.objects.count() == count
        assert fresh(running).job.status == "pending"

    def test_finance_controls_batches_and_no_other_jobs(self):
        users_with(1)
        batch, actor = started(), finance()
        why = {"actor": actor, "reason": "look at it first", "at": AT}
        assert batches.pause_batch(batch=batch, **why).job.status == "paused"
        assert batches.resume_batch(batch=batch, **why).job.status == "pending"
        assert batches.cancel_batch(batch=batch, **why).job.status == "cancelled"
        with pytest.raises(NotPermitted):
            jobs.pause_job(job=Job.objects.create(kind="backfill"), **why)
        with pytest.raises(errors.BatchNotInState):
            batches.pause_batch(batch=planned(), **why)

    def test_a_demoted_maker_plans_nothing(self):
        batch = drafted()
        batch.maker.groups.clear()
        with pytest.raises(NotPermitted):
            batches.plan_batch(batch=batch, at=AT)


class TestTheRecord:
    def test_tells_the_whole_story(self):
        batch = waiting()
        approval = approve(batch.approval)
        batch = run(fresh(batch))
        events = AuditEvent.objects.filter(target_type="ledger.batch").order_by("pk")
        told = [(e.action.rsplit(".")[-1], e.actor_id, e.approval_id) for e in events]
        assert told == [
            ("planned", batch.maker_id, None),
            ("started", batch.maker_id, approval.pk),
            ("ended", None, None),
        ]
        assert events.last().after == {
            "status": "done", "wallets": 2, "skipped": 0, "credits": 100,
        }  # fmt: skip


class TestTheTriggers:
    """What the database refuses, whoever asks."""

    @pytest.mark.parametrize("role", ["origin", "replica"])
    def test_refuse_every_change_of_a_plan(self, role):
        users_with(1)
        batch = planned(maker=None)
        wallet_of(StaffFactory())
        batch = batches.plan_batch(batch=batch, at=AT)
        assert BatchException.objects.exists()
        check_deferred()
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL session_replication_role = {role}")
            for sql in REFUSED:
                with pytest.raises(IntegrityError), transaction.atomic():
                    cursor.execute(sql)
        assert (BatchItem.objects.count(), fresh(batch).plan_hash) == (1, batch.plan_hash)

    @pytest.mark.parametrize("status", ["draft", "planned", "waiting", "discarded"])
    def test_let_nothing_go_back_once_it_has_started(self, status):
        users_with(1)
        batch = started()
        with pytest.raises(DatabaseError), transaction.atomic():
            Batch.objects.filter(pk=batch.pk).update(status=status, job=None)

    def test_let_words_be_erased(self):
        users_with(1)
        selection = {"of": "filter", "query": {"q": "@", "partner": "no"}}
        batch = planned(selection=selection)
        Batch.objects.filter(pk=batch.pk).update(
            reason="", selection={"of": "filter", "query": {"partner": "no"}}
        )
        BatchItem.objects.filter(batch=batch).update(note="")
        assert fresh(batch).reason == ""
