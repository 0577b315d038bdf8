"""Erase again whoever a restored backup brought back."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from accounts.services.erasure import read_list, replay_erasure
from creditsite.errors import CreditsiteError


class Command(BaseCommand):
    help = (
        "Read the list of erasures and erase again each user whom a restored backup brought back."
        " Ends with an error if one of them could not be; type it again once that is put right."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            default=settings.ERASURE_LIST_FILE,
            help="the list; ERASURE_LIST_FILE if left out",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        path = Path(options["file"])
        if not path.is_file():
            raise CommandError(f"There is no list {path}.")
        done = listed = failed = 0
        for user_id, identity in dict(read_list(path)).items():
            listed += 1
            try:
                done += replay_erasure(user_id=user_id, identity=identity, at=timezone.now())
            except CreditsiteError as refusal:
                failed += 1
                self.stderr.write(f"User {user_id} is not erased: {refusal}")
        self.stdout.write(f"{done} of {listed} users were erased again.")
        if failed:
            raise CommandError(f"{failed} users are not erased.")
