"""What the staff's start page warns of."""

from datetime import datetime

from django.http import HttpRequest

from audit.warnings import warnings
from billing.queries.connection import are_webhooks_missing
from creditsite.adminkit import actor_of
from creditsite.checks import durability_lost
from ledger.queries.settings import settings_at

NO_WEBHOOKS = (
    "Stripe has events for us, and no webhook brings them: payments are credited late. See Stripe"
    " connection."
)
SWITCHED_OFF = "Credits are switched off: nobody can spend, hold or buy any. See Settings."


def notices(request: HttpRequest, at: datetime) -> list[str]:
    """Return sentences: of the switch, and of the record for those who may look at it."""
    found = [] if settings_at(at).credits_enabled else [SWITCHED_OFF]
    if actor_of(request).may("audit.view_auditevent"):
        found += durability_lost() + warnings(at)
    if actor_of(request).may("billing.view_webhooktally") and are_webhooks_missing(at):
        found.append(NO_WEBHOOKS)
    return found
