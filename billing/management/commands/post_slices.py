from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from billing.services.slices import due_slices, post_due_slices
from billing.services.tier_allotments import allot_due_tiers


class Command(BaseCommand):
    help = "Give the credits of the months of subscriptions and tiers that are due."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how many, and post none")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self.stdout.write(f"{due_slices(timezone.now()).count():,} months are due.")
        else:
            self.stdout.write(f"{post_due_slices():,} months posted.")
            given = allot_due_tiers(at=timezone.now())
            self.stdout.write(f"{given:,} months of tiers given.")
