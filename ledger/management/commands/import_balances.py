import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.utils import timezone

from accounts.identity import normalise_email
from accounts.models import Approval, User
from accounts.services.jobs import Progress
from creditsite.csvfiles import csv_lines
from creditsite.errors import CreditsiteError
from creditsite.progress import ProgressBar
from ledger.models import Batch
from ledger.queries.batches import LEFT_OUT_COLUMNS, left_out
from ledger.queries.openings import TIE_OUT_COLUMNS, tie_out_of, tie_out_rows, ties_out
from ledger.services.batch_files import NOTHING_TO_ENTER
from ledger.services.batches import confirm_batch, discard_batch, phrase_of, work_batch
from ledger.services.openings import draft_openings

SHOWN = 20
WHY = "Opening balances brought by import_balances"


class Command(BaseCommand):
    help = (
        "Enter the balances that people have elsewhere, from a CSV file with the columns email,"
        " awards, purchases, paid, currency, partner, as_of. Each user's once for ever: safe to"
        " kill and run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be entered, and do nothing"
        )
        parser.add_argument(
            "--as",
            metavar="EMAIL",
            dest="actor",
            help="the member of staff who does it; a large file then waits for a second person",
        )
        parser.add_argument(
            "--create-users",
            action="store_true",
            help="make an account for each e-mail address that nobody has",
        )
        parser.add_argument("--reason", default=WHY, help="why, kept with the record")
        parser.add_argument(
            "--left-out", type=Path, metavar="CSV", help="write the lines left out, and why"
        )
        parser.add_argument("--tie-out", type=Path, metavar="CSV", help="write the tie-out")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        actor = self._actor(options["actor"])
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        try:
            if options["dry_run"]:
                with transaction.atomic():
                    self._tell(self._draft(path, actor, options), options)
                    transaction.set_rollback(True)
                self.stdout.write("Dry run: nothing was entered.")
                return
            self._enter(self._draft(path, actor, options), actor, options)
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal

    def _actor(self, email: str | None) -> User | None:
        if email is None:
            return None
        actor = User.objects.filter(email=normalise_email(email)).first()
        if actor is None:
            raise CommandError(f"There is no user {email}.")
        return actor

    def _draft(self, path: Path, actor: User | None, options: dict[str, Any]) -> Batch:
        with path.open("rb") as file:
            return draft_openings(
                file=file,
                name=path.name,
                reason=options["reason"],
                maker=actor,
                at=timezone.now(),
                makes_users=options["create_users"],
            )

    def _enter(self, batch: Batch, actor: User | None, options: dict[str, Any]) -> None:
        if not batch.plan["wallets"]:
            discard_batch(batch=batch, actor=actor, reason=WHY, at=timezone.now())
            self._tell(batch, options)
            self.stdout.write("There is nothing to enter.")
            return
        done = confirm_batch(
            batch=batch,
            plan_hash=batch.plan_hash,
            phrase=phrase_of(batch),
            actor=actor,
            at=timezone.now(),
        )
        if isinstance(done, Approval):
            self._tell(batch, options)
            self.stdout.write(f"It waits for a second person: approval {done.pk}, {done.sentence}.")
            return
        self._tell(self._run(done), options)

    def _run(self, batch: Batch) -> Batch:
        bar = ProgressBar(sys.stderr, "parts")

        def draw(progress: Progress) -> None:
            bar.draw(progress.done, progress.total)

        batch = work_batch(batch=batch, at=timezone.now(), report=draw)
        bar.end()
        return batch

    def _tell(self, batch: Batch, options: dict[str, Any]) -> None:
        """Print what became of the lines, and whether file and books agree."""
        if path := options["left_out"]:
            self._write(path, LEFT_OUT_COLUMNS, left_out(batch))
        else:
            self._show_left_out(batch)
        ties = tie_out_of(batch)
        self.stdout.write(f"Batch {batch.pk}, {batch.selection['lines']:,} lines:")
        table = [TIE_OUT_COLUMNS, *([tie.label, *tie.figures] for tie in ties)]
        widths = [max(len(str(row[n])) for row in table) for n in range(len(TIE_OUT_COLUMNS))]
        for row in table:
            cells = zip(row, widths, strict=True)
            first, *rest = (
                f"{cell:<{width}}" if cell == row[0] else f"{cell:>{width}}"
                for cell, width in cells
            )
            self.stdout.write("  ".join([first, *rest]))
        if unread := batch.selection["unread"]:
            self.stdout.write(f"In {unread:,} lines a figure cannot be read: it is not in this.")
        if path := options["tie_out"]:
            self._write(path, TIE_OUT_COLUMNS, tie_out_rows(ties))
        if not ties_out(ties):
            raise CommandError("File and books differ.")

    def _show_left_out(self, batch: Batch) -> None:
        # A line has a row for each type of credits that it brings.
        wrong = (row for row in left_out(batch) if row[4] != NOTHING_TO_ENTER)
        said = (f"line {line:,}: {why}" for line, _, _, _, why, _ in wrong)
        for number, (text, _) in enumerate(groupby(said)):
            if number == SHOWN:
                self.stderr.write("… and more: --left-out FILE writes all of them.")
                break
            self.stderr.write(text)
        if empty := batch.plan["excluded"].get(NOTHING_TO_ENTER):
            self.stderr.write(f"{empty:,} lines have {NOTHING_TO_ENTER}")

    def _write(self, path: Path, columns: Iterable[str], rows: Iterable[Any]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            file.writelines(csv_lines(columns, rows))
