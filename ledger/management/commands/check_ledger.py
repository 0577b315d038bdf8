import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from ledger.invariants import findings
from ledger.services.checks import keep_check


class Command(BaseCommand):
    help = "Check every invariant of the books, from the rows up; exit with 1 if one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wallet",
            type=int,
            action="append",
            metavar="ID",
            help="only this wallet (repeatable)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(
                "SELECT (SELECT count(*) FROM ledger_wallet), (SELECT count(*) FROM ledger_grant),"
                " (SELECT count(*) FROM ledger_credittransaction)"
            )
            wallets, grants, transactions = cursor.fetchone()
        at, found = timezone.now(), []
        for finding in findings(options["wallet"]):
            found.append(finding)
            if not options["json"]:
                mark = "broken" if finding.violations else "holds "
                self.stdout.write(f"{mark}  {finding.seconds:7.2f} s  {finding.check}")
                for violation in finding.violations[:20]:
                    self.stdout.write(f"          {violation}")
        if options["wallet"] is None:
            keep_check(found=found, at=at)
        broken = sum(len(finding.violations) for finding in found)
        seconds = sum(finding.seconds for finding in found)
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "sound": not broken,
                        "wallets": wallets,
                        "grants": grants,
                        "transactions": transactions,
                        "seconds": round(seconds, 3),
                        "checks": [
                            {
                                "check": f.check,
                                "seconds": round(f.seconds, 3),
                                "violations": f.violations,
                            }
                            for f in found
                        ],
                    }
                )
            )
        else:
            self.stdout.write(
                f"{len(found)} checks over {wallets:,} wallets, {grants:,} grants and"
                f" {transactions:,} transactions in {seconds:.2f} s: {broken:,} broken"
            )
        if broken:
            raise CommandError(f"The books are broken in {broken:,} places.", returncode=1)
