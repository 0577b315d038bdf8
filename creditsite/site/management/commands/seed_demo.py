import os
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from creditsite.site.demo.catalogue import make_catalogue, make_sale
from creditsite.site.demo.history import acts, tell
from creditsite.site.demo.local_stripe import LocalStripe, local_stripe
from creditsite.site.demo.people import SIGN_INS, make_people, make_teams, set_passwords
from creditsite.site.demo.shop import ACTS as PURCHASES
from creditsite.site.demo.shop import Shop
from creditsite.site.demo.story import Story
from creditsite.site.demo.stripe_shop import StripeShop
from ledger.choices import TransactionKind
from ledger.invariants import findings
from ledger.models import CreditTransaction
from ledger.services.checks import keep_check
from ledger.services.snapshots import renew


class Command(BaseCommand):
    help = (
        "Put the demo in this database: staff and users at example.com, a price list, and sixty"
        " days of history. Once; run again, it makes what is missing and changes nothing else."
        " DEMO_PASSWORD becomes everyone's password; without it one is made and shown once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        start = now - timedelta(days=60)
        with transaction.atomic():
            features = make_catalogue(start)
            sales = make_sale(start)
            people = make_people(start)
        stripe = local_stripe()
        try:
            happened = 0 if is_told() else tell_all(people, start, now, stripe)
        finally:
            if stripe and is_told():
                stripe.release()
            elif stripe:
                stripe.reset()
        password = os.environ.get("DEMO_PASSWORD") or ""
        if happened and not password:
            password = secrets.token_urlsafe(9)
            self.stdout.write(f"Password of every demo sign-in: {password}")
        changed = set_passwords(people.values(), password) if password else 0
        self.stdout.write(
            f"Demo: {features} features made, {sales} offers and promotions, {happened} events,"
            f" {changed} passwords set."
        )


def is_told() -> bool:
    """Say whether the story is in the books, where it stays: it is told whole or not at all."""
    theirs = CreditTransaction.objects.filter(wallet__user__email__in=SIGN_INS)
    return theirs.filter(kind=TransactionKind.USAGE).exists()


def tell_all(
    people: dict[str, User], start: datetime, now: datetime, stripe: LocalStripe | None
) -> int:
    """Make sixty days happen, at Stripe first and then here; return how many events there were."""
    todo = acts(now)
    shop = StripeShop(people, stripe) if stripe else Shop(people)
    if isinstance(shop, StripeShop):
        shop.go_shopping(act for act in todo if act.name in PURCHASES)
    with transaction.atomic():
        make_teams(people, start + timedelta(hours=1))
        happened = tell(Story(people), shop, todo)
        # What a worker does in its first minute and hour, for the start page to show at once.
        renew(at=now)
        keep_check(found=list(findings()), at=now)
    return happened
