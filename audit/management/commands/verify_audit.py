import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.verifying import Verified, verify_record

SHOWN = 1_000


class Command(BaseCommand):
    help = "Verify the sealed record, and exit with 1 if any of it is not as it was sealed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--checkpoints",
            metavar="FILE",
            default=settings.AUDIT_CHECKPOINT_FILE,
            help="signed heads kept elsewhere (default: AUDIT_CHECKPOINT_FILE)",
        )
        parser.add_argument(
            "--state",
            metavar="FILE",
            default=settings.AUDIT_STATE_FILE,
            help="what this reader saw the last time (default: AUDIT_STATE_FILE)",
        )
        parser.add_argument(
            "--public-key",
            metavar="HEX",
            action="append",
            default=[],
            help="a key to trust (repeatable; default: AUDIT_PUBLIC_KEYS)",
        )
        parser.add_argument(
            "--ledger", action="store_true", help="read the books that are sealed, too"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        verified = verify_record(
            checkpoint_file=options["checkpoints"],
            state_file=options["state"],
            public_keys=options["public_key"] or settings.AUDIT_PUBLIC_KEYS,
            with_sources=options["ledger"],
        )
        if options["json"]:
            self.stdout.write(json.dumps(document(verified)))
        else:
            self.say(verified, checkpoints=options["checkpoints"])
        if broken := len(verified.report.breaks):
            raise CommandError(f"The record is broken in {broken:,} places.", returncode=1)

    def say(self, verified: Verified, *, checkpoints: str) -> None:
        report = verified.report
        for found in report.breaks[:SHOWN]:
            self.stdout.write(f"{found.kind:<10}  {found.says}")
        if not checkpoints:
            self.stdout.write("There are no checkpoints elsewhere to hold it against.")
        if waiting := report.unsealed:
            shown = ", ".join(f"{event}" for event in waiting[:20])
            more = " …" if len(waiting) > 20 else ""
            self.stdout.write(f"{len(waiting):,} events are not sealed yet: {shown}{more}")
        for source, rows in report.unsealed_rows.items():
            if rows:
                self.stdout.write(f"{rows:,} rows of the {source} are not sealed yet.")
        rate = report.seals / verified.seconds
        self.stdout.write(
            f"{report.seals:,} records and {report.rows:,} rows of the books in"
            f" {verified.seconds:.2f} s, {rate:,.0f} records a second:"
            f" {len(report.breaks):,} broken"
        )


def document(verified: Verified) -> dict[str, Any]:
    report = verified.report
    return {
        "sound": report.is_sound,
        "records": report.seals,
        "events": report.events,
        "rows": report.rows,
        "unsealed": report.unsealed,
        "unsealed_rows": report.unsealed_rows,
        "seconds": round(verified.seconds, 3),
        "breaks": [asdict(each) for each in report.breaks],
    }
