"""Make an API key for a service and print it, once."""

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date

from accounts.choices import ApiScope
from accounts.identity import normalise_email
from accounts.models import User
from accounts.services.api_keys import create_api_key
from creditsite.errors import CreditsiteError


class Command(BaseCommand):
    help = "Make an API key for the service NAME and print it. It cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="which service will use it")
        parser.add_argument(
            "--owner", required=True, help="e-mail of the member of staff who answers for it"
        )
        parser.add_argument(
            "--scope",
            required=True,
            action="append",
            choices=ApiScope.values,
            help="repeat for more",
        )
        parser.add_argument(
            "--expires",
            type=end_of_day,
            help="last day it works, as 2027-01-31 in UTC; a year if left out, which is the most",
        )
        parser.add_argument(
            "--daily-cap", type=int, help="whole credits it may spend in a day of UTC"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        owner = User.objects.filter(email=normalise_email(options["owner"])).first()
        if owner is None:
            raise CommandError(f"Nobody has the e-mail address {options['owner']}.")
        try:
            _, secret = create_api_key(
                name=options["name"],
                owner=owner,
                scopes=options["scope"],
                expires_at=options["expires"],
                daily_cap=options["daily_cap"],
                actor=None,
                at=timezone.now(),
                reason="manage.py create_api_key",
            )
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(secret)


def end_of_day(text: str) -> datetime:
    """Return the instant at which the day ``text`` ends in UTC."""
    day = parse_date(text)
    if day is None:
        raise ValueError(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
