"""What is kept and what goes when somebody who paid is erased."""

from uuid import uuid4

import pytest

from billing import gateway
from billing.models import OfferPrice, Payment, ReviewItem, StripeCustomer
from billing.services.erasure import Uses
from billing.services.payments import forget_customers
from billing.services.reviews import resolve_review
from billing.tests.payments import FakeStripe, ask_refund, bought, opened, settle
from billing.tests.sale import package
from ledger.tests.factories import AT, CustomerFactory, finance

pytestmark = pytest.mark.django_db


def test_payments_are_kept_and_the_customer_is_deleted_at_stripe(
    fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
):
    payment = bought(fake_stripe)
    user, keeper = payment.user, Uses()
    assert user is not None
    customer = StripeCustomer.objects.get()
    assert keeper.erases(user) == {"customer at Stripe, with their cards": 1}
    assert keeper.keeps(user) == [
        "1 payments with their sums and dates: law asks for books to be kept."
    ]
    keeper.erase(user=user, words=[], at=AT)
    deleted: list[str] = []
    monkeypatch.setattr(gateway, "delete_customer", deleted.append)
    forget_customers()
    forget_customers()
    assert deleted == [customer.customer_id]
    assert Payment.objects.get().pk == payment.pk


def test_what_staff_wrote_about_them_goes(fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    refund = ask_refund(payment, 100)
    fake_stripe.dispute(payment.intent_id, 100)
    settle(payment.intent_id)
    item = ReviewItem.objects.get()
    resolve_review(item=item, reason="Ada says so", actor=finance(), at=AT)
    keeper = Uses()
    assert keeper.audit_targets(payment.user) == {
        ("billing.payment", str(payment.pk)),
        ("billing.reviewitem", str(item.pk)),
    }
    keeper.erase(user=payment.user, words=[], at=AT)
    refund.refresh_from_db()
    item.refresh_from_db()
    assert (refund.reason, item.resolution) == ("", "")


def test_what_is_not_settled_stands_in_the_way(fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    keeper = Uses()
    assert keeper.obstacles(payment.user, AT) == []
    ask_refund(payment, 100)
    assert "A refund is on its way" in keeper.obstacles(payment.user, AT)[0]
    fake_stripe.dispute(payment.intent_id, 100)
    settle(payment.intent_id)
    assert "The bank decides" in keeper.obstacles(payment.user, AT)[0]


def test_the_payer_is_given_their_payments(fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    [row] = Uses().export(payment.user, AT)["payments"]
    assert (row["charged_minor"], row["credits"], row["public_id"]) == (
        1_000,
        100,
        payment.public_id,
    )


def test_what_they_wrote_about_a_purchase_goes_and_what_they_bought_stays():
    package()
    user = CustomerFactory()
    payment = opened(
        user,
        description="For Ada's birthday",
        price=OfferPrice.objects.get(),
        fingerprint=uuid4(),
    )
    Uses().erase(user=user, words=[], at=AT)
    payment.refresh_from_db()
    assert payment.description == "Small: 100 credits"
