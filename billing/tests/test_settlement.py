"""Payments become credits once; what nobody knows is held back, never lost."""

from dataclasses import replace

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.choices import PaymentStatus, ReviewKind
from billing.errors import PaymentBusy
from billing.models import Payment, PaymentEffect, ReviewItem
from billing.services.settlement import begin_to_read, bring_to, read_state
from billing.tests.payments import FakeStripe, bonus_of, bought, money, opened, settle
from billing.tests.sale import promotion, quoted, reserved
from ledger.errors import CreditsDisabled, IdempotencyKeyReused, InvalidAmount, WalletClosed
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.tests.books import spend
from ledger.tests.factories import AT, DAY, CustomerFactory, set_credit_settings

pytestmark = pytest.mark.django_db


def matters() -> list[tuple[str, str]]:
    return list(ReviewItem.objects.order_by("pk").values_list("kind", "summary"))


def close(wallet: Wallet) -> None:
    posting.set_status(wallet=wallet.pk, expected=wallet.status, status="closed")


class TestOpenPayment:
    def test_is_the_same_payment_for_the_same_key(self):
        user = CustomerFactory()
        first = opened(user, idempotency_key="k")
        assert opened(user, idempotency_key="k").pk == first.pk
        with pytest.raises(IdempotencyKeyReused):
            opened(user, credits=200, idempotency_key="k")

    @pytest.mark.parametrize(("credits", "net"), [(0, 1), (1, 0), (10**9 + 1, 1)])
    def test_refuses_what_buys_or_costs_nothing(self, credits, net):
        with pytest.raises(InvalidAmount):
            opened(credits=credits, net_minor=net)

    def test_is_refused_while_credits_are_switched_off(self):
        set_credit_settings(credits_enabled=False)
        with pytest.raises(CreditsDisabled):
            opened()

    def test_is_refused_for_a_closed_wallet(self):
        user = CustomerFactory()
        close(wallet_of(user))
        with pytest.raises(WalletClosed):
            opened(user)


class TestSettlePayment:
    def test_gives_the_credits_once_with_the_money_net_of_tax(self, fake_stripe: FakeStripe):
        payment = opened(net_minor=1_000)
        Payment.objects.filter(pk=payment.pk).update(tax_minor=200)
        payment.refresh_from_db()
        intent = fake_stripe.paid(payment)
        for _ in range(3):
            settled = settle(intent)
        grant = Grant.objects.get()
        assert settled
        assert settled.grant == grant
        assert (grant.amount, grant.paid_minor, grant.currency) == (100, 1_000, "usd")
        assert (grant.credit_type, grant.source) == ("purchase", "package")
        assert (settled.status, settled.charged_minor, settled.paid_at) == ("credited", 1_200, AT)
        assert PaymentEffect.objects.get().effect == "credited"
        assert CreditTransaction.objects.get().reference_id == intent

    def test_gives_the_bonus_of_its_promotion(self, fake_stripe: FakeStripe):
        user = CustomerFactory()
        use = reserved(
            promotion("bonus", expiry_days=30), user, quote=replace(quoted(), bonus_credits=50)
        )
        payment = bought(fake_stripe, user=user, redemption=use)
        bonus = bonus_of(payment)
        assert (bonus.credit_type, bonus.amount, bonus.paid_minor) == ("award", 50, 0)

    def test_repays_what_is_owed(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        wallet = payment.wallet
        spend(wallet.pk, 80, AT)
        fake_stripe.refund(payment.intent_id, 1_000)
        settle(payment.intent_id)
        settle(fake_stripe.paid(opened(payment.user)))
        wallet.refresh_from_db()
        assert (wallet.purchase, wallet.debt) == (20, 0)

    def test_leaves_alone_what_is_not_paid(self, fake_stripe: FakeStripe):
        payment = opened()
        intent = fake_stripe.paid(payment, amount_minor=0)
        settled = settle(intent)
        assert settled
        assert (settled.pk, settled.status) == (payment.pk, "open")

    def test_ends_what_was_cancelled_and_frees_its_promotion(self, fake_stripe: FakeStripe):
        user = CustomerFactory()
        use = reserved(promotion(expiry_days=30), user)
        intent = fake_stripe.paid(opened(user, redemption=use), amount_minor=0)
        fake_stripe.intents[intent] = replace(fake_stripe.intents[intent], status="canceled")
        settled = settle(intent)
        use.refresh_from_db()
        assert settled
        assert (settled.status, use.status) == ("ended", "released")

    def test_credits_what_is_paid_after_it_ended(self, fake_stripe: FakeStripe):
        payment = opened()
        Payment.objects.filter(pk=payment.pk).update(status=PaymentStatus.ENDED)
        settled = settle(fake_stripe.paid(payment))
        assert settled
        assert settled.status == "credited"


class TestWhatNobodyKnows:
    def test_is_held_back_with_a_matter_for_review(self, fake_stripe: FakeStripe):
        intent = fake_stripe.paid()
        for _ in range(2):
            settled = settle(intent)
        assert settled
        assert (settled.status, settled.wallet_id) == ("suspended", None)
        assert settled.charged_minor == settled.net_minor == 1_000
        assert matters() == [
            (
                "unknown",
                "10.00 USD came in. The customer is not known here, and nothing here asked for it.",
            )
        ]
        assert not Grant.objects.exists()

    def test_names_a_customer_of_ours(self, fake_stripe: FakeStripe):
        user = opened().user
        settled = settle(fake_stripe.paid(customer=f"cus_{user.pk}"))
        assert settled
        assert settled.user == user
        assert "A user of ours paid" in matters()[0][1]
        assert user.email not in matters()[0][1]

    def test_is_forgotten_where_nothing_was_paid(self, fake_stripe: FakeStripe):
        assert settle(fake_stripe.paid(amount_minor=0)) is None
        assert not Payment.objects.exists()

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"amount_minor": 999}, "9.99 USD came in. 10.00 USD were asked for."),
            ({"currency": "eur"}, "10.00 EUR came in. 10.00 USD were asked for."),
            ({"customer": "cus_x"}, "Another customer paid it than was asked."),
        ],
    )
    def test_something_else_than_was_asked(self, fake_stripe: FakeStripe, given, why):
        payment = opened()
        Payment.objects.filter(pk=payment.pk).update(customer_id=f"cus_{payment.user_id}")
        settled = settle(fake_stripe.paid(payment, **given))
        assert settled
        assert settled.status == "suspended"
        [(kind, summary)] = matters()
        assert (kind, why in summary) == (ReviewKind.MISMATCH, True)

    def test_frees_its_promotion_when_it_is_refunded(self, fake_stripe: FakeStripe):
        user = CustomerFactory()
        use = reserved(promotion(expiry_days=30), user)
        intent = fake_stripe.paid(opened(user, redemption=use), amount_minor=999)
        settle(intent)
        use.refresh_from_db()
        assert use.status == "reserved"
        fake_stripe.refund(intent, 999)
        settle(intent)
        use.refresh_from_db()
        assert use.status == "released"

    def test_a_wallet_that_was_closed_meanwhile(self, fake_stripe: FakeStripe):
        payment = opened()
        close(payment.wallet)
        settled = settle(fake_stripe.paid(payment))
        assert settled
        assert settled.status == "suspended"
        assert matters()[0][0] == "closed"

    def test_a_second_payment_of_what_is_paid(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        settled = settle(fake_stripe.paid(payment))
        assert settled
        assert settled.pk != payment.pk
        assert settled.status == "suspended"
        assert Grant.objects.count() == 1

    def test_whatever_its_metadata_says(self, fake_stripe: FakeStripe):
        settled = settle(fake_stripe.paid(metadata={"payment": "x"}))
        assert settled
        assert settled.status == "suspended"


class TestReadersOfOnePayment:
    def test_who_read_before_another_began_does_not_act(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        slow = begin_to_read(payment.intent_id)
        assert slow is not None
        old = read_state(slow)
        fake_stripe.refund(payment.intent_id, 500)
        settle(payment.intent_id)
        assert bring_to(slow, old, AT + DAY) is None
        payment.refresh_from_db()
        assert payment.returned_minor == 500

    def test_reads_again_until_nobody_else_does(self, fake_stripe: FakeStripe):
        payment, others = bought(fake_stripe), iter(range(2))
        fake_stripe.refund(payment.intent_id, 500)

        def another_begins() -> None:
            if next(others, None) is not None:
                begin_to_read(payment.intent_id)

        fake_stripe.before_answer = another_begins
        settled = settle(payment.intent_id)
        assert settled
        assert settled.returned_minor == 500

    def test_gives_up_where_others_read_all_the_time(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        fake_stripe.before_answer = lambda: begin_to_read(payment.intent_id) and None
        with pytest.raises(PaymentBusy):
            settle(payment.intent_id)


class TestTheDatabase:
    def test_refuses_a_credited_payment_without_a_grant(self):
        payment = opened()
        with pytest.raises(IntegrityError, match="credited_by_a_grant"), transaction.atomic():
            Payment.objects.filter(pk=payment.pk).update(status="credited", paid_at=AT)

    def test_refuses_to_return_more_than_was_paid(self, fake_stripe: FakeStripe):
        payment = bought(fake_stripe)
        with pytest.raises(IntegrityError, match="returns_what_was_paid"), transaction.atomic():
            Payment.objects.filter(pk=payment.pk).update(returned_minor=1_001)

    def test_refuses_the_same_effect_twice(self, fake_stripe: FakeStripe):
        effect = bought(fake_stripe).effects.get()
        effect.pk = None
        effect._state.adding = True
        with pytest.raises(IntegrityError, match="paymenteffect_once"), transaction.atomic():
            effect.save()

    def test_keeps_effects_as_they_are(self, fake_stripe: FakeStripe):
        bought(fake_stripe)
        with (
            pytest.raises(DatabaseError, match=r"never change|permission denied"),
            transaction.atomic(),
        ):
            PaymentEffect.objects.update(amount_minor=1)
        with pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute("TRUNCATE billing_payment CASCADE")


def test_money_is_deferred_until_it_is_spent(fake_stripe: FakeStripe):
    payment = bought(fake_stripe)
    assert money(payment.wallet) == {"deferred": 1_000, "recognised": 0}
