"""What happens by itself. Every task is safe to run twice and to be killed at any point."""

import structlog
from celery import shared_task
from django.db import connection
from django.utils import timezone

GRANTS_AT_A_TIME = 5_000
HOLDS_AT_A_TIME = 200

log = structlog.get_logger(__name__)


@shared_task
def expire_grants() -> None:
    """Book the expiry of grants whose time is over, a few thousand in a transaction."""
    from ledger.services import posting

    while posting.expire(at=timezone.now(), limit=GRANTS_AT_A_TIME)[0] == GRANTS_AT_A_TIME:
        pass


@shared_task
def release_expired_holds() -> None:
    """Release holds whose time is over."""
    from ledger.services import posting

    while (
        posting.release_expired_holds(at=timezone.now(), limit=HOLDS_AT_A_TIME) == HOLDS_AT_A_TIME
    ):
        pass


@shared_task
def check_ledger() -> None:
    """Check every invariant of the books and log each break as an error."""
    from ledger.invariants import violations

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        for violation in violations():
            log.error("ledger.invariant_broken", violation=violation)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
