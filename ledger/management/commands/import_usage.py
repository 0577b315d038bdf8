import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.identity import normalise_email
from accounts.models import User
from creditsite.errors import CreditsiteError
from creditsite.progress import ProgressBar
from ledger.services.usage_files import Summary, import_usage

ERRORS_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Charge a CSV file of usage to a user, each row once for ever at the prices in force when "
        "it happened. Safe to kill and run again; a row that the credits do not cover stops it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument(
            "--quantity",
            action="append",
            required=True,
            metavar="FEATURE=COLUMN",
            help="the column that says how much of a feature a row used (repeatable)",
        )
        parser.add_argument(
            "--occurred-at", metavar="COLUMN", help="the column that says when; now if left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=normalise_email(options["user"])).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        quantities = dict(self._pair(text) for text in options["quantity"])
        bar = ProgressBar(sys.stderr, "rows")
        try:
            summary = import_usage(
                path=path,
                user=user,
                quantities=quantities,
                occurred_at=options["occurred_at"],
                clock=timezone.now,
                report=bar.draw,
            )
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        finally:
            bar.end()
        if summary.errors:
            for error in summary.errors[:ERRORS_SHOWN]:
                self.stderr.write(error)
            raise CommandError(
                f"{len(summary.errors):,} of {summary.rows:,} rows are wrong; nothing was charged."
            )
        self._print(summary)

    def _pair(self, text: str) -> tuple[str, str]:
        feature, equals, column = text.partition("=")
        if not (feature and equals and column):
            raise CommandError(f"--quantity takes FEATURE=COLUMN, not {text!r}.")
        return feature, column

    def _print(self, summary: Summary) -> None:
        self.stdout.write(
            f"{summary.rows:,} rows: {summary.charged:,} charged now,"
            f" {summary.repeated:,} charged before, {summary.free:,} free;"
            f" {summary.credits:,} credits in all"
        )
        if summary.stopped:
            raise CommandError(
                f"Stopped at line {summary.stopped_line}: {summary.stopped}"
                f" {summary.left:,} rows are not charged."
                " Add credits and run the command again to go on."
            )
