import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from accounts.choices import JobStatus
from accounts.services.jobs import Progress, progress_of, run_job
from creditsite.progress import ProgressBar
from ledger.models import AwardRun
from ledger.queries.awards import due_awards, figures_of, next_due
from ledger.services import award_runs


class Command(BaseCommand):
    help = (
        "Give what is due of awards that are given every month, once for each rule, wallet and"
        " month. Safe to kill and run again; a run that was killed is taken up where it stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be given, and do nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        at = timezone.now()
        self._row("award", "due (UTC)", "users", "credits")
        if options["dry_run"]:
            for award in due_awards(at):
                users = award_runs.preview_award(award)
                self._row(award, award.at, users, users * award.amount)
        else:
            award_runs.run_due_awards(actor=None, at=at)
            unfinished = AwardRun.objects.filter(
                job__status__in=[JobStatus.PENDING, JobStatus.RUNNING]
            )
            for run in unfinished.select_related("job").order_by("due_at", "pk"):
                self._work(run)
        period, due_at = next_due(timezone.now())
        self.stdout.write(f"Next: {period:%Y-%m}, due {due_at:%Y-%m-%d %H:%M} UTC.")

    def _work(self, run: AwardRun) -> None:
        bar = ProgressBar(sys.stderr, "chunks")

        def draw(progress: Progress) -> None:
            bar.draw(progress.done, progress.total)

        job = run_job(run.job, report=draw)
        bar.end()
        if job.status != JobStatus.DONE:
            progress = progress_of(job)
            raise CommandError(
                f"Job {job.pk} is {job.status}: {progress.done} of {progress.total} chunks"
                " are done. Run the command again to go on."
            )
        figures = figures_of(job)
        self._row(run, run.due_at, figures["users"], figures["credits"])

    def _row(self, award: Any, due_at: Any, users: Any, credits: Any) -> None:
        due = due_at if isinstance(due_at, str) else f"{due_at:%Y-%m-%d %H:%M}"
        users, credits = (
            each if isinstance(each, str) else f"{each:,}" for each in (users, credits)
        )
        self.stdout.write(f"{award!s:<32}{due:>18}{users:>12}{credits:>16}")
