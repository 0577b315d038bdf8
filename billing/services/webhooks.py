"""How webhooks come out, counted: which secret signs them, and why some are refused."""

from datetime import datetime, timedelta

from django.db.models import F

from billing.choices import WebhookOutcome
from billing.models import WebhookTally
from billing.queries.connection import mark_of

# Good ones come in crowds; when the last one came need not be known better than that.
ROUGHLY = timedelta(seconds=5)


def note_signed(secret: str, *, at: datetime) -> None:
    """Say that a webhook came that ``secret`` had signed."""
    rows = WebhookTally.objects.filter(outcome=WebhookOutcome.SIGNED, about=mark_of(secret))
    if last := rows.first():
        if last.last_at <= at - ROUGHLY:
            rows.filter(last_at__lt=at).update(last_at=at)
        return
    new = WebhookTally(outcome=WebhookOutcome.SIGNED, about=mark_of(secret), last_at=at)
    WebhookTally.objects.bulk_create([new], ignore_conflicts=True)


def note_refused(why: str, *, at: datetime) -> None:
    """Count a webhook that was refused; ``why`` is one of a few sentences of ours."""
    rows = WebhookTally.objects.filter(outcome=WebhookOutcome.REFUSED, about=why)
    if not rows.exists():
        new = WebhookTally(outcome=WebhookOutcome.REFUSED, about=why, last_at=at)
        WebhookTally.objects.bulk_create([new], ignore_conflicts=True)
    rows.update(count=F("count") + 1, last_at=at)
