"""Receipts: one for each payment that was credited, numbered without a gap in each year."""

from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from billing.models import Payment, Receipt
from ledger.queries.figures import business_day

# With the year, the advisory lock of whoever takes the next number.
LOCK = 2_071_109


@transaction.atomic
def issue_receipt(payment: Payment, *, at: datetime) -> Receipt:
    """
    Give a payment that has just been credited the next number of the year.

    Numbers have no gaps because the next one waits until this transaction has ended. So it is
    called last, of all that takes locks.
    """
    day = business_day(at)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, day.year])
    # A statement of its own: only now does it see what the last one committed.
    last = Receipt.objects.filter(year=day.year).order_by("-number").first()
    return Receipt.objects.create(
        payment=payment,
        year=day.year,
        number=last.number + 1 if last else 1,
        issued_on=day,
        seller=settings.SELLER,
    )
