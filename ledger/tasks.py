"""What happens by itself. Every task is safe to run twice and to be killed at any point."""

from collections.abc import Iterator
from contextlib import contextmanager

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
def add_up_spending() -> None:
    """Add up what service keys have spent today, for their daily caps."""
    from ledger.services import daily_caps

    daily_caps.add_up()


@shared_task
def run_awards() -> None:
    """Start what is due of awards that are given every month."""
    from ledger.services import award_runs

    award_runs.run_due_awards(actor=None, at=timezone.now())


@shared_task
def notice_low_credit() -> None:
    """Tell the owners of wallets whose credits fell below the threshold."""
    from ledger.services import low_credit

    with no_statement_timeout():
        low_credit.look_for_low_credit(at=timezone.now())
    low_credit.send_notices(at=timezone.now())


@shared_task
def check_ledger() -> None:
    """Check every invariant of the books, keep what is found, and log each break as an error."""
    from ledger.invariants import findings
    from ledger.services.checks import keep_check

    at, found = timezone.now(), []
    with no_statement_timeout():
        for finding in findings():
            found.append(finding)
            for violation in finding.violations:
                log.error("ledger.invariant_broken", violation=f"{finding.check}: {violation}")
    keep_check(found=found, at=at)


@shared_task
def add_up_figures() -> None:
    """Add up what transactions moved, day by day, for the reports."""
    from ledger.services import figures

    with no_statement_timeout():
        while figures.add_up():
            pass


@shared_task
def verify_figures() -> None:
    """Compare the figures of each day with the ledger, log differences, and lock months."""
    from ledger.services import figures

    at, differences = timezone.now(), 0
    with no_statement_timeout():
        for finding in figures.findings(at):
            differences += len(finding.violations)
            for difference in finding.violations:
                log.error("ledger.figures_differ", difference=f"{finding.check}: {difference}")
        if not differences:
            figures.lock_months(at=at)


@shared_task
def renew_snapshot() -> None:
    """Count all wallets for the start page."""
    from ledger.services import snapshots

    with no_statement_timeout():
        snapshots.renew(at=timezone.now())


@contextmanager
def no_statement_timeout() -> Iterator[None]:
    """Let statements of the block take as long as they do."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
