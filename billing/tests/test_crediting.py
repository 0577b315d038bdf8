"""Payments that were held back, and get their credits by staff: once, and as a purchase."""

import pytest
from django.test import Client

from accounts.models import Approval
from accounts.services.approvals import approve
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from billing.errors import NotCreditable
from billing.models import Payment, PaymentEffect, ReviewItem, StripeCustomer
from billing.services.crediting import credit_payment
from billing.tests.payments import money, opened, settle
from billing.tests.sale import promotion, quoted, reserved
from creditsite.errors import NotPermitted
from creditsite.testing.people import sign_in_now
from creditsite.testing.races import race
from ledger.errors import InvalidAmount, OwnWallet, WalletClosed
from ledger.models import Grant, Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.books import spend
from ledger.tests.factories import AT, CustomerFactory, close, finance, set_credit_settings
from ledger.tests.pages import errors, page_of, recorded, said, sent, text

pytestmark = pytest.mark.django_db


def held_back(stripe, **more):
    """Return a payment of 10.00 that nobody knows what is for."""
    return settle(stripe.paid(**more))


def give(payment, wallet, credits=100, actor=None, key="k", reason="they showed the receipt"):
    return credit_payment(
        payment=payment,
        wallet=wallet,
        credits=credits,
        reason=reason,
        actor=actor,
        caller="user:1",
        at=AT,
        idempotency_key=key,
    )


class TestCreditPayment:
    def test_gives_a_strangers_payment_to_whom_it_is(self, fake_stripe):
        payment, wallet, actor = held_back(fake_stripe), wallet_of(CustomerFactory()), finance()
        given = give(payment, wallet, actor=actor)
        assert (given.status, given.wallet, given.user) == ("credited", wallet, wallet.user)
        assert (given.grant.amount, given.grant.paid_minor) == (100, 1_000)
        assert money(wallet) == {"deferred": 1_000, "recognised": 0}
        item = ReviewItem.objects.get()
        assert (item.resolved_by, item.resolution) == (actor, "they showed the receipt")
        event = AuditEvent.objects.get(action="billing.payment.credited")
        assert (event.actor_id, event.after["credits"]) == (actor.pk, 100)
        effects = PaymentEffect.objects.order_by("pk").values_list("effect", flat=True)
        assert list(effects) == ["suspended", "credited"]

    def test_gives_what_another_amount_buys_and_repays_debts_first(self, fake_stripe):
        payment = opened()
        suspended = settle(fake_stripe.paid(payment, amount_minor=500))
        assert (suspended.status, suspended.net_minor) == ("suspended", 1_000)
        given = give(suspended, Wallet.objects.get(pk=payment.wallet_id), 50)
        assert (given.credits, given.net_minor, given.charged_minor) == (50, 500, 500)
        assert given.grant.paid_minor == 500

    def test_is_once_however_often_it_is_said_or_settled(self, fake_stripe):
        payment, wallet = held_back(fake_stripe), wallet_of(CustomerFactory())
        give(payment, wallet)
        give(payment, wallet)
        settle(payment.intent_id)
        assert Grant.objects.get().amount == 100
        with pytest.raises(NotCreditable):
            give(payment, wallet, 101, key="l")

    def test_goes_back_with_its_money_as_any_purchase(self, fake_stripe):
        payment, wallet = held_back(fake_stripe), wallet_of(CustomerFactory())
        give(payment, wallet)
        spend(wallet.pk, 80, AT)
        fake_stripe.refund(payment.intent_id, 500)
        settle(payment.intent_id)
        wallet.refresh_from_db()
        assert (wallet.purchase, wallet.debt) == (0, 30)

    def test_counts_its_promotion(self, fake_stripe):
        user = CustomerFactory()
        redemption = reserved(promotion("bonus"), user, quote=quoted())
        payment = opened(user, redemption=redemption)
        suspended = settle(fake_stripe.paid(payment, amount_minor=900))
        give(suspended, wallet_of(user))
        wallet = Wallet.objects.get(user=user)
        redemption.refresh_from_db()
        assert (wallet.purchase, redemption.status) == (100, "redeemed")

    def test_knows_the_user_of_a_customer_and_lets_another_have_it(self, fake_stripe):
        payer, wallet = CustomerFactory(), wallet_of(CustomerFactory())
        StripeCustomer.objects.create(user=payer, customer_id="cus_1", created_at=AT)
        payment = held_back(fake_stripe, customer="cus_1")
        assert payment.user == payer
        given = give(payment, wallet)
        assert (given.user, given.wallet) == (payer, wallet)

    def test_of_many_credits_waits_for_a_second_person(self, fake_stripe):
        payment, wallet, maker = held_back(fake_stripe), wallet_of(CustomerFactory()), finance()
        approval = give(payment, wallet, 100_001, maker)
        assert isinstance(approval, Approval)
        assert give(payment, wallet, 100_001, maker) == approval
        assert not Grant.objects.exists()
        approve(approval=approval, checker=finance(), note="", at=AT)
        assert Grant.objects.get().amount == 100_001
        assert AuditEvent.objects.get(action="billing.payment.credited").actor_id == maker.pk

    def test_refuses_what_is_not_held_back_whole(self, fake_stripe):
        wallet = wallet_of(CustomerFactory())
        returned = held_back(fake_stripe)
        fake_stripe.refund(returned.intent_id, 1)
        settle(returned.intent_id)
        disputed = held_back(fake_stripe)
        fake_stripe.dispute(disputed.intent_id, 1_000)
        settle(disputed.intent_id)
        invoiced = held_back(fake_stripe)
        Payment.objects.filter(pk=invoiced.pk).update(invoice_id="in_1")
        for payment in [opened(), returned, disputed, invoiced]:
            with pytest.raises(NotCreditable):
                give(payment, wallet)
        assert not Grant.objects.exists()

    def test_refuses_who_may_not_and_whose_it_would_be(self, fake_stripe):
        payment, wallet, actor = held_back(fake_stripe), wallet_of(CustomerFactory()), finance()
        with pytest.raises(NotPermitted):
            give(payment, wallet, actor=StaffFactory(groups="Support"))
        with pytest.raises(OwnWallet):
            give(payment, wallet_of(actor), actor=actor)
        Payment.objects.filter(pk=payment.pk).update(user=actor)
        with pytest.raises(OwnWallet):
            give(Payment.objects.get(pk=payment.pk), wallet, actor=actor)
        for credits in (0, 1_000_000_001):
            with pytest.raises(InvalidAmount):
                give(payment, wallet, credits)
        close(wallet)
        with pytest.raises(WalletClosed):
            give(payment, wallet)
        assert not Grant.objects.exists()


def test_two_at_once_give_it_once(ledger_db, fake_stripe):
    payment = held_back(fake_stripe)
    wallets = [wallet_of(CustomerFactory()) for _ in range(3)]
    acts = [lambda w=w, n=n: give(payment, w, key=f"k{n}") for n, w in enumerate(wallets * 2)]
    outcomes = race(*acts, lambda: settle(payment.intent_id))
    assert set(outcomes) <= {"Payment", "NotCreditable", "PaymentBusy"}
    assert Grant.objects.get().wallet_id == Payment.objects.get().wallet_id


class TestPage:
    @pytest.fixture
    def staff(self) -> Client:
        client, user = Client(), StaffFactory(groups="Finance")
        client.force_login(user)
        sign_in_now(client, user)
        return client

    def test_asks_first_and_says_what_came_of_it(self, fake_stripe, staff):
        set_credit_settings(typed_confirmation_from=100)
        user = CustomerFactory()
        payment = held_back(fake_stripe)
        path = page_of(payment, "credit")
        page = text(staff.get(path))
        assert "At the price of one credit it buys 100." in page
        values = {"email": user.email, "credits": "100"}
        assert "Type exactly: CREDIT 100" in text(sent(staff, path, **values))
        answer = sent(staff, path, **values, confirmation="CREDIT 100")
        assert said(answer) == [f"{user} has 100 credits for it."]
        assert Wallet.objects.get(user=user).purchase == 100
        assert [action for action, _ in recorded()] == ["billing.payment.credited"]

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"email": "nobody@example.com", "credits": "5"}, "email"),
            ({"email": "a\u202eb@example.com", "credits": "5"}, "email"),
            ({"email": "nobody@example.com", "credits": "５"}, "credits"),
            ({"email": "nobody@example.com", "credits": "0"}, "credits"),
        ],
    )
    def test_refuses_what_is_none(self, fake_stripe, staff, values, field):
        answer = sent(staff, page_of(held_back(fake_stripe), "credit"), **values)
        assert errors(answer)
        assert field in answer.context["form"].errors

    def test_is_not_offered_where_there_is_nothing_to_give(self, fake_stripe, staff):
        payment = opened()
        assert "Give credits…" not in text(staff.get(page_of(payment)))
        assert "Give credits…" in text(staff.get(page_of(held_back(fake_stripe))))
        assert said(staff.get(page_of(payment, "credit"), follow=True)) == [
            "That is not possible here, or no longer."
        ]
