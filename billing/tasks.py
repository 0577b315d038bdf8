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


@shared_task(acks_late=True)
def post_slices() -> None:
    """Give the credits of months that are paid for and due, and of tiers; missed ones too."""
    from billing.services import slices, tier_allotments

    slices.post_due_slices()
    tier_allotments.allot_due_tiers(at=timezone.now())


@shared_task(acks_late=True)
def tell_subscribers() -> None:
    """Write of what became of subscriptions, and of those that are to renew."""
    from billing.services import plan_mail

    plan_mail.tell_effects(at=timezone.now())
    plan_mail.remind_of_renewals(at=timezone.now())


@shared_task(acks_late=True)
def send_changes() -> None:
    """Do what was asked for of subscriptions and was not done."""
    from billing.services import subscription_changes

    subscription_changes.send_changes()


@shared_task
def top_up() -> None:
    """Buy credits for users who agreed to it and whose credits have fallen low."""
    from billing.services import top_up_charges

    top_up_charges.top_up()


@shared_task
def forget_customers() -> None:
    """Delete at Stripe whose personal data was erased here."""
    from billing.services import payments

    payments.forget_customers()


@shared_task
def debit_project_costs() -> None:
    """Turn the costs of projects that are due into credits."""
    from billing.services import project_costs

    project_costs.debit_due_costs()


@shared_task
def make_share_statements() -> None:
    """Say what agents and partners earned, once for each month that is locked."""
    from billing.services import share_statements

    share_statements.make_due_statements(at=timezone.now())


@shared_task(acks_late=True)
def work_reconciliations() -> None:
    """Compare Stripe with the books where that was asked for; also the sweeper of lost runs."""
    from billing.services import reconciliation

    reconciliation.work_runs()


@shared_task
def reconcile_by_night() -> None:
    """Have what was made at Stripe lately compared with the books."""
    from billing.services import reconciliation

    reconciliation.work_nightly(at=timezone.now())


@shared_task
def end_unpaid_purchases() -> None:
    """End purchases that nobody has paid for a day, and free their promotions."""
    from billing.services import purchases

    purchases.end_unpaid()
