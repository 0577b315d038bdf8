"""One e-mail to staff about all that came in, and all that became overdue, since the last."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from disputes.choices import OPEN
from disputes.models import Dispute
from disputes.services import mail

AT_A_TIME = 10_000


@transaction.atomic
def tell_staff(*, at: datetime) -> int:
    """
    Tell who reviews of each dispute once that it is new, and once that it is overdue.

    Return of how many. Any number of workers may at once: each tells of what no other does.
    """
    open = Dispute.objects.filter(status__in=OPEN)
    new = _mark(open.filter(told_new_at=None), told_new_at=at)
    overdue = _mark(open.filter(told_overdue_at=None, due_at__lte=at), told_overdue_at=at)
    if new or overdue:
        mail.tell_digest(new=new, overdue=overdue, open=open.count())
    return new + overdue


def _mark(rows: QuerySet[Dispute], **told: datetime) -> int:
    found = rows.select_for_update(skip_locked=True, no_key=True).order_by("due_at", "id")
    return Dispute.objects.filter(
        pk__in=[dispute.pk for dispute in found.only("pk")[:AT_A_TIME]]
    ).update(**told)
