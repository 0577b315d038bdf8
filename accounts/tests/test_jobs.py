from datetime import UTC, datetime
from threading import Barrier, Event

import pytest

from accounts import tasks
from accounts.choices import JobStatus
from accounts.errors import JobNotInState
from accounts.models import Job, Role
from accounts.services import jobs
from accounts.services.jobs import Progress, create_job, run_job, summed
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from creditsite.testing.races import race

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASON = "the evening is better"
MOVED = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


def make_job(chunks=3, kind="count"):
    ranges = ((lower, lower + 10) for lower in range(0, chunks * 10, 10))
    return create_job(kind=kind, params={"what": "roles"}, chunks=ranges, created_by=None)


def make_roles(*, job, lower, upper, at):
    """Work that leaves a row for each number it was given."""
    Role.objects.bulk_create(Role(code=f"r{number}", name="x") for number in range(lower, upper))
    return {"made": upper - lower, "by": {str(lower): 1}}


def made():
    return Role.objects.filter(name="x").count()


def run(job, work=make_roles, **options):
    return run_job(job, work=work, clock=lambda: AT, **options)


def after(chunks, act):
    """Work that does ``act`` when it has done so many chunks."""
    left = [chunks]

    def work(**chunk):
        left[0] -= 1
        if left[0] == 0:
            act()
        return make_roles(**chunk)

    return work


def move(name, job):
    return getattr(jobs, f"{name}_job")(job=job, actor=StaffFactory(), reason=REASON, at=AT)


class OutOfInk(Exception):
    pass


def fail():
    raise OutOfInk("no ink")


def then_fail_at(lower):
    """Work that does the chunk at ``lower`` and fails afterwards."""

    def work(**chunk):
        result = make_roles(**chunk)
        if chunk["lower"] == lower:
            fail()
        return result

    return work


@pytest.fixture
def nudged(monkeypatch, django_capture_on_commit_callbacks):
    """The ids of the jobs for which a worker was woken."""
    woken = []
    monkeypatch.setattr(tasks.run_job, "delay", lambda job_id: woken.append(job_id))
    return woken


@pytest.mark.django_db
class TestRunJob:
    def test_does_every_chunk_and_sums_what_came_of_it(self):
        seen = []
        job = run(make_job(), report=seen.append)
        assert (job.status, job.started_at, job.finished_at) == (JobStatus.DONE, AT, AT)
        assert job.result == {"made": 30, "by": {"0": 1, "10": 1, "20": 1}}
        assert made() == 30
        assert seen == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]

    def test_is_done_at_once_without_chunks(self):
        job = run(make_job(chunks=0))
        assert (job.status, job.result) == (JobStatus.DONE, {})

    def test_calls_the_work_registered_for_its_kind(self, monkeypatch):
        monkeypatch.setattr(jobs, "WORK", {})
        jobs.job_kind("make_roles")(make_roles)
        tasks.run_job(job_id=make_job(kind="make_roles").pk)
        assert made() == 30

    def test_leaves_a_job_that_is_done_alone(self):
        job = run(make_job())
        assert run(job).finished_at == AT
        assert made() == 30

    def test_stops_between_chunks_when_it_is_paused_and_goes_on_when_resumed(self, nudged):
        job = make_job()
        paused = run(job, after(2, lambda: move("pause", job)))
        assert (paused.status, made()) == (JobStatus.PAUSED, 20)
        move("resume", job)
        assert run(job).status == JobStatus.DONE
        assert made() == 30

    def test_stops_for_good_when_it_is_cancelled(self):
        job = make_job()
        cancelled = run(job, after(2, lambda: move("cancel", job)))
        assert (cancelled.status, cancelled.finished_at, made()) == (JobStatus.CANCELLED, AT, 20)
        assert run(job).status == JobStatus.CANCELLED
        assert made() == 20

    def test_keeps_the_error_of_a_chunk_and_none_of_its_effect(self):
        job = make_job()
        with pytest.raises(OutOfInk):
            run(job, then_fail_at(10))
        job.refresh_from_db()
        assert (job.status, job.error, made()) == (JobStatus.FAILED, "OutOfInk: no ink", 10)
        assert run(job).status == JobStatus.FAILED

    def test_goes_on_after_a_failure_where_it_stopped(self, nudged):
        job = make_job()
        with pytest.raises(OutOfInk):
            run(job, after(2, fail))
        move("resume", job)
        job = run(job)
        assert (job.status, job.error, made()) == (JobStatus.DONE, "", 30)
        assert job.started_at == AT

    def test_is_done_once_by_many_workers(self, ledger_db):
        job = make_job(chunks=20)
        together = Barrier(4, timeout=30)
        met = set()

        def work(**chunk):
            # The first four chunks are worked at the same time, whatever the scheduler thinks.
            if chunk["lower"] < 40:
                together.wait()
            met.add(chunk["lower"])
            return make_roles(**chunk)

        outcomes = race(*[lambda: run(Job.objects.get(pk=job.pk), work)] * 4)
        assert outcomes == ["Job"] * 4
        job.refresh_from_db()
        assert (job.status, job.result["made"], made(), len(met)) == (JobStatus.DONE, 200, 200, 20)

    def test_is_finished_by_the_worker_that_ends_last(self, ledger_db):
        job = make_job(chunks=2)
        first_is_at_work, second_is_gone = Event(), Event()

        def slow(**chunk):
            if chunk["lower"] == 0:
                first_is_at_work.set()
                assert second_is_gone.wait(30)
            return make_roles(**chunk)

        def second():
            assert first_is_at_work.wait(30)
            seen = run(Job.objects.get(pk=job.pk))
            second_is_gone.set()
            assert seen.status == JobStatus.RUNNING
            return seen

        assert race(lambda: run(job, slow), second) == ["Job", "Job"]
        job.refresh_from_db()
        assert (job.status, job.result["made"]) == (JobStatus.DONE, 20)


@pytest.mark.django_db
class TestMoves:
    @pytest.mark.parametrize(
        ("name", "status", "to"),
        [
            ("pause", "pending", "paused"),
            ("pause", "running", "paused"),
            ("resume", "paused", "pending"),
            ("resume", "failed", "pending"),
            ("cancel", "pending", "cancelled"),
            ("cancel", "running", "cancelled"),
            ("cancel", "paused", "cancelled"),
            ("cancel", "failed", "cancelled"),
        ],
    )
    def test_go_from_the_states_they_expect_and_are_recorded(self, nudged, name, status, to):
        job = make_job()
        Job.objects.update(status=status)
        move(name, job)
        job.refresh_from_db()
        assert job.status == to
        event = AuditEvent.objects.get()
        assert event.action == f"accounts.job.{MOVED[name]}"
        assert (event.reason, event.before, event.after) == (
            REASON,
            {"status": status},
            {"status": to},
        )

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("pause", "paused"),
            ("pause", "failed"),
            ("pause", "done"),
            ("resume", "pending"),
            ("resume", "running"),
            ("resume", "cancelled"),
            ("resume", "done"),
            ("cancel", "cancelled"),
            ("cancel", "done"),
        ],
    )
    def test_refuse_from_any_other(self, name, status):
        job = make_job()
        Job.objects.update(status=status)
        with pytest.raises(JobNotInState):
            move(name, job)
        job.refresh_from_db()
        assert job.status == status
        assert not AuditEvent.objects.exists()

    def test_wake_a_worker_when_a_job_is_resumed(self, nudged, django_capture_on_commit_callbacks):
        job = make_job()
        Job.objects.update(status="paused")
        with django_capture_on_commit_callbacks(execute=True):
            move("resume", job)
            assert nudged == []
        assert nudged == [job.pk]


@pytest.mark.django_db
class TestEnded:
    @pytest.fixture
    def told(self, monkeypatch):
        """What those who asked to hear of the end of jobs of a kind were told."""
        heard = []

        def hear(*, job, at):
            heard.append((job.pk, job.status, job.result.get("made"), at))

        monkeypatch.setattr(jobs, "WORK", {})
        monkeypatch.setattr(jobs, "ENDED", {})
        jobs.job_kind("make_roles", ended=hear)(make_roles)
        return heard

    def test_is_told_once_when_a_job_is_done(self, told):
        job = run(make_job(kind="make_roles"))
        run(job)
        run(make_job(chunks=0, kind="other"))
        assert told == [(job.pk, JobStatus.DONE, 30, AT)]

    def test_is_told_when_it_is_cancelled_and_not_when_it_is_paused(self, told):
        job = make_job(kind="make_roles")
        move("pause", job)
        move("cancel", job)
        assert told == [(job.pk, JobStatus.CANCELLED, None, AT)]

    def test_is_not_done_where_telling_fails(self, monkeypatch, told):
        def fail(*, job, at):
            raise OutOfInk

        monkeypatch.setitem(jobs.ENDED, "make_roles", fail)
        job = make_job(kind="make_roles")
        with pytest.raises(OutOfInk):
            run(job)
        job.refresh_from_db()
        assert job.status == JobStatus.RUNNING


@pytest.mark.django_db
class TestResumeStalledJobs:
    def test_wakes_workers_for_what_is_unfinished(self, nudged, django_capture_on_commit_callbacks):
        unfinished = []
        for status in JobStatus:
            job = make_job()
            Job.objects.filter(pk=job.pk).update(status=status)
            if status in {JobStatus.PENDING, JobStatus.RUNNING}:
                unfinished.append(job.pk)
        with django_capture_on_commit_callbacks(execute=True):
            tasks.resume_jobs()
        assert nudged == unfinished

    def test_wakes_one_for_a_job_whose_worker_died_before_finishing_it(
        self, nudged, django_capture_on_commit_callbacks
    ):
        job = make_job()
        Job.objects.update(status="running")
        job.chunks.update(done_at=AT, result={"made": 1})
        with django_capture_on_commit_callbacks(execute=True):
            assert jobs.resume_stalled_jobs() == 1
        assert run(job).result == {"made": 3}

    def test_leaves_a_job_alone_that_somebody_is_at(self, ledger_db):
        job = make_job()
        seen = []
        run(job, after(1, lambda: race(lambda: seen.append(jobs.is_being_worked(job)))))
        assert seen == [True]


class TestSummed:
    def test_adds_name_by_name_and_level_by_level(self):
        one = {"found": 1, "by_role": {"member": {"granted": 2}}}
        other = {
            "found": 3,
            "by_role": {"member": {"granted": 4}, "admin": {"granted": 5}},
            "new": 6,
        }
        assert summed(one, other) == {
            "found": 4,
            "by_role": {"member": {"granted": 6}, "admin": {"granted": 5}},
            "new": 6,
        }
        assert one == {"found": 1, "by_role": {"member": {"granted": 2}}}
