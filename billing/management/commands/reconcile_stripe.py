from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from billing import gateway
from billing.models import Break, Reconciliation
from billing.services.reconciliation import (
    LONGEST_DAYS,
    open_breaks,
    put_off,
    start_at_once,
    work,
)
from creditsite.errors import CreditsiteError
from creditsite.formfields import DayField

SHOWN = 100


class Command(BaseCommand):
    help = (
        "Compare payments, refunds, disputes, invoices and checkouts at Stripe with the books, both"
        " ways; exit with 1 if anything differs that nobody has explained."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", metavar="YYYY-MM-DD", help="from that day on, in UTC")
        parser.add_argument(
            "--days", type=int, default=settings.RECONCILIATION_DAYS, help="or so many days back"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        since = since_of(options["since"], options["days"], at)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        try:
            run = start_at_once(since=since, at=at)
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        try:
            work(run, clock=timezone.now)
        except BaseException as failure:
            put_off(run, failure, timezone.now(), again=False)
            if isinstance(failure, (gateway.PaymentsUnavailable, gateway.StripeRefused)):
                raise CommandError(str(failure)) from failure
            raise
        self.show(run)
        if run.breaks:
            raise CommandError(f"Stripe and the books differ in {run.breaks:,} places.")

    def show(self, run: Reconciliation) -> None:
        for item in open_breaks().order_by("kind", "pk")[:SHOWN]:
            self.show_break(item)
        if run.breaks > SHOWN:
            self.stdout.write(f"and {run.breaks - SHOWN:,} more: see Reconciliation")
        seconds = (run.ended_at - run.started_at).total_seconds()  # type: ignore[operator]
        self.stdout.write(
            f"{run.payments:,} payments since {run.since:%Y-%m-%d}, {run.under_way:,} under way,"
            f" in {seconds:.1f} s: {run.breaks:,} differ"
        )

    def show_break(self, item: Break) -> None:
        self.stdout.write(f"{item.get_kind_display()}: {item.object_id}")
        self.stdout.write(f"    Stripe: {item.stripe_says}")
        self.stdout.write(f"    books:  {item.books_say}")


def since_of(day: str | None, days: int, at: datetime) -> datetime:
    """:raises CommandError: it is no day, or too long ago."""
    if not 1 <= days <= LONGEST_DAYS:
        raise CommandError(f"--days is 1 to {LONGEST_DAYS:,}.")
    if day is None:
        return at - timedelta(days=days)
    try:
        since = datetime.combine(DayField().clean(day), time(), tzinfo=UTC)
    except ValidationError as refusal:
        raise CommandError("--since is a day such as 2026-11-20.") from refusal
    if not at - timedelta(days=LONGEST_DAYS) <= since < at:
        raise CommandError(f"--since is a day of the last {LONGEST_DAYS:,}.")
    return since
