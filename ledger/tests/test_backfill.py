from io import StringIO
from threading import Barrier

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from accounts.choices import JobStatus
from accounts.models import Job, JobChunk, Role
from accounts.services.jobs import run_job
from accounts.services.users import change_role
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.testing import command_running, race
from ledger.choices import GrantSource, SignUpFrequency
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import backfill, posting
from ledger.tests.factories import (
    AT,
    DAY,
    balances_of,
    bulk_created,
    close,
    moves_of,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

CHUNK = backfill.CHUNK


def role(code):
    return Role.objects.get(code=code)


def imported(number=1, code="member", **fields):
    """Users whom nobody heard of when they were made."""
    return bulk_created(number, role=role(code) if code else None, **fields)


def run(code=None, actor=None, chunk=CHUNK):
    """Run a backfill and return its summary, having asked before what it would do."""
    would = backfill.preview_backfill(at=AT, role=code)
    job = backfill.create_backfill(role=code, actor=actor, at=AT, chunk=chunk)
    done = run_job(job, clock=lambda: AT)
    assert done.status == JobStatus.DONE
    assert done.result == would
    return done.result


def figures(found, granted, credits):
    return {"found": found, "granted": granted, "skipped": found - granted, "credits": credits}


def award_of(user):
    return balances_of(wallet_of(user))["award"]


@pytest.mark.django_db
class TestBackfill:
    def test_gives_every_user_without_a_grant_their_allotment(self):
        users = [*imported(3), *imported(2, "team_admin")]
        assert run() == {
            "member": figures(found=3, granted=3, credits=1_050),
            "team_admin": figures(found=2, granted=2, credits=10_000),
        }
        assert [award_of(user) for user in users] == [350] * 3 + [5_000] * 2
        assert moves_of(wallet_of(users[0])) == [("award", 350)]
        assert set(Grant.objects.values_list("source", flat=True)) == {GrantSource.ALLOTMENT}

    def test_opens_wallets_and_uses_those_that_are_open(self):
        fresh, opened = imported(2)
        wallet_of(opened)
        run()
        assert (award_of(fresh), award_of(opened)) == (350, 350)
        assert Wallet.objects.count() == 2

    def test_passes_over_who_ever_had_a_grant_even_if_it_is_spent(self):
        registered, spent, bought = UserFactory(), UserFactory(), imported()[0]
        spend(wallet_of(spent), 350)
        wallet_with_credits(bought, purchase=10)
        assert run()["member"] == figures(found=3, granted=0, credits=0)
        assert [award_of(user) for user in (registered, spent, bought)] == [350, 0, 0]

    def test_leaves_inactive_users_and_users_without_a_role_alone(self):
        left_alone = [*imported(is_active=False), *imported(code=None), StaffFactory()]
        users = imported()
        assert run() == {"member": figures(found=1, granted=1, credits=350)}
        assert [award_of(user) for user in left_alone] == [0, 0, 0]
        assert award_of(users[0]) == 350

    def test_gives_nothing_for_a_role_without_an_allotment(self):
        Role.objects.create(code="guest", name="Guest")
        imported(code="guest")
        assert run() == {"guest": figures(found=1, granted=0, credits=0)}
        assert not Wallet.objects.exists()

    def test_passes_over_a_closed_wallet(self):
        (user,) = imported()
        close(wallet_of(user))
        assert run() == {"member": figures(found=1, granted=0, credits=0)}

    def test_gives_to_the_users_of_one_role_when_asked(self):
        (member,), (admin,) = imported(), imported(code="admin")
        assert run("admin") == {"admin": figures(found=1, granted=1, credits=1_000)}
        assert (award_of(member), award_of(admin)) == (0, 1_000)

    def test_gives_nothing_the_second_time(self):
        imported(3)
        run()
        assert run() == {"member": figures(found=3, granted=0, credits=0)}
        assert CreditTransaction.objects.count() == 3

    def test_works_in_chunks_of_any_size(self):
        imported(7)
        assert run(chunk=3) == {"member": figures(found=7, granted=7, credits=2_450)}
        assert JobChunk.objects.count() == 3

    def test_does_nothing_when_there_is_nobody(self):
        assert run() == {}

    def test_awards_under_the_key_of_the_sign_up(self):
        first = UserFactory(email="ada@example.com")
        first.email = "lovelace@example.com"
        first.save()
        (second,), (other,) = imported(email="ada@example.com"), imported()
        assert run() == {"member": figures(found=3, granted=1, credits=350)}
        assert [award_of(user) for user in (first, second, other)] == [350, 0, 350]

    def test_is_made_up_for_by_no_registration_or_change_of_role_afterwards(self):
        (user,) = imported()
        run()
        user.save()
        change_role(user=user, role=role("admin"), actor=StaffFactory(), reason="test", at=AT)
        assert moves_of(wallet_of(user)) == [("award", 350), ("award", 650)]

    def test_records_who_ran_it_and_books_it_as_theirs(self):
        actor, (user,) = StaffFactory(), imported()
        run("member", actor)
        event = AuditEvent.objects.get(action="ledger.backfill.run")
        assert (event.actor_id, event.after) == (actor.pk, {"role": "member"})
        booked = CreditTransaction.objects.get(wallet=wallet_of(user))
        assert (booked.actor, booked.caller, booked.recorded_at) == (actor, "system", AT)

    def test_gives_the_sign_up_credits_that_registering_brings(self):
        set_credit_settings(sign_up_credits=25, award_expiry_days=30)
        users = [*imported(2), *imported(code="admin"), *imported(is_staff=True)]
        assert run() == {
            "admin": figures(found=1, granted=1, credits=1_025),
            "member": figures(found=3, granted=3, credits=3 * 350 + 2 * 25),
        }
        assert moves_of(wallet_of(users[0])) == [("award", 350), ("award", 25)]
        assert [award_of(user) for user in users] == [375, 375, 1_025, 350]
        grant = Grant.objects.get(wallet__user=users[0], source=GrantSource.SIGN_UP)
        assert grant.expires_at == AT + 30 * DAY

    @pytest.mark.parametrize("frequency", SignUpFrequency)
    def test_gives_them_under_the_key_of_the_sign_up(self, frequency):
        set_credit_settings(sign_up_credits=25, sign_up_frequency=frequency)
        first = UserFactory(email="ada@example.com", date_joined=AT, role=None)
        first.email = "lovelace@example.com"
        first.save()
        (second,) = imported(email="ada@example.com")
        assert run() == {"member": figures(found=1, granted=1, credits=350)}
        assert award_of(second) == 350

    @pytest.mark.parametrize("number", [1, 30])
    def test_takes_two_statements_however_many_users(self, number, django_assert_num_queries):
        users = imported(number)
        job = backfill.create_backfill(role=None, actor=None, at=AT)
        with django_assert_num_queries(3):  # and one for the settings
            backfill.backfill_chunk(job=job, lower=users[0].pk, upper=users[-1].pk + 1, at=AT)
        assert Grant.objects.count() == number


@pytest.mark.django_db
class TestPreviewBackfill:
    def test_changes_nothing(self):
        imported(2)
        wallet_of(imported()[0])
        assert backfill.preview_backfill(at=AT) == {
            "member": figures(found=3, granted=3, credits=1_050)
        }
        assert (Wallet.objects.count(), CreditTransaction.objects.count()) == (1, 0)
        assert not Job.objects.exists()


@pytest.mark.django_db
class TestCreateBackfill:
    def test_refuses_a_role_that_is_none(self):
        with pytest.raises(Role.DoesNotExist):
            backfill.create_backfill(role="nobody", actor=None, at=AT)
        assert not Job.objects.exists()


@pytest.mark.django_db
class TestBackfillsThatRace:
    def test_give_everyone_exactly_once(self, ledger_db):
        users = imported(300)
        posting.open_wallets(users=[user.pk for user in users])  # So that neither waits for that.
        both = Barrier(2, timeout=30)

        def work(**chunk):
            both.wait()
            return backfill.backfill_chunk(**chunk)

        jobs = [backfill.create_backfill(role=None, actor=None, at=AT) for _ in range(2)]
        outcomes = race(*[lambda job=job: run_job(job, work=work) for job in jobs])
        assert outcomes == ["Job", "Job"]
        results = [Job.objects.get(pk=job.pk).result["member"] for job in jobs]
        assert [result["found"] for result in results] == [300, 300]
        assert sum(result["granted"] for result in results) == 300
        assert sum(result["credits"] for result in results) == 300 * 350
        assert CreditTransaction.objects.count() == 300
        assert set(Wallet.objects.values_list("award", flat=True)) == {350}


@pytest.mark.django_db
class TestBackfillThatIsKilled:
    def test_gives_everyone_exactly_once_when_it_is_run_again(self, ledger_db):
        # Three chunks of three users each, by their ids.
        ids = [1_000_000 + chunk * CHUNK + n for chunk in range(3) for n in range(3)]
        users = [user for pk in ids for user in imported(pk=pk)]
        opened = wallet_of(users[5])
        with transaction.atomic():
            # The second chunk has opened its other wallets when it comes to wait for this lock.
            posting.lock_wallet(opened.pk)
            with command_running("backfill_credits") as command:
                command.kill_when(somebody_waits_for_us)
        with transaction.atomic():
            # Its connection outlives it for a moment; it has the chunk locked as long.
            chunks = list(JobChunk.objects.select_for_update().order_by("lower"))
        assert [chunk.done_at is not None for chunk in chunks] == [True, False, False]
        assert list(Wallet.objects.filter(user__in=users[3:])) == [opened]

        out = StringIO()
        call_command("backfill_credits", stdout=out)
        assert Job.objects.get().status == JobStatus.DONE
        assert out.getvalue().split()[-5:] == ["all", "9", "9", "0", "3,150"]
        assert [award_of(user) for user in users] == [350] * 9
        assert CreditTransaction.objects.count() == 9
        assert run() == {"member": figures(found=9, granted=0, credits=0)}


def somebody_waits_for_us():
    """Whether another transaction waits for the end of this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted"
            " AND transactionid = pg_current_xact_id()::xid)"
        )
        return cursor.fetchone()[0]
