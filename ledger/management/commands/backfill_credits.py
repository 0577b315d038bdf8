import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from accounts.choices import JobStatus
from accounts.models import Job, Role, User
from accounts.services.jobs import Progress, progress_of, run_job, summed
from creditsite.progress import ProgressBar
from ledger.services import backfill


class Command(BaseCommand):
    help = (
        "Give every active user who never had credits their role's allotment, once for ever. "
        "Safe to kill and run again; a run that was killed is taken up where it stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )
        parser.add_argument("--role", metavar="CODE", help="only users of this role")

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        if role is not None and not Role.objects.filter(code=role).exists():
            known = ", ".join(Role.objects.order_by("code").values_list("code", flat=True))
            raise CommandError(f"There is no role {role!r}. Roles: {known}.")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        if options["dry_run"]:
            self._print(backfill.preview_backfill(at=timezone.now(), role=role), "to grant")
            return
        result: backfill.Summary = {}
        lower = 0
        if (job := self._unfinished(role)) is not None:
            # It knows the users there were when it was made; those made since come after them.
            result = self._run(job)
            lower = job.chunks.aggregate(Max("upper", default=0))["upper__max"]
        if not result or User.objects.filter(pk__gte=lower).exists():
            job = backfill.create_backfill(role=role, actor=None, at=timezone.now(), lower=lower)
            result = summed(result, self._run(job))
        self._print(result, "granted")

    def _run(self, job: Job) -> backfill.Summary:
        bar = ProgressBar(sys.stderr, "chunks")

        def draw(progress: Progress) -> None:
            bar.draw(progress.done, progress.total)

        job = run_job(job, work=backfill.backfill_chunk, report=draw)
        bar.end()
        if job.status != JobStatus.DONE:
            progress = progress_of(job)
            raise CommandError(
                f"Job {job.pk} is {job.status}: {progress.done} of {progress.total} chunks"
                " are done. Run the command again to go on."
            )
        return job.result

    def _unfinished(self, role: str | None) -> Job | None:
        unfinished = [JobStatus.PENDING, JobStatus.RUNNING]
        jobs = Job.objects.filter(kind=backfill.KIND, params__role=role, status__in=unfinished)
        return jobs.order_by("pk").first()

    def _print(self, summary: backfill.Summary, granted: str) -> None:
        self.stdout.write(f"{'role':<20}{'found':>12}{granted:>12}{'skipped':>12}{'credits':>16}")
        columns = ("found", "granted", "skipped", "credits")
        for role, counts in summary.items():
            self.stdout.write(f"{role:<20}" + self._row(counts[name] for name in columns))
        totals = (sum(counts[name] for counts in summary.values()) for name in columns)
        self.stdout.write(f"{'all':<20}" + self._row(totals))

    def _row(self, counts: Any) -> str:
        found, granted, skipped, credits = counts
        return f"{found:>12,}{granted:>12,}{skipped:>12,}{credits:>16,}"
