import os
import secrets
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from creditsite.site.demo.catalogue import make_catalogue, make_sale
from creditsite.site.demo.history import tell
from creditsite.site.demo.people import SIGN_INS, make_people, make_teams, set_passwords
from ledger.invariants import findings
from ledger.services.checks import keep_check
from ledger.services.snapshots import renew


class Command(BaseCommand):
    help = (
        "Put the demo in this database: staff and users at example.com, a price list, and sixty"
        " days of history. Once; run again, it makes what is missing and changes nothing else."
        " DEMO_PASSWORD becomes everyone's password; without it one is made and shown once."
    )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        start = now - timedelta(days=60)
        is_new = not User.objects.filter(email__in=SIGN_INS).exists()
        features = make_catalogue(start)
        sales = make_sale(start)
        people = make_people(start)
        happened = 0
        if is_new:
            make_teams(people, start + timedelta(hours=1))
            happened = tell(people, now)
            # What a worker does in its first minute and hour, for the start page to show at once.
            renew(at=now)
            keep_check(found=list(findings()), at=now)
        password = os.environ.get("DEMO_PASSWORD") or ""
        if is_new and not password:
            password = secrets.token_urlsafe(9)
            self.stdout.write(f"Password of every demo sign-in: {password}")
        changed = set_passwords(people.values(), password) if password else 0
        self.stdout.write(
            f"Demo: {features} features made, {sales} offers and promotions, {happened} events,"
            f" {changed} passwords set."
        )
