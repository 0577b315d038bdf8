"""The staff pages of subscriptions and tiers: what they show, whom they ask, what they refuse."""

import pytest
from django.test import Client

from accounts.models import Approval, User
from audit.models import AuditEvent
from billing.choices import ChangeKind
from billing.models import Slice, Subscription, SubscriptionChange
from billing.queries.tiers import tier_of
from billing.services import subscription_changes
from billing.services.subscription_changes import Preview
from billing.tests.payments import told
from billing.tests.subscriptions import DAY, FakeBilling, begun, later, post, price, settle
from billing.tests.test_admin_payments import signed_in
from billing.tests.tiers import growth, months_of, on_tier
from creditsite.testing.people import sign_in_now
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import AT, CustomerFactory, finance, moves_of, set_credit_settings
from ledger.tests.pages import errors, page_of, recorded, said, sent, text

pytestmark = pytest.mark.django_db
SUBSCRIPTIONS, SLICES = "/admin/billing/subscription/", "/admin/billing/slice/"


@pytest.fixture
def staff() -> Client:
    return signed_in()


def again(subscription: Subscription) -> Subscription:
    return Subscription.objects.get(pk=subscription.pk)


class TestSubscriptions:
    def test_lists_who_is_on_which_plan(self, fake_billing: FakeBilling, staff: Client):
        subscription = begun(fake_billing, price())
        page = text(staff.get(SUBSCRIPTIONS))
        for words in [str(subscription.user), "Small, 10.00 USD a month", "active"]:
            assert words in page
        found = text(staff.get(SUBSCRIPTIONS, {"q": subscription.subscription_id}))
        assert str(subscription.user) in found
        assert str(subscription.user) not in text(staff.get(SUBSCRIPTIONS, {"q": "sub_other"}))

    def test_list_asks_as_much_for_three_as_for_one(
        self, fake_billing: FakeBilling, staff: Client, django_assert_max_num_queries
    ):
        of = price()
        begun(fake_billing, of)
        staff.get(SUBSCRIPTIONS)
        with django_assert_max_num_queries(14) as one:
            staff.get(SUBSCRIPTIONS)
        begun(fake_billing, of)
        begun(fake_billing, of)
        with django_assert_max_num_queries(len(one)):
            staff.get(SUBSCRIPTIONS)

    def test_page_tells_its_whole_story(self, fake_billing: FakeBilling, staff: Client):
        subscription = begun(fake_billing, price())
        id = subscription.subscription_id
        told("customer.subscription.updated", id)
        fake_billing.renew(id)
        settle(id, fake_billing.now)
        fake_billing.change(id, cancels_at_period_end=True)
        settle(id, fake_billing.now)
        page = text(staff.get(page_of(subscription)))
        for words in [
            "Subscribed",
            "Paid for a period",
            "Cancelled: ends with what is paid for",
            "2026-06-01 – 2026-07-01",
            "2026-07-01 – 2026-08-01",
            "10.00 USD",
            "customer.subscription.updated",
            f"It ends at {later(AT, 2):%Y-%m-%d %H:%M} UTC.",
        ]:
            assert words in page

    def test_offers_nothing_to_support_and_nothing_on_ones_own(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        assert "End now…" not in text(signed_in("Support").get(page_of(subscription)))
        actor = finance()
        own = begun(fake_billing, subscription.price, user=actor)
        client = Client()
        client.force_login(actor)
        sign_in_now(client, actor)
        assert "End now…" not in text(client.get(page_of(own)))
        refused = sent(client, page_of(own, "cancel"))
        assert "you own" in " ".join(errors(refused)).lower() or errors(refused)
        assert again(own).cancels_at is None


class TestActs:
    def test_cancel_and_keep(self, fake_billing: FakeBilling, staff: Client):
        subscription = begun(fake_billing, price())
        assert said(sent(staff, page_of(subscription, "cancel"))) == [
            "It ends with the period that is paid for."
        ]
        assert again(subscription).cancels_at == subscription.period_end
        assert said(sent(staff, page_of(subscription, "keep"))) == ["It goes on."]
        assert again(subscription).cancels_at is None
        assert [action for action, _ in recorded()] == [
            "billing.subscription.cancelled",
            "billing.subscription.kept",
        ]

    def test_end_takes_the_phrase(self, fake_billing: FakeBilling, staff: Client):
        subscription = begun(fake_billing, price())
        url = page_of(subscription, "end")
        assert errors(sent(staff, url, confirmation="END")) == ["That is not what is to be typed."]
        assert again(subscription).status == "active"
        done = sent(staff, url, confirmation=f"END {subscription.pk}")
        assert said(done) == ["It has ended."]
        assert again(subscription).status == "canceled"

    def test_change_plan_with_the_next_period(self, fake_billing: FakeBilling, staff: Client):
        small = price("tiny", 500, 40)
        fake_billing.known(small)
        subscription = begun(fake_billing, price())
        done = sent(staff, page_of(subscription, "change-plan"), price=str(small.pk))
        assert said(done) == ["It is on Tiny from the next period on."]
        assert again(subscription).next_price == small

    def test_change_plan_now_shows_the_sum_and_takes_a_phrase(
        self, fake_billing: FakeBilling, staff: Client, monkeypatch: pytest.MonkeyPatch
    ):
        large = price("large", 3_000, 400)
        fake_billing.known(large)
        subscription = begun(fake_billing, price())
        preview = Preview(ChangeKind.UPGRADE, 2_000, 0, "usd", 300, AT)
        monkeypatch.setattr(subscription_changes, "preview_change", lambda **more: preview)
        url = page_of(subscription, "change-plan")
        first = sent(staff, url, price=str(large.pk))
        assert errors(first) == ["This field is required."]
        assert "20.00 USD are charged to their card, and 300 credits come." in text(first)
        assert again(subscription).price == subscription.price
        done = sent(staff, url, price=str(large.pk), confirmation="CHANGE TO LARGE")
        assert said(done) == ["It is on Large now; 20.00 USD were charged."]
        assert again(subscription).price == large

    def test_refuses_a_plan_that_it_cannot_change_to(
        self, fake_billing: FakeBilling, staff: Client
    ):
        of = price()
        subscription = begun(fake_billing, of.version.prices.get(interval="year"))
        done = sent(staff, page_of(subscription, "change-plan"), price=str(of.pk))
        assert errors(done) == [
            "It is paid by the year. Cancel it, and subscribe by the month when it has ended."
        ]
        assert not SubscriptionChange.objects.exists()


class TestMonths:
    def test_says_what_is_due_and_posts_it(self, fake_billing: FakeBilling, staff: Client):
        of = price()
        subscription = begun(fake_billing, of.version.prices.get(interval="year"))
        page = text(staff.get(SLICES))
        assert "to be posted" in page
        due = Slice.objects.filter(status="due", due_at__lte=later(AT, 5)).count()
        assert due  # All of them are long due by the clock of this machine.
        done = sent(staff, f"{SLICES}post-due/")
        (message,) = said(done)
        assert message.startswith("Posted: ")
        assert not Slice.objects.filter(status="due", due_at__lte=later(AT, 5)).exists()
        assert [action for action, _ in recorded()] == ["billing.slices.posted"]
        event = AuditEvent.objects.get(action="billing.slices.posted")
        assert event.after["months"] >= due
        assert wallet_moves(subscription.wallet) >= due

    def test_page_of_one(self, fake_billing: FakeBilling, staff: Client):
        begun(fake_billing, price())
        page = text(staff.get(page_of(Slice.objects.get())))
        assert "Small no. 1" in page
        assert "posted" in page

    def test_is_shown_to_support_who_cannot_post(self, fake_billing: FakeBilling):
        begun(fake_billing, price())
        support = signed_in("Support")
        assert "Post what is due…" not in text(support.get(SLICES))
        assert support.get(f"{SLICES}post-due/").status_code == 403

    def test_posts_nothing_twice(self, fake_billing: FakeBilling):
        subscription = begun(fake_billing, price())
        assert post(AT + DAY) == 0
        assert len(moves_of(subscription.wallet)) == 1


def wallet_moves(wallet: Wallet) -> int:
    return len(moves_of(wallet))


class TestTiersOnTheWalletsPage:
    @pytest.fixture(autouse=True)
    def plans(self) -> None:
        growth()

    def test_assign_allot_and_end(self, staff: Client):
        wallet = wallet_of(CustomerFactory())
        page = staff.get(page_of(wallet))
        assert "Put on a tier…" in text(page)
        assert "End the tier…" not in text(page)
        done = sent(staff, page_of(wallet, "assign-tier"), tier="growth")
        assert said(done) == [f"{wallet} is on the tier growth."]
        page = text(staff.get(page_of(wallet)))
        assert "Growth: 2,000 credits every month, by a tier without a payment" in page
        assert said(sent(staff, page_of(wallet, "allot-tier"))) == [
            f"{wallet} was given 2,000 credits."
        ]
        assert len(months_of(wallet)) == 1
        again = sent(staff, page_of(wallet, "allot-tier"))
        assert errors(again) == [
            "The wallet has no credits of its tier to come for this month: it has had them."
        ]
        assert said(sent(staff, page_of(wallet, "end-tier"))) == [
            f"{wallet} is on no tier any more."
        ]
        assert tier_of(wallet) is None

    def test_says_that_many_credits_wait_for_a_second_person(self, staff: Client):
        set_credit_settings(approval_adjustment_above=1_999)
        wallet = wallet_of(CustomerFactory())
        done = sent(staff, page_of(wallet, "assign-tier"), tier="growth")
        assert Approval.objects.get().kind == "billing.assign_tier"
        assert "approv" in said(done)[0] or "second" in said(done)[0]
        assert tier_of(wallet) is None

    def test_asks_for_the_phrase_where_many_credits_move(self, staff: Client):
        set_credit_settings(typed_confirmation_from=2_000)
        wallet = on_tier()
        assert errors(sent(staff, page_of(wallet, "allot-tier"))) == ["This field is required."]
        done = sent(staff, page_of(wallet, "allot-tier"), confirmation="MOVE 2000")
        assert said(done) == [f"{wallet} was given 2,000 credits."]

    def test_is_not_for_support_nor_for_ones_own(self):
        wallet = wallet_of(CustomerFactory())
        support = signed_in("Support")
        assert "Put on a tier…" not in text(support.get(page_of(wallet)))
        assert support.get(page_of(wallet, "assign-tier")).status_code == 403
        actor: User = finance()
        client = Client()
        client.force_login(actor)
        sign_in_now(client, actor)
        own = wallet_of(actor)
        assert "Put on a tier…" not in text(client.get(page_of(own)))
        assert errors(sent(client, page_of(own, "assign-tier"), tier="growth"))
        assert tier_of(own) is None
