"""Nudges: what is to be done and what was done are rows of jobs."""

from celery import shared_task


@shared_task(acks_late=True)
def run_job(*, job_id: int) -> None:
    from accounts.models import Job
    from accounts.services import jobs

    jobs.run_job(Job.objects.get(pk=job_id))


@shared_task
def resume_jobs() -> None:
    """Wake workers again for jobs whose nudge was lost or whose worker died."""
    from accounts.services import jobs

    jobs.resume_stalled_jobs()
