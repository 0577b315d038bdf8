from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from ledger.services.figures import findings


class Command(BaseCommand):
    help = "Compute the figures of each day anew from the ledger; exit with 1 if one differs."

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        differences = 0
        for finding in findings(timezone.now()):
            mark = "differs" if finding.violations else "is so  "
            self.stdout.write(f"{mark}  {finding.seconds:7.2f} s  {finding.check}")
            for difference in finding.violations[:20]:
                self.stdout.write(f"           {difference}")
            differences += len(finding.violations)
        if differences:
            raise CommandError(f"Figures differ in {differences:,} places.", returncode=1)
