"""The checks of payments of subscriptions tell what is broken."""

from collections.abc import Callable

import pytest
from django.db import connection

from billing.invariants import CHECKS
from billing.models import Payment, PromisedMoney, Slice
from billing.tests.payments import settle as settle_payment
from billing.tests.subscriptions import FakeBilling, begun, by_year, price
from ledger.invariants import findings
from ledger.tests.factories import AT

MONEY, GRANT, BACK = CHECKS
BREAKS: list[tuple[str, Callable[[], object]]] = [
    (MONEY, lambda: Payment.objects.update(net_minor=9_999)),
    (MONEY, lambda: Payment.objects.update(credits=1)),
    (MONEY, lambda: Slice.objects.filter(status="due", voided=0).update(credits=5)),
    (
        MONEY,
        lambda: PromisedMoney.objects.create(
            payment=Payment.objects.get(),
            move="returned",
            amount_minor=-20_000,
            currency="usd",
            at=AT,
        ),
    ),
    (GRANT, lambda: by_force("UPDATE billing_slice SET paid_minor = 7 WHERE status = 'posted'")),
    (BACK, lambda: Payment.objects.update(returned_minor=4_000)),
    (BACK, lambda: Slice.objects.filter(voided__gt=0, number=12).update(voided=0)),
]


def by_force(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_slice DISABLE TRIGGER posted_never_changes")
        cursor.execute(sql)


@pytest.mark.django_db
@pytest.mark.breaks_the_books
@pytest.mark.parametrize(("check", "damage"), BREAKS)
def test_what_is_broken_is_told(fake_billing: FakeBilling, check: str, damage: Callable[[], None]):
    begun(fake_billing, by_year(price()))
    payment = Payment.objects.get()
    fake_billing.refund(str(payment.intent_id), 2_000)
    settle_payment(str(payment.intent_id))
    assert not any(finding.violations for finding in findings())
    damage()
    assert check in {finding.check for finding in findings() if finding.violations}
    alone = findings([payment.wallet_id or 0])
    assert check in {finding.check for finding in alone if finding.violations}
