"""Nudges: what Stripe told and what it is to be told are rows."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone


@shared_task(acks_late=True)
def handle_stripe_events() -> None:
    """Handle the events that are due; also the sweeper for those whose nudge was lost."""
    from billing.services import inbox

    inbox.handle_events()


@shared_task
def find_missed_events(*, hours: int = 2) -> None:
    """Ask Stripe what it told in the last hours, and take in what no webhook brought."""
    from billing.services import inbox

    inbox.find_missed_events(since=timezone.now() - timedelta(hours=hours), at=timezone.now())


@shared_task(acks_late=True)
def send_refunds() -> None:
    """Have refunds made at Stripe; also the sweeper for those whose nudge was lost."""
    from billing.services import refunds

    refunds.send_refunds()


@shared_task
def forget_customers() -> None:
    """Delete at Stripe whose personal data was erased here."""
    from billing.services import payments

    payments.forget_customers()
