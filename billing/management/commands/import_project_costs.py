from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.services.project_costs import record_costs
from billing.services.project_files import CALLER, COLUMNS, read_costs
from creditsite.errors import CreditsiteError

AT_A_TIME = 1_000


class Command(BaseCommand):
    help = (
        f"Enter the costs of projects in a CSV file with the columns {', '.join(COLUMNS)}; at the"
        " next refresh they become credits. Each id once for ever: safe to kill and run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="say what is wrong; enter none")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        try:
            wrong = self._check(path)
            if wrong:
                raise CommandError(f"{wrong:,} lines are wrong; nothing was entered.")
            if options["dry_run"]:
                self.stdout.write("Dry run: every line is right; nothing was entered.")
                return
            self._enter(path)
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal

    def _check(self, path: Path) -> int:
        wrong = 0
        with path.open("rb") as file:
            for line in read_costs(file, at=timezone.now()):
                if line.cost is None:
                    wrong += 1
                    self.stderr.write(f"Line {line.number:,}: {line.why}")
        return wrong

    def _enter(self, path: Path) -> None:
        counts = {"accepted": 0, "replayed": 0, "refused": 0}
        with path.open("rb") as file:
            lines = read_costs(file, at=timezone.now())
            costs = (line.cost for line in lines if line.cost)
            while some := list(islice(costs, AT_A_TIME)):
                for each in record_costs(costs=some, caller=CALLER, at=timezone.now()):
                    counts[each.status] += 1
                    if each.why:
                        self.stderr.write(f"{each.idempotency_key}: {each.why}")
        self.stdout.write(
            f"{counts['accepted']:,} entered, {counts['replayed']:,} entered before,"
            f" {counts['refused']:,} refused."
        )
        if counts["refused"]:
            raise CommandError("Some were refused.")
