import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from accounts.choices import JobStatus
from accounts.services.jobs import Progress
from creditsite.errors import Conflict
from creditsite.progress import ProgressBar
from ledger.models import Batch
from ledger.queries.batches import progress_of
from ledger.services.batch_words import sentence_of
from ledger.services.batches import work_batch


class Command(BaseCommand):
    help = (
        "Work a batch that was started, until it is done or stopped. Safe to kill and run again,"
        " and beside workers. It starts nothing: a batch is confirmed in the staff pages."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="the number of the batch")

    def handle(self, *args: Any, **options: Any) -> None:
        batch = Batch.objects.filter(pk=options["id"]).first()
        if batch is None:
            raise CommandError(f"There is no batch {options['id']}.")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        bar = ProgressBar(sys.stderr, "chunks")

        def draw(progress: Progress) -> None:
            bar.draw(progress.done, progress.total)

        try:
            batch = work_batch(batch=batch, at=timezone.now(), report=draw)
        except Conflict as refusal:
            raise CommandError(str(refusal)) from refusal
        bar.end()
        progress = progress_of(batch)
        self.stdout.write(
            f"{sentence_of(batch)}: {progress.status}. {progress.wallets_done:,} of"
            f" {progress.wallets_total:,} are dealt with: {progress.credits:,} credits moved of"
            f" {progress.moved:,}, {progress.skipped:,} skipped."
        )
        for why, count in progress.reasons.items():
            self.stdout.write(f"  {count:,}: {why}")
        if progress.status != JobStatus.DONE:
            raise CommandError(f"The batch is {progress.status}. {progress.error}".strip())
