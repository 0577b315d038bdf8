"""Nudges: what is to be done and what was done are rows."""

from celery import shared_task
from django.utils import timezone


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


@shared_task
def deliver_emails() -> None:
    """Send the e-mails that are due; also the sweeper for those whose nudge was lost."""
    from accounts.services import outbox

    outbox.deliver_emails()


@shared_task
def erase_old_emails() -> None:
    from accounts.services import outbox

    outbox.erase_old_emails(at=timezone.now())


@shared_task
def forget_old_sign_ins() -> None:
    """Delete what tells of sign-ins, sessions and tokens whose time is over."""
    from accounts.services import lockout, sign_in, tokens

    sign_in.forget_expired(at=timezone.now())
    lockout.forget_expired(at=timezone.now())
    tokens.forget_expired(at=timezone.now())


@shared_task
def expire_approvals() -> None:
    """End requests that nobody decided on in time."""
    from accounts.services import approvals

    approvals.expire_approvals(at=timezone.now())


@shared_task
def list_erasures() -> None:
    """Note outside of the database who was erased; also the sweeper for what was missed."""
    from accounts.services import erasure

    erasure.list_erasures(at=timezone.now())
