"""Make the first administrator of an installation."""

import getpass
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.services.users import create_staff
from creditsite.errors import CreditsiteError


class Command(BaseCommand):
    help = (
        "Make an active member of staff in the group Admin. The password is asked for, or taken"
        " from ADMIN_PASSWORD."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", help="asked for if left out")
        parser.add_argument("--name", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"] or input("E-mail: ")
        try:
            user = create_staff(
                email=email,
                password=os.environ.get("ADMIN_PASSWORD") or self.ask_password(),
                name=options["name"],
                groups=[StaffGroup.ADMIN],
                actor=None,
                at=timezone.now(),
                reason="manage.py create_admin",
            )
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{user} may sign in at /admin/ as {StaffGroup.ADMIN}.")

    def ask_password(self) -> str:
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Password again: "):
            raise CommandError("The two passwords differ. Nothing was made.")
        return password
