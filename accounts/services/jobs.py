"""Long work in chunks. What is done is a row, so any of its workers may be killed at any time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, Protocol

from django.db import transaction
from django.db.models import Count, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import tasks
from accounts.choices import JobStatus
from accounts.errors import JobNotInState
from accounts.models import Job, JobChunk, User
from accounts.permissions import require
from audit import services as audit

CHUNKS_PER_INSERT = 1_000


class ChunkWork(Protocol):
    """Does the chunk ``[lower, upper)`` in the open transaction; returns counts to be summed."""

    def __call__(self, *, job: Job, lower: int, upper: int, at: datetime) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Progress:
    """How far a job is, in chunks."""

    done: int
    total: int


class JobEnded(Protocol):
    """Is told that a job is done or cancelled, in the database transaction that ends it."""

    def __call__(self, *, job: Job, at: datetime) -> object: ...


WORK: dict[str, ChunkWork] = {}
ENDED: dict[str, JobEnded] = {}
CONTROL: dict[str, str] = {}


def job_kind(
    kind: str, *, ended: JobEnded | None = None, control: str = "accounts.control_job"
) -> Callable[[ChunkWork], ChunkWork]:
    """
    Register the decorated function as the work of jobs of ``kind``, and who hears of their end.

    :param control: the permission that pausing, resuming and cancelling them takes.
    """

    def register(work: ChunkWork) -> ChunkWork:
        WORK[kind] = work
        CONTROL[kind] = control
        if ended:
            ENDED[kind] = ended
        return work

    return register


@transaction.atomic
def create_job(
    *, kind: str, params: dict[str, Any], chunks: Iterable[tuple[int, int]], created_by: User | None
) -> Job:
    """Make a pending job of half-open ranges. ``enqueue`` wakes workers, ``run_job`` works here."""
    job = Job.objects.create(kind=kind, params=params, created_by=created_by)
    JobChunk.objects.bulk_create(
        (JobChunk(job=job, lower=lower, upper=upper) for lower, upper in chunks),
        batch_size=CHUNKS_PER_INSERT,
    )
    return job


def enqueue(job: Job) -> None:
    """Wake a worker for ``job`` after commit; if the queue is down, the sweeper will."""

    def wake() -> None:  # Django names it in the log when it fails; a partial has no name.
        tasks.run_job.delay(job_id=job.pk)

    transaction.on_commit(wake, robust=True)


def run_job(
    job: Job,
    *,
    work: ChunkWork | None = None,
    report: Callable[[Progress], None] | None = None,
    clock: Callable[[], datetime] = timezone.now,
) -> Job:
    """
    Work open chunks of ``job`` until none is left or it is stopped; return it as it then is.

    ``work`` is the registered function of its kind unless given; ``report`` is called after each
    chunk. Other workers may be at the same job: each chunk is done once, and the last one to end
    finishes the job. A job that is not pending or running is left alone.

    What ``work`` raises is kept on the job and raised again; the job is failed and may be resumed.
    """
    work = work or WORK[job.kind]
    Job.objects.filter(pk=job.pk, status=JobStatus.PENDING).update(
        status=JobStatus.RUNNING, started_at=Coalesce("started_at", clock())
    )
    try:
        while _work_a_chunk(job, work, clock):
            if report:
                report(progress_of(job))
    except Exception as error:
        # Outside of the block that was rolled back, so staff see why; the caller gets it whole.
        Job.objects.filter(pk=job.pk, status=JobStatus.RUNNING).update(
            status=JobStatus.FAILED, error=f"{type(error).__name__}: {error}"
        )
        raise
    _finish(job, clock())
    job.refresh_from_db()
    return job


def _work_a_chunk(job: Job, work: ChunkWork, clock: Callable[[], datetime]) -> bool:
    """Do one chunk that nobody is at; say whether there was one."""
    with transaction.atomic():
        chunks = job.chunks.filter(job__status=JobStatus.RUNNING, done_at=None)
        free = chunks.select_for_update(skip_locked=True, no_key=True, of=("self",))
        chunk = free.order_by("lower").first()
        if chunk is None:
            return False
        at = clock()
        chunk.result = dict(work(job=job, lower=chunk.lower, upper=chunk.upper, at=at))
        chunk.done_at = at
        chunk.save(update_fields=["result", "done_at"])
    return True


@transaction.atomic
def _finish(job: Job, at: datetime) -> None:
    """Mark ``job`` done if no chunk is open, with the sums of its results; one worker does."""
    if job.chunks.filter(done_at=None).exists():
        return
    no_result: dict[str, Any] = {}
    results = job.chunks.order_by("lower").values_list("result", flat=True)
    is_ours = Job.objects.filter(pk=job.pk, status=JobStatus.RUNNING).update(
        status=JobStatus.DONE,
        finished_at=at,
        result=reduce(summed, (result or {} for result in results), no_result),
    )
    if is_ours:
        _tell(Job.objects.get(pk=job.pk), at)


def _tell(job: Job, at: datetime) -> None:
    if told := ENDED.get(job.kind):
        told(job=job, at=at)


def summed(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sums of two results, name by name; a result may hold results by name."""
    total = dict(one)
    for name, value in other.items():
        if isinstance(value, Mapping):
            total[name] = summed(total.get(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value
    return total


def progress_of(job: Job) -> Progress:
    return Progress(
        **job.chunks.aggregate(done=Count("pk", filter=Q(done_at__isnull=False)), total=Count("pk"))
    )


def pause_job(*, job: Job, actor: User, reason: str, at: datetime) -> Job:
    """
    Stop ``job`` after the chunks that are being worked.

    :raises NotPermitted: ``actor`` may not control jobs of this kind.
    :raises JobNotInState: it is neither pending nor running.
    """
    return _move(
        job, "paused", {JobStatus.PENDING, JobStatus.RUNNING}, JobStatus.PAUSED, actor, reason, at
    )


@transaction.atomic
def resume_job(*, job: Job, actor: User, reason: str, at: datetime) -> Job:
    """
    Let ``job`` go on where it stopped.

    :raises NotPermitted: ``actor`` may not control jobs of this kind.
    :raises JobNotInState: it is neither paused nor failed.
    """
    job = _move(
        job, "resumed", {JobStatus.PAUSED, JobStatus.FAILED}, JobStatus.PENDING, actor, reason, at
    )
    enqueue(job)
    return job


def cancel_job(*, job: Job, actor: User, reason: str, at: datetime) -> Job:
    """
    End ``job`` after the chunks that are being worked. What it did stays done.

    :raises NotPermitted: ``actor`` may not control jobs of this kind.
    :raises JobNotInState: it is done or cancelled already.
    """
    unfinished = {JobStatus.PENDING, JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.FAILED}
    return _move(job, "cancelled", unfinished, JobStatus.CANCELLED, actor, reason, at)


@transaction.atomic
def _move(
    job: Job,
    verb: str,
    expected: set[JobStatus],
    status: JobStatus,
    actor: User,
    reason: str,
    at: datetime,
) -> Job:
    require(actor, CONTROL.get(job.kind, "accounts.control_job"))
    locked = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
    before = locked.status
    if before not in expected:
        raise JobNotInState(verb=verb, status=before)
    locked.status, locked.error = status, ""
    locked.finished_at = at if status == JobStatus.CANCELLED else None
    locked.save(update_fields=["status", "error", "finished_at"])
    audit.record(
        f"accounts.job.{verb}",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"status": before},
        after={"status": status},
    )
    if status == JobStatus.CANCELLED:
        _tell(locked, at)
    return locked


def resume_stalled_jobs() -> int:
    """Wake a worker for each pending or running job that nobody is at; return how many."""
    unfinished = Job.objects.filter(status__in=[JobStatus.PENDING, JobStatus.RUNNING])
    stalled = [job for job in unfinished.order_by("pk") if not is_being_worked(job)]
    for job in stalled:
        enqueue(job)
    return len(stalled)


@transaction.atomic
def is_being_worked(job: Job) -> bool:
    """
    Return whether some worker has the first open chunk of ``job`` locked.

    Looking locks it for an instant; a worker that skips it for that goes on to the next.
    """
    open_chunks = job.chunks.filter(done_at=None).order_by("lower")
    first = open_chunks.first()
    free = open_chunks.select_for_update(skip_locked=True, no_key=True)
    return first is not None and free.filter(pk=first.pk).first() is None
