"""What watches the installation by itself."""

import structlog
from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings
from django.core.checks import ERROR, Tags, run_checks

log = structlog.get_logger(__name__)


@shared_task
def check_database() -> None:
    """Run the system checks of the database, and log what they find."""
    for found in run_checks(
        tags=[Tags.database],
        databases=["default"],
        include_deployment_checks=not settings.DEMO,
    ):
        level = log.error if found.level >= ERROR else log.warning
        level("database.check_failed", check=found.id, message=found.msg)


@worker_ready.connect
def check_at_start(**kwargs: object) -> None:
    """A worker that comes up looks at once, not an hour later."""
    check_database.delay()
