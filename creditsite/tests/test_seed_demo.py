import time
from collections import Counter
from datetime import timedelta
from io import StringIO
from unittest import mock

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.models import Team, User
from audit.models import AuditEvent
from billing.models import (
    Payment,
    Receipt,
    Redemption,
    Refund,
    ReviewItem,
    Slice,
    StripeCustomer,
    StripeEvent,
    Subscription,
)
from billing.services import inbox
from creditsite.site.demo.local_stripe import LocalStripe
from creditsite.site.demo.people import SIGN_INS
from creditsite.site.demo.story import Story
from ledger.choices import HoldStatus, TransactionKind
from ledger.models import (
    AwardRun,
    Batch,
    CreditTransaction,
    Debt,
    Feature,
    FeaturePrice,
    Grant,
    Hold,
    Wallet,
)
from ledger.queries.openings import tie_out_of, ties_out
from ledger.queries.settings import settings_at
from ledger.queries.wallets import pool_of

PASSWORD = "any words will do"


def seed():
    said = StringIO()
    call_command("seed_demo", stdout=said)
    return said.getvalue()


@pytest.fixture
def demo(db, monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", PASSWORD)
    return seed()


def everything():
    models = [User, Team, Feature, FeaturePrice, Wallet, CreditTransaction, Hold, AuditEvent]
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.fixture
def demo_at_stripe(sandbox, door, db, monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", PASSWORD)
    seed()
    return sandbox


def hear(door):
    """Take in the events that came to the door, and handle them."""
    for body, signature in list(door.received):
        inbox.receive_event(body, signature, at=timezone.now())
    inbox.handle_events()


def payments_of(name):
    found = Payment.objects.filter(user__email=f"{name}@example.com").order_by("pk")
    return [(p.status, p.credits, p.charged_minor, p.returned_minor, p.is_disputed) for p in found]


@pytest.mark.once
class TestPurchases:
    """At a local Stripe the demo's purchases are real."""

    def test_are_paid_refunded_and_disputed(self, demo_at_stripe):
        assert payments_of("alice") == [
            ("credited", 400, 4_000, 0, False),
            ("credited", 600, 4_800, 0, False),
        ]
        assert payments_of("bob") == [("credited", 100, 1_000, 1_000, False)]
        assert payments_of("dave") == [
            ("credited", 5_000, 45_000, 0, False),
            ("credited", 7_200, 49_990, 0, False),
        ]
        assert payments_of("erin") == [
            ("credited", 500, 4_900, 4_900, False),
            ("credited", 600, 6_000, 0, False),
        ]
        assert payments_of("frank") == [
            ("credited", 200, 2_000, 1_000, False),
            ("credited", 100, 1_000, 0, True),
        ]
        used = Redemption.objects.order_by("pk").values_list("promotion__code", "status")
        assert list(used) == [("SPRING20", "redeemed"), ("BONUS50", "redeemed")]
        refund = Refund.objects.get()
        assert (refund.status, refund.asked_by.email) == ("succeeded", "finance@example.com")
        matters = ReviewItem.objects.order_by("pk").values_list("kind", "payment__user__email")
        assert set(matters) == {
            ("dispute", "erin@example.com"),
            ("debt", "erin@example.com"),
            ("dispute", "frank@example.com"),
            ("debt", "frank@example.com"),
        }

    def test_are_plans_by_the_month_and_by_the_year(self, demo_at_stripe):
        plans = Subscription.objects.order_by("pk").values_list(
            "user__email", "price__version__offer__code", "price__interval", "status"
        )
        assert list(plans) == [
            ("carol@example.com", "starter", "month", "active"),
            ("dave@example.com", "professional", "year", "active"),
        ]
        paid = Payment.objects.filter(subscription__in=Subscription.objects.all())
        charged = paid.order_by("pk").values_list("user__email", "credits", "charged_minor")
        assert list(charged) == [
            ("carol@example.com", 200, 1_999),
            ("dave@example.com", 7_200, 49_990),
            ("carol@example.com", 200, 1_999),
        ]
        months = Slice.objects.values_list("subscription__user__email", "status")
        assert Counter(months) == {
            ("carol@example.com", "posted"): 2,
            ("dave@example.com", "posted"): 1,
            ("dave@example.com", "due"): 11,
        }
        assert not StripeEvent.objects.exists()

    def test_were_made_on_the_day_that_the_books_say(self, demo_at_stripe):
        at_stripe = {one["id"]: one["created"] for one in demo_at_stripe.objects("payment_intent")}
        here = Payment.objects.filter(invoice_id=None).values_list("intent_id", "paid_at")
        at_stripe = {id: at_stripe[id] for id, _ in here}
        assert {id: int(at.timestamp()) for id, at in here} == {
            id: pytest.approx(created, abs=600) for id, created in at_stripe.items()
        }
        assert demo_at_stripe.order("state", "GET")["now"] == pytest.approx(time.time(), abs=600)

    def test_stay_as_they_are_when_their_events_come(self, demo_at_stripe, door):
        before = everything(), payments_of("erin"), payments_of("frank")
        door.wait_for(len(demo_at_stripe.events()))
        hear(door)
        assert (everything(), payments_of("erin"), payments_of("frank")) == before
        statuses = StripeEvent.objects.values_list("status", flat=True)
        assert set(statuses) == {"done", "ignored"}

    def test_are_not_told_of_before_they_are_in_the_books(self, sandbox, door, db, monkeypatch):
        monkeypatch.setenv("DEMO_PASSWORD", PASSWORD)
        pause, seen = Story.pause, []

        def look(story, *act, **given):
            seen.append(sandbox.order("state", "GET")["deliveries"])
            pause(story, *act, **given)

        monkeypatch.setattr(Story, "pause", look)
        seed()
        assert [list(deliveries) for deliveries in seen] == [["held"]]
        assert "held" not in sandbox.order("state", "GET")["deliveries"]

    def test_are_made_anew_after_a_start_that_was_killed(self, sandbox, door, db, monkeypatch):
        monkeypatch.setenv("DEMO_PASSWORD", PASSWORD)
        with monkeypatch.context() as killed:
            killed.setattr(Story, "pause", mock.Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                seed()
        assert not Payment.objects.exists()
        assert sandbox.order("state", "GET")["objects"].keys() == {"webhook_endpoint"}
        assert door.received == []
        seed()
        intents = Payment.objects.values_list("intent_id", flat=True)
        assert set(intents) == {one["id"] for one in sandbox.objects("payment_intent")}
        assert len(sandbox.objects("customer")) == StripeCustomer.objects.count() == 6
        call_command("check_ledger", stdout=StringIO())

    def test_keep_the_books_true_and_in_the_order_of_time(self, demo_at_stripe):
        call_command("check_ledger", stdout=StringIO())
        times = CreditTransaction.objects.order_by("pk").values_list("recorded_at", flat=True)
        assert list(times) == sorted(times)
        issued = Receipt.objects.order_by("number").values_list("issued_on", flat=True)
        assert len(issued) == Payment.objects.count() == 11
        assert list(issued) == sorted(issued)

    def test_are_what_reconciliation_finds_at_stripe(self, demo_at_stripe):
        call_command("reconcile_stripe", days=70, stdout=StringIO())

    def test_are_not_made_where_there_is_no_local_stripe(self, demo):
        assert not Payment.objects.exists()


class TestLocalStripe:
    def test_stays_where_it_is_when_that_is_past(self, sandbox):
        stripe, at = LocalStripe(), timezone.now() - timedelta(days=40)
        stripe.begin()
        for earlier in [0, 1, 2]:
            stripe.move_to(at - timedelta(seconds=earlier))
        now = sandbox.order("state", "GET")["now"]
        assert now == pytest.approx(at.timestamp(), abs=600)
        stripe.move_to_now()
        stripe.release()


class TestSeedDemo:
    def test_makes_staff_of_each_group_and_a_second_admin(self, demo):
        groups = {
            user.email: [group.name for group in user.groups.all()]
            for user in User.objects.filter(is_staff=True)
        }
        assert groups == {
            "admin@example.com": ["Admin"],
            "admin2@example.com": ["Admin"],
            "finance@example.com": ["Finance"],
            "support@example.com": ["Support"],
            "auditor@example.com": ["Auditor"],
        }
        assert not User.objects.filter(is_superuser=True).exists()

    def test_makes_users_with_roles_and_a_shared_pool(self, demo):
        roles = dict(User.objects.exclude(role=None).values_list("email", "role__code"))
        assert roles == {
            "alice@example.com": "member",
            "bob@example.com": "team_admin",
            "carol@example.com": "member",
            "dave@example.com": "member",
            "erin@example.com": "recruitpro",
            "frank@example.com": "member",
        }
        studio = Team.objects.get(owner__email="bob@example.com")
        pool = pool_of(studio)
        assert pool.user == studio.owner
        assert pool.transactions.filter(actor__email="carol@example.com").exists()
        assert User.objects.get(is_partner=True).email == "dave@example.com"

    def test_makes_the_catalogue(self, demo):
        prices = {
            price.feature.code: (price.unit_price, price.per, price.feature.requires_purchased)
            for price in FeaturePrice.objects.select_related("feature")
        }
        assert prices == {
            "insight.simple": (9, 1, False),
            "analysis.advanced": (25, 1, False),
            "report": (40, 1, False),
            "dashboard.refresh": (3, 1, False),
            "llm.input": (1, 1000, False),
            "llm.output": (3, 1000, False),
            "export.premium": (15, 1, True),
        }
        assert {price.valid_from.year for price in FeaturePrice.objects.all()} == {1970}

    def test_has_something_of_everything_to_show(self, demo):
        kinds = set(CreditTransaction.objects.values_list("kind", flat=True))
        assert kinds == {
            TransactionKind.AWARD,
            TransactionKind.PARTNER,
            TransactionKind.PURCHASE,
            TransactionKind.USAGE,
            TransactionKind.ADJUSTMENT,
            TransactionKind.EXPIRY,
            TransactionKind.CLAWBACK,
            TransactionKind.DEBT_REPAYMENT,
            TransactionKind.REVERSAL,
        }
        assert set(Hold.objects.values_list("status", flat=True)) == {
            HoldStatus.OPEN,
            HoldStatus.CAPTURED,
            HoldStatus.RELEASED,
        }
        assert Grant.objects.filter(is_frozen=True).exists()
        assert {debt.is_open for debt in Debt.objects.all()} == {True, False}
        assert Wallet.objects.get(status="paused").user.email == "frank@example.com"

    def test_shows_the_back_office_at_work(self, demo):
        assert settings_at(timezone.now()).partner_allotment == 100
        runs = AwardRun.objects.select_related("job")
        assert {(run.rule, run.job.status) for run in runs} == {("partner_allotment", "done")}
        assert sum(run.job.result["credits"] for run in runs) >= 100
        opening, by_file, large = Batch.objects.select_related("job", "approval").order_by("pk")
        assert (opening.kind, opening.job.status, by_file.job.status) == ("opening", "done", "done")
        assert ties_out(tie_out_of(opening))
        assert opening.plan["excluded"] == by_file.plan["excluded"]
        assert opening.plan["excluded"] == {"there is no user with this e-mail": 1}
        assert (large.status, large.approval.status) == ("waiting", "waiting")
        assert large.plan["credits"] == 1_200_000

    def test_keeps_the_books_true_and_in_the_order_of_time(self, demo):
        call_command("check_ledger", stdout=StringIO())
        times = CreditTransaction.objects.order_by("pk").values_list("recorded_at", flat=True)
        assert list(times) == sorted(times)

    def test_changes_nothing_when_run_again(self, demo):
        before = everything()
        nothing = "0 features made, 0 offers and promotions, 0 events, 0 passwords set."
        assert seed() == f"Demo: {nothing}\n"
        assert everything() == before

    def test_gives_everyone_the_password_of_the_environment(self, demo, monkeypatch):
        users = User.objects.filter(email__in=SIGN_INS)
        assert [user.check_password(PASSWORD) for user in users] == [True] * 11
        assert PASSWORD not in demo
        monkeypatch.setenv("DEMO_PASSWORD", "another one")
        assert seed().endswith("11 passwords set.\n")
        assert {user.check_password("another one") for user in users.all()} == {True}

    @pytest.mark.django_db
    def test_makes_a_password_and_shows_it_once(self, monkeypatch):
        monkeypatch.delenv("DEMO_PASSWORD", raising=False)
        first = seed().splitlines()[0]
        password = first.removeprefix("Password of every demo sign-in: ")
        assert User.objects.get(email="alice@example.com").check_password(password)
        assert "Password" not in seed()
        assert User.objects.get(email="alice@example.com").check_password(password)
