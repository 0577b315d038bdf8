"""What happens by itself. Every task is safe to run twice and to be killed at any point."""

import structlog
from celery import shared_task
from django.utils import timezone

log = structlog.get_logger(__name__)

HOUR_OF_ALL = 3  # UTC: when the sources of the chain are read as well.


@shared_task
def seal_audit() -> None:
    """Seal what was recorded since the last time."""
    from audit.checkpoints import BadKeyFile
    from audit.sealing import SealingRefused, seal

    try:
        seal(at=timezone.now(), due_only=True)
    except (BadKeyFile, SealingRefused) as refusal:
        log.error("audit.not_sealed", why=str(refusal))


@shared_task
def verify_audit() -> None:
    """Verify the record, the books by night too, and log each break as an error."""
    from audit.verifying import verify_and_keep

    at = timezone.now()
    verification = verify_and_keep(at=at, with_sources=at.hour == HOUR_OF_ALL)
    for finding in verification.findings:
        log.error("audit.record_broken", finding=finding)
