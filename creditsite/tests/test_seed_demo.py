from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.models import Team, User
from audit.models import AuditEvent
from creditsite.site.demo.people import SIGN_INS
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
