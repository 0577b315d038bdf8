from argparse import ArgumentTypeError
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.services.share_statements import make_due_statements
from creditsite.errors import CreditsiteError
from creditsite.money import format_money


def month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise ArgumentTypeError("it is no month such as 2026-03") from error


class Command(BaseCommand):
    help = (
        "Make the statements of what agents and partners earned, of each month that is locked and"
        " has none yet. Safe to kill and run again: a month is made whole, or not at all."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--month", type=month, help="no later ones than this, as 2026-03")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = make_due_statements(at=timezone.now(), until=options["month"])
        except CreditsiteError as refusal:
            raise CommandError(str(refusal)) from refusal
        for each in made:
            self.stdout.write(f"{each}")
            for currency, line in sorted(each.figures.items()):
                self.stdout.write(
                    f"  by use {format_money(line['used'], currency)}, of that repaid debts"
                    f" {format_money(line['repaid'], currency)}; agents earn"
                    f" {format_money(line['agents_earned'], currency)} of"
                    f" {format_money(line['agents'], currency)}, partners"
                    f" {format_money(line['partners_earned'], currency)} of"
                    f" {format_money(line['partners'], currency)}"
                )
        if not made:
            self.stdout.write("Nothing is due.")
