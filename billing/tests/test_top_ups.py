"""Credits that are bought by themselves: when, how often, and when not."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail

from accounts.models import User
from audit.models import AuditEvent
from billing import gateway, tasks
from billing.choices import TopUpEnd
from billing.models import AutoTopUp, Discounts, Payment, TopUp
from billing.queries.top_ups import bought_this_month
from billing.services import top_up_charges
from billing.services.top_ups import switch_off
from billing.tests.payments import settle
from billing.tests.top_ups import (
    FakeCards,
    agreed,
    declined,
    is_off,
    look,
    low,
    now_of,
    purchased,
    statuses,
    use,
)
from ledger.services import posting
from ledger.services.adjustments import pause_wallet
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    close,
    finance,
    open_hold,
    set_credit_settings,
    wallet_with_credits,
)

pytestmark = pytest.mark.django_db


def subjects() -> list[str]:
    return [str(email.subject) for email in mail.outbox if "top-up" in email.subject.lower()]


class TestTopUp:
    def test_buys_credits_at_the_threshold(self, fake_cards: FakeCards):
        auto = agreed(left=101)
        look()
        assert fake_cards.charges == []
        use(auto, 1)
        look()
        assert purchased(auto) == 500
        payment, top_up = Payment.objects.get(), TopUp.objects.get()
        assert (payment.status, payment.net_minor, payment.credits) == ("credited", 5_000, 500)
        assert (top_up.status, top_up.available, top_up.payment) == ("paid", 100, payment)
        assert fake_cards.charges == [
            {
                "customer": f"cus_{auto.user_id}",
                "payment_method": "pm_1",
                "amount_minor": 5_000,
                "currency": "usd",
                "metadata": {"payment": str(payment.public_id)},
                "description": "Automatic top-up: 500 credits",
                "idempotency_key": f"top-up:{top_up.key}",
            }
        ]

    def test_buys_once_a_fall(self, fake_cards: FakeCards):
        auto = low()
        for _ in range(3):
            look()
        use(auto, 400)
        look()
        assert statuses(auto) == ["paid"]
        use(auto, 100)
        look()
        assert statuses(auto) == ["paid", "paid"]

    def test_that_comes_to_too_little_is_followed_by_none_until_more_is_used(
        self, fake_cards: FakeCards
    ):
        auto = low(threshold=1_000, monthly_limit=5_000)
        for _ in range(3):
            look()
        assert (statuses(auto), now_of(auto).left_after) == (["paid"], 590)
        use(auto, 1)
        look()
        assert (statuses(auto), now_of(auto).left_after) == (["paid"] * 2, None)

    def test_is_made_again_at_the_threshold_once_there_was_enough(self, fake_cards: FakeCards):
        auto = low(threshold=1_000, monthly_limit=5_000)
        look()
        wallet_with_credits(auto.user, award=1_000)
        look()
        use(auto, 600)
        look()
        assert statuses(auto) == ["paid", "paid"]

    def test_goes_by_what_can_be_spent(self, fake_cards: FakeCards):
        expiring, holding = agreed(left=50), agreed(left=150)
        wallet_with_credits(expiring.user, award=100, expires_at=AT + HOUR)
        look()
        assert fake_cards.charges == []
        open_hold(holding.wallet, 50, at=AT)
        look()
        assert (statuses(holding), statuses(expiring)) == (["paid"], [])
        look(AT + HOUR)
        assert statuses(expiring) == ["paid"]

    def test_is_not_begun_while_another_one_is_under_way(self, fake_cards: FakeCards):
        auto = low()
        assert top_up_charges.begin(auto.pk, at=AT) is not None
        assert top_up_charges.begin(auto.pk, at=AT + DAY) is None

    def test_is_receipted_by_its_payment_alone(self, fake_cards: FakeCards):
        low()
        look()
        assert [s for s in subjects() if "declined" in s or "off" in s or "limit" in s] == []

    def test_is_not_made_where_payments_are_not_set_up_or_taxed(
        self, fake_cards: FakeCards, settings
    ):
        low()
        settings.STRIPE_AUTOMATIC_TAX = True
        look()
        settings.STRIPE_AUTOMATIC_TAX, settings.STRIPE_SECRET_KEY = False, ""
        look()
        assert fake_cards.charges == []

    def test_task_makes_it(self, fake_cards: FakeCards):
        auto = low()
        tasks.top_up()
        assert statuses(auto) == ["paid"]


class TestNothingIsCharged:
    def test_while_it_is_off(self, fake_cards: FakeCards):
        low(is_enabled=False)
        look()
        assert fake_cards.charges == []

    def test_while_credits_are_switched_off(self, fake_cards: FakeCards):
        auto = low()
        set_credit_settings(credits_enabled=False)
        look()
        set_credit_settings(credits_enabled=True)
        assert fake_cards.charges == []
        look()
        assert statuses(auto) == ["paid"]

    def test_for_paused_and_closed_wallets(self, fake_cards: FakeCards):
        paused, closed = low(), low()
        pause_wallet(wallet=paused.wallet, reason="x" * 10, actor=finance(), at=AT)
        close(closed.wallet)
        look()
        assert fake_cards.charges == []

    def test_for_inactive_users(self, fake_cards: FakeCards):
        User.objects.filter(pk=low().user_id).update(is_active=False)
        look()
        assert fake_cards.charges == []

    def test_while_credits_are_owed(self, fake_cards: FakeCards):
        auto = low()
        look()
        payment = Payment.objects.get()
        use(auto, 590)
        fake_cards.refund(payment.intent_id or "", 5_000)
        settle(payment.intent_id or "")
        look()
        assert statuses(auto) == ["paid"]

    def test_above_the_price_agreed_to(self, fake_cards: FakeCards):
        auto = low()
        set_credit_settings(price_per_credit="0.11")
        look()
        assert fake_cards.charges == []
        assert is_off(auto, TopUpEnd.PRICE)
        assert subjects() == ["Automatic top-ups are off"]
        assert "The price has changed since you agreed to it." in mail.outbox[-1].body
        assert AuditEvent.objects.get(action="billing.top_up.ended").actor_id is None

    def test_in_a_currency_that_nothing_is_sold_in(self, fake_cards: FakeCards):
        auto = low(currency="zar")
        look()
        assert is_off(auto, TopUpEnd.PRICE)


class TestLimits:
    def test_of_a_month_hold_and_are_told_once(self, fake_cards: FakeCards):
        auto = low(monthly_limit=1_000)
        for day in range(4):
            look(AT + day * DAY)
            use(auto, 500 if day < 2 else 1, AT + day * DAY)
        assert statuses(auto) == ["paid", "paid"]
        assert subjects() == ["Your monthly limit of top-ups is reached"]
        assert "Bought this month: 1,000 credits" in mail.outbox[-1].body
        assert now_of(auto).paused_until == datetime(2026, 7, 1, tzinfo=UTC)
        look(datetime(2026, 7, 1, tzinfo=UTC))
        assert statuses(auto) == ["paid"] * 3

    def test_of_a_month_go_by_the_business_time_zone(self, fake_cards: FakeCards):
        set_credit_settings(time_zone="Africa/Johannesburg")
        auto = low(monthly_limit=500)
        look(datetime(2026, 6, 30, 21, tzinfo=UTC))
        use(auto, 500, datetime(2026, 6, 30, 21, tzinfo=UTC))
        look(datetime(2026, 6, 30, 21, 59, tzinfo=UTC))
        assert statuses(auto) == ["paid"]
        look(datetime(2026, 6, 30, 22, tzinfo=UTC))
        assert statuses(auto) == ["paid", "paid"]

    def test_of_a_month_count_what_is_under_way(self, fake_cards: FakeCards):
        auto = low(monthly_limit=500)
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        assert statuses(auto) == ["charging"]
        assert bought_this_month(auto, AT) == 500

    def test_of_a_day_hold(self, fake_cards: FakeCards, settings):
        settings.TOP_UPS_A_DAY = 2
        auto = low(monthly_limit=10_000)
        for hour in range(4):
            look(AT + hour * HOUR)
            use(auto, 500 if hour < 2 else 1, AT + hour * HOUR)
        assert statuses(auto) == ["paid", "paid"]
        assert now_of(auto).paused_until == AT + DAY
        look(AT + DAY)
        assert statuses(auto) == ["paid"] * 3


class TestDeclines:
    def test_are_followed_by_longer_and_longer_pauses_and_the_end(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = declined(intent="pi_declined")
        at = AT
        for hours in (1, 4, 24):
            look(at)
            assert now_of(auto).paused_until == at + hours * HOUR
            look(at + hours * HOUR - timedelta(seconds=1))
            at += hours * HOUR
        look(at)
        assert is_off(auto, TopUpEnd.DECLINED)
        look(at + 30 * DAY)
        assert statuses(auto) == ["declined"] * 4
        assert subjects() == ["A top-up was declined"] * 3 + ["Automatic top-ups are off"]
        assert set(Payment.objects.values_list("status", flat=True)) == {"ended"}
        assert fake_cards.cancelled == ["pi_declined"] * 4
        assert set(TopUp.objects.values_list("reason", flat=True)) == {"insufficient_funds"}

    def test_are_forgotten_after_one_that_is_paid(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = declined()
        look()
        fake_cards.says = None
        look(AT + HOUR)
        assert (statuses(auto), now_of(auto).failures) == (["declined", "paid"], 0)

    @pytest.mark.parametrize("reason", ["lost_card", "stolen_card", "expired_card"])
    def test_of_a_lost_card_end_it_at_once(self, fake_cards: FakeCards, reason):
        auto = low()
        fake_cards.says = declined(reason)
        look()
        assert is_off(auto, TopUpEnd.CARD)
        assert now_of(auto).card_id == ""
        assert subjects() == ["Automatic top-ups are off"]
        look(AT + DAY)
        assert len(fake_cards.charges) == 1

    def test_of_a_card_that_stripe_has_no_more_end_it(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.StripeRefused("No such card.", reason="resource_missing")
        look()
        assert is_off(auto, TopUpEnd.CARD)

    def test_that_ask_for_the_cardholder_pause_it_until_they_came(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = declined("authentication_required")
        look()
        for days in (1, 2, 40):
            look(AT + days * DAY)
        found = now_of(auto)
        assert (found.is_enabled, found.paused_why, found.failures) == (True, "authentication", 0)
        assert statuses(auto) == ["authentication"]
        assert subjects() == ["Your bank wants you to confirm a top-up"]
        assert "sign in and open Auto top-up" in mail.outbox[-1].body

    def test_lead_to_the_page_where_our_address_is_known(self, fake_cards: FakeCards, settings):
        settings.SITE_URL = "https://credits.example.com"
        low()
        fake_cards.says = declined("authentication_required")
        look()
        assert "https://credits.example.com/billing/auto-top-up/" in mail.outbox[-1].body

    def test_after_it_was_switched_off_tell_nobody(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = declined()

        def change_their_mind() -> None:
            switch_off(user=auto.user, actor=auto.user, at=AT)

        fake_cards.before_answer = change_their_mind
        look()
        assert (statuses(auto), subjects()) == (["declined"], [])
        assert is_off(auto, TopUpEnd.USER)


class TestDisputes:
    def test_end_it(self, fake_cards: FakeCards):
        auto = low()
        look()
        payment = Payment.objects.get()
        fake_cards.dispute(payment.intent_id or "", 5_000)
        settle(payment.intent_id or "")
        look()
        assert is_off(auto, TopUpEnd.DISPUTED)
        assert (statuses(auto), subjects()) == (["disputed"], ["Automatic top-ups are off"])
        AutoTopUp.objects.update(is_enabled=True, ended_why="")
        look()
        assert now_of(auto).is_enabled

    def test_that_the_bank_only_asks_about_end_nothing(self, fake_cards: FakeCards):
        auto = low()
        look()
        payment = Payment.objects.get()
        fake_cards.dispute(payment.intent_id or "", 5_000, status="warning_needs_response")
        settle(payment.intent_id or "")
        look()
        assert now_of(auto).is_enabled


class TestWhatIsNotAnswered:
    def test_is_tried_again_with_the_same_key(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        assert (statuses(auto), TopUp.objects.get().error) == (
            ["charging"],
            "PaymentsUnavailable: No answer.",
        )
        look()
        assert len(fake_cards.charges) == 1
        fake_cards.says = None
        look(AT + timedelta(minutes=1))
        assert statuses(auto) == ["paid"]
        assert len({charge["idempotency_key"] for charge in fake_cards.charges}) == 1

    def test_keeps_no_other_user_waiting_for_the_next_look(self, fake_cards: FakeCards):
        first, second = low(), low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        fake_cards.says = None
        look()
        assert (statuses(first), statuses(second)) == (["charging"], ["paid"])

    @pytest.mark.parametrize(
        "change",
        [
            {"is_enabled": False, "ended_why": "user"},
            {"agreed_at": AT + timedelta(seconds=1)},
            {"threshold": 10},
        ],
    )
    def test_is_given_up_when_it_is_not_wanted_any_more(self, fake_cards: FakeCards, change):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        AutoTopUp.objects.update(**change)
        fake_cards.says = None
        top_up = TopUp.objects.get()
        later = AT + timedelta(minutes=1)
        claimed = top_up_charges.claim(later)
        assert claimed is not None
        top_up_charges.attempt(claimed, lambda: later)
        top_up.refresh_from_db()
        assert (top_up.status, len(fake_cards.charges)) == ("dropped", 1)
        assert Payment.objects.get(top_up__auto_top_up=auto).status == "ended"

    def test_is_given_up_before_stripe_forgets_the_key_and_begun_anew(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        fake_cards.says = None
        look(AT + 20 * HOUR)
        assert statuses(auto) == ["dropped", "paid"]
        assert len({charge["idempotency_key"] for charge in fake_cards.charges}) == 2

    def test_is_found_at_stripe_however_late(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        payment = Payment.objects.get()
        fake_cards.paid(payment)
        look(AT + 30 * DAY)
        assert (statuses(auto), purchased(auto)) == (["paid"], 500)

    def test_and_was_declined_is_found_so(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        id = fake_cards.paid(Payment.objects.get())
        fake_cards.set_status(id, "requires_payment_method", "lost_card")
        look(AT + HOUR)
        assert is_off(auto, TopUpEnd.CARD)
        assert fake_cards.cancelled == [id]

    def test_waits_while_the_bank_decides(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        id = fake_cards.paid(Payment.objects.get())
        fake_cards.set_status(id, "processing")
        look(AT + 30 * HOUR)
        assert statuses(auto) == ["charging"]
        fake_cards.set_status(id, "canceled")
        look(AT + 40 * HOUR)
        assert statuses(auto)[0] == "dropped"

    def test_of_which_the_webhook_tells_first_is_credited_once(self, fake_cards: FakeCards):
        auto = low()
        fake_cards.says = gateway.PaymentsUnavailable("No answer.")
        look()
        settle(fake_cards.paid(Payment.objects.get()))
        assert purchased(auto) == 500
        look(AT + HOUR)
        assert (statuses(auto), purchased(auto)) == (["paid"], 500)

    def test_failure_of_our_own_is_kept_and_tried_again(self, fake_cards: FakeCards):
        auto = low()

        def break_down() -> None:
            fake_cards.before_answer = lambda: None
            raise ZeroDivisionError

        fake_cards.before_answer = break_down
        look()
        assert "ZeroDivisionError" in TopUp.objects.get().error
        look(AT + HOUR)
        assert statuses(auto) == ["paid"]


def test_discount_of_many_credits_counts(fake_cards: FakeCards):
    low(amount=1_000, agreed_minor=9_500)
    assert Discounts.objects.count() == 0
    look()
    assert Payment.objects.get().net_minor == 9_500


def test_expiry_of_bought_credits_is_no_top_up_of_its_own(fake_cards: FakeCards):
    auto = low()
    look()
    posting.expire(at=AT, limit=10)
    look()
    assert statuses(auto) == ["paid"]
