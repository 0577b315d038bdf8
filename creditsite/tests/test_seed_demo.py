from io import StringIO

import pytest
from django.core.management import call_command

from accounts.models import Team, User
from audit.models import AuditEvent
from creditsite.site.demo.people import SIGN_INS
from ledger.choices import HoldStatus, TransactionKind
from ledger.models import CreditTransaction, Debt, Feature, FeaturePrice, Grant, Hold, Wallet
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
    def test_makes_staff_one_in_each_group(self, demo):
        groups = {
            user.email: [group.name for group in user.groups.all()]
            for user in User.objects.filter(is_staff=True)
        }
        assert groups == {
            "admin@example.com": ["Admin"],
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

    def test_keeps_the_books_true_and_in_the_order_of_time(self, demo):
        call_command("check_ledger", stdout=StringIO())
        times = CreditTransaction.objects.order_by("pk").values_list("recorded_at", flat=True)
        assert list(times) == sorted(times)

    def test_changes_nothing_when_run_again(self, demo):
        before = everything()
        assert seed() == "Demo: 0 features made, 0 events, 0 passwords set.\n"
        assert everything() == before

    def test_gives_everyone_the_password_of_the_environment(self, demo, monkeypatch):
        users = User.objects.filter(email__in=SIGN_INS)
        assert [user.check_password(PASSWORD) for user in users] == [True] * 10
        assert PASSWORD not in demo
        monkeypatch.setenv("DEMO_PASSWORD", "another one")
        assert seed().endswith("10 passwords set.\n")
        assert {user.check_password("another one") for user in users.all()} == {True}

    @pytest.mark.django_db
    def test_makes_a_password_and_shows_it_once(self, monkeypatch):
        monkeypatch.delenv("DEMO_PASSWORD", raising=False)
        first = seed().splitlines()[0]
        password = first.removeprefix("Password of every demo sign-in: ")
        assert User.objects.get(email="alice@example.com").check_password(password)
        assert "Password" not in seed()
        assert User.objects.get(email="alice@example.com").check_password(password)
