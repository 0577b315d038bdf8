"""Make the API key that replaces another and print it, once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.management.commands.create_api_key import end_of_day
from accounts.models import ApiKey
from accounts.services.api_keys import rotate_api_key
from creditsite.errors import CreditsiteError


class Command(BaseCommand):
    help = (
        "Make the API key that replaces the one that begins with PREFIX, and print it. It cannot be"
        " read again. The old one works until it is revoked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prefix", help="what the key begins with, as the admin shows it")
        parser.add_argument(
            "--expires", type=end_of_day, help="last day it works, as 2027-01-31 in UTC"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key = ApiKey.objects.filter(prefix=options["prefix"]).select_related("owner").first()
        if key is None:
            raise CommandError(f"No key begins with {options['prefix']}.")
        try:
            _, secret = rotate_api_key(
                key=key,
                expires_at=options["expires"],
                actor=None,
                at=timezone.now(),
                reason="manage.py rotate_api_key",
            )
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(secret)
