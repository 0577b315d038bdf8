from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.services.catalogue_file import CATALOGUE, load_catalogue
from creditsite.errors import CreditsiteError


class Command(BaseCommand):
    help = (
        "Put the packages, plans and rates of a file on sale that are missing; what is there is"
        " left as it is. Without a file: those that come with the product."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=CATALOGUE)

    def handle(self, *args: Any, **options: Any) -> None:
        reason = "manage.py load_catalogue"
        try:
            made = load_catalogue(path=options["file"], at=timezone.now(), reason=reason)
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{len(made)} made{': ' if made else ''}{', '.join(made)}.")
