"""How we and Stripe hear each other: the key, the webhooks, and the events that wait."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from billing import gateway
from billing.choices import EventStatus, WebhookOutcome
from billing.models import StripeEvent, WebhookTally
from creditsite.links import site_link

# More than that are not counted, however many there are.
MOST = 1_000
# Events are asked for every ten minutes, those that no webhook brought in five.
LATE = timedelta(minutes=10)
RECENT = timedelta(days=1)


@dataclass(frozen=True)
class Secret:
    """One of STRIPE_WEBHOOK_SECRETS by its place there, and when it signed last."""

    place: int
    last_at: datetime | None


@dataclass(frozen=True)
class Connection:
    mode: str
    account: str
    failure: str
    secrets: list[Secret]
    refused: list[WebhookTally]
    waiting: int
    failed: int
    oldest: StripeEvent | None
    missed: int

    @property
    def last_at(self) -> datetime | None:
        """When a webhook with a good signature came last."""
        return max((each.last_at for each in self.secrets if each.last_at), default=None)


def connection_at(at: datetime) -> Connection:
    """Return how the connection stands; asks Stripe which account our key belongs to."""
    account, failure = account_now()
    due = StripeEvent.objects.exclude(next_try_at=None)
    return Connection(
        mode=mode(),
        account=account,
        failure=failure,
        secrets=secrets_now(),
        refused=list(
            WebhookTally.objects.filter(outcome=WebhookOutcome.REFUSED).order_by("-last_at")
        ),
        waiting=due.filter(status=EventStatus.WAITING)[:MOST].count(),
        failed=due.filter(status=EventStatus.FAILED)[:MOST].count(),
        oldest=due.order_by("received_at", "pk").first(),
        missed=missed_since(at - RECENT)[:MOST].count(),
    )


def mode() -> str:
    """Return what our key is for: live, test, local or, without one, nothing."""
    if not settings.STRIPE_SECRET_KEY:
        return ""
    if gateway.is_near(settings.STRIPE_API_BASE):
        return "local"
    return "live" if gateway.is_live() else "test"


def account_now() -> tuple[str, str]:
    """Ask Stripe whose key we have; return the account, or why we do not know."""
    try:
        return gateway.account_id(), ""
    except (gateway.PaymentsUnavailable, gateway.StripeRefused) as refusal:
        return "", str(refusal)


def secrets_now() -> list[Secret]:
    rows = WebhookTally.objects.filter(outcome=WebhookOutcome.SIGNED)
    last = dict(rows.values_list("about", "last_at"))
    return [
        Secret(place, last.get(mark_of(secret)))
        for place, secret in enumerate(settings.STRIPE_WEBHOOK_SECRETS, 1)
    ]


def mark_of(secret: str) -> str:
    """Return what a secret is known by in the tally, which says nothing about it."""
    return hashlib.sha256(f"webhook secret:{secret}".encode()).hexdigest()[:16]


def missed_since(instant: datetime) -> QuerySet[StripeEvent]:
    """Return the events that no webhook brought, and that we found by asking."""
    return StripeEvent.objects.filter(was_missed=True, received_at__gte=instant)


def are_webhooks_missing(at: datetime) -> bool:
    """Return whether Stripe had something to tell lately, and no webhook has come since."""
    if not settings.STRIPE_SECRET_KEY:
        return False
    missed = missed_since(at - RECENT).order_by("-received_at").first()
    if missed is None:
        return False
    signed = [each.last_at for each in secrets_now() if each.last_at]
    return all(last_at < missed.created_at for last_at in signed)


# --- Advice ---------------------------------------------------------------------------------------
def advice(connection: Connection, at: datetime) -> list[str]:
    """Return what somebody should do, in words; nothing while all is well."""
    if not connection.mode:
        return ["Payments are not set up. Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRETS."]
    return [
        *about_the_key(connection),
        *about_the_secrets(connection, at),
        *about_the_events(connection, at),
    ]


def about_the_key(connection: Connection) -> Iterator[str]:
    if connection.failure:
        yield f"Stripe was asked for our account: {connection.failure} See STRIPE_SECRET_KEY."
    elif settings.STRIPE_ACCOUNT not in {"", connection.account}:
        yield (
            f"The key belongs to {connection.account}, and STRIPE_ACCOUNT names another account."
        )
    if connection.mode == "test" and not settings.DEMO:
        yield "The key is one of Stripe's test mode: nobody pays real money with it."


def about_the_secrets(connection: Connection, at: datetime) -> Iterator[str]:
    last_at = connection.last_at
    address = site_link(reverse("stripe_webhook")) or reverse("stripe_webhook")
    if not connection.secrets:
        yield "Set STRIPE_WEBHOOK_SECRETS: without, no webhook is believed."
    elif last_at is None:
        yield f"No webhook has come yet. In Stripe, let an endpoint send events to {address}."
    elif are_webhooks_missing(at):
        yield (
            "Stripe had events for us, and no webhook brought them: they were found by asking,"
            f" minutes later. See in Stripe whether its endpoint for {address} is on."
        )
    if any(is_after(each.last_at, last_at) for each in connection.refused if is_unsigned(each)):
        yield (
            "Webhooks come that none of STRIPE_WEBHOOK_SECRETS has signed. If they are Stripe's,"
            " put the signing secret of its endpoint there."
        )
    for each in connection.secrets:
        if each.last_at and last_at and each.last_at < last_at - RECENT:
            yield f"Secret {each.place} signs no longer. Take it out of STRIPE_WEBHOOK_SECRETS."


def about_the_events(connection: Connection, at: datetime) -> Iterator[str]:
    if connection.oldest and connection.oldest.received_at < at - LATE:
        yield (
            f"An event waits since {connection.oldest.received_at:%Y-%m-%d %H:%M} UTC. See under"
            " Stripe events what failed, and that a worker runs."
        )


def is_unsigned(tally: WebhookTally) -> bool:
    return tally.about == gateway.NOT_SIGNED


def is_after(instant: datetime, other: datetime | None) -> bool:
    return other is None or instant > other
