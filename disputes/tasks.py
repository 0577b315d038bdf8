"""What happens to disputes by itself. Each is safe to run twice and to be killed at any point."""

from celery import shared_task
from django.utils import timezone


@shared_task
def tell_staff() -> None:
    """Tell who reviews of what came in and what became overdue."""
    from disputes.services import digest

    digest.tell_staff(at=timezone.now())


@shared_task(acks_late=True)
def send_answers() -> None:
    """Have disputes of payments answered at Stripe; also the sweeper for lost nudges."""
    from disputes.services import payment_disputes

    payment_disputes.send_answers()
