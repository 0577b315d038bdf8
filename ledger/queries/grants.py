"""Grants, and what has become of them."""

from datetime import datetime

from django.db.models import Case, CharField, F, Q, QuerySet, TextChoices, Value, When

from ledger.models import Grant


class GrantStatus(TextChoices):
    """What has become of a grant: the first that is so."""

    VOIDED = "voided"
    EXPIRED = "expired"
    SPENT = "spent"
    FROZEN = "frozen"
    ACTIVE = "active"


def grants_at(at: datetime) -> QuerySet[Grant]:
    """
    Return grants with the ``status`` and what is ``left`` of them that anyone is shown at ``at``.

    Credits of an expired grant are gone from that instant, whether or not a sweep has booked it.
    """
    is_expired = Q(expires_at__lte=at)
    return Grant.objects.annotate(
        left=Case(When(is_expired, then=F("held")), default=F("remaining")),
        status=Case(
            When(voided_at__isnull=False, then=Value(GrantStatus.VOIDED)),
            When(is_expired, then=Value(GrantStatus.EXPIRED)),
            When(is_open=False, then=Value(GrantStatus.SPENT)),
            When(is_frozen=True, then=Value(GrantStatus.FROZEN)),
            default=Value(GrantStatus.ACTIVE),
            output_field=CharField(),
        ),
    )
