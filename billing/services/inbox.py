"""What Stripe tells us: stored at once, handled by whoever is free, again until it is done."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing import gateway, tasks
from billing.choices import EventStatus
from billing.event_handlers import HANDLERS
from billing.models import StripeEvent
from billing.services import webhooks
from billing.stripe_objects import Event
from creditsite.errors import Conflict, InvalidRequest, Unavailable

# How long a try may take before another worker believes that the one who made it has died: some
# reads of four calls each.
LEASE = timedelta(minutes=5)
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=6)
# A webhook may take that long without being missed.
USUAL_DELAY = timedelta(minutes=5)
TYPES_AT_A_TIME = 20
KEPT = {
    "id", "object", "payment_intent", "charge", "customer", "invoice", "subscription", "mode",
    "status", "payment_status", "amount", "amount_refunded", "currency", "created",
}  # fmt: skip
PLAIN = re.compile(r"[\w.:-]{1,250}", re.ASCII)

log = structlog.get_logger(__name__)


def receive_event(body: bytes, signature: str, *, at: datetime) -> None:
    """
    Keep the event that a webhook brought, once, and wake a worker.

    :raises BadSignature: it was not sent by Stripe, or not now.
    :raises ForeignEvent: it is of another account or mode.
    """
    try:
        event = gateway.construct_event(body, signature, at=at)
        if not (is_plain(event.id) and is_plain(event.type)):
            raise gateway.BadSignature("This is no event of Stripe's.")
    except InvalidRequest as refusal:
        webhooks.note_refused(str(refusal), at=at)
        raise
    webhooks.note_signed(gateway.secret_of(body, signature) or "", at=at)
    if keep_events([event], at):
        transaction.on_commit(tasks.handle_stripe_events.delay, robust=True)


def is_plain(value: Any) -> bool:
    return isinstance(value, str) and PLAIN.fullmatch(value) is not None


def keep_events(events: Iterable[Event], at: datetime, *, were_missed: bool = False) -> int:
    """Keep the events that are not kept yet; return how many of those are of concern here."""
    found = {event.id: event for event in events}
    known = StripeEvent.objects.filter(event_id__in=found).values_list("event_id", flat=True)
    for id in known:
        del found[id]
    rows = [row_of(event, at, were_missed) for event in found.values()]
    StripeEvent.objects.bulk_create(rows, ignore_conflicts=True)
    return sum(row.status == EventStatus.WAITING for row in rows)


def row_of(event: Event, at: datetime, was_missed: bool) -> StripeEvent:
    is_ours = event.type in HANDLERS
    item = event.payload["data"]["object"]
    return StripeEvent(
        event_id=event.id,
        type=event.type[:100],
        object_id=event.object_id if is_plain(event.object_id) else "",
        payload={
            name: item[name]
            for name in sorted(KEPT & item.keys())
            if isinstance(item[name], int) or is_plain(item[name])
        },
        account=event.payload.get("account") or "",
        livemode=event.payload["livemode"],
        created_at=event.created_at,
        received_at=at,
        was_missed=was_missed,
        status=EventStatus.WAITING if is_ours else EventStatus.IGNORED,
        next_try_at=at if is_ours else None,
    )


# --- Handling -------------------------------------------------------------------------------------
def handle_events(*, clock: Callable[[], datetime] = timezone.now) -> int:
    """
    Handle the events that are due, until none is or Stripe does not answer; return how many were.

    Any number of workers may. What fails is kept with its error, and tried again for as long as it
    fails.
    """
    done = 0
    while event := claim(clock()):
        try:
            HANDLERS[event.type](event, clock)
        except Unavailable as failure:
            note_failure(event, failure, clock())
            if isinstance(failure, gateway.PaymentsUnavailable):
                break  # The others can wait.
        except Exception as failure:
            log.exception("stripe.event_failed", event_id=event.event_id, type=event.type)
            note_failure(event, failure, clock())
        else:
            at = clock()
            if_ours(event).update(status=EventStatus.DONE, next_try_at=None, done_at=at, error="")
            done += 1
    return done


@transaction.atomic
def claim(at: datetime) -> StripeEvent | None:
    """Return an event that is due, ours until its lease ends; ``None`` if there is none."""
    due = StripeEvent.objects.filter(next_try_at__lte=at, type__in=HANDLERS)
    event = due.select_for_update(skip_locked=True).order_by("next_try_at", "pk").first()
    if event:
        event.tries += 1
        event.next_try_at = at + LEASE
        event.save(update_fields=["tries", "next_try_at"])
    return event


def note_failure(event: StripeEvent, failure: Exception, at: datetime) -> None:
    pause = min(FIRST_PAUSE * 2 ** min(event.tries - 1, 20), LONGEST_PAUSE)
    if_ours(event).update(
        status=EventStatus.FAILED,
        next_try_at=at + pause,
        error=f"{type(failure).__name__}: {failure}"[:2000].replace("\0", ""),
    )


def if_ours(event: StripeEvent) -> Any:
    """Return the row unless our lease ended and another worker has it, or it is replayed."""
    open = Q(status__in=[EventStatus.WAITING, EventStatus.FAILED])
    return StripeEvent.objects.filter(open, pk=event.pk, tries=event.tries)


@transaction.atomic
def replay_event(*, event: StripeEvent, reason: str, actor: User | None, at: datetime) -> None:
    """
    Have an event handled again, now. Done twice is done once.

    :raises NotPermitted: ``actor`` may not.
    :raises Conflict: nothing here handles events of its type.
    """
    require(actor, "billing.replay_stripeevent")
    locked = StripeEvent.objects.select_for_update(no_key=True).get(pk=event.pk)
    if locked.type not in HANDLERS:
        raise Conflict(f"Nothing is done about events of the type {locked.type}.")
    before, locked.status = locked.status, EventStatus.WAITING
    locked.tries, locked.next_try_at, locked.done_at = 0, at, None
    locked.save(update_fields=["status", "tries", "next_try_at", "done_at"])
    audit.record(
        "billing.event.replayed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"status": before},
    )
    transaction.on_commit(tasks.handle_stripe_events.delay, robust=True)


# --- What no webhook brought ----------------------------------------------------------------------
def find_missed_events(*, since: datetime, at: datetime) -> int:
    """
    Ask Stripe for its events since then, and take in what no webhook brought; return how many.

    Where payments are not set up, there are none.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    missed = 0
    if not settings.STRIPE_SECRET_KEY:
        return missed
    types = sorted(HANDLERS)
    for first in range(0, len(types), TYPES_AT_A_TIME):
        found = gateway.list_events(since, types[first : first + TYPES_AT_A_TIME])
        late = (event for event in found if event.created_at < at - USUAL_DELAY)
        while page := list(islice(late, gateway.PAGE)):
            missed += keep_events(page, at, were_missed=True)
    if missed:
        log.warning("stripe.events_missed", count=missed)
        tasks.handle_stripe_events.delay()
    return missed
