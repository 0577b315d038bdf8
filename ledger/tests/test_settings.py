"""The settings of the credit economy: versions that never change, and who may add one."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.errors import InvalidFields
from accounts.models import Approval
from accounts.services import approvals
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, InvalidRequest, NotPermitted
from creditsite.testing.races import race
from ledger.errors import StaleSettings
from ledger.models import CreditSettings
from ledger.queries.settings import settings_at
from ledger.services.settings import CHANGEABLE, SAFETY, change_settings, switch_credits
from ledger.tests.factories import AT, BEGINNING, DAY, finance, set_credit_settings

REASON = "the board decided so"


def change(actor=None, *, at=AT, version=None, key=None, **changes):
    newest = CreditSettings.objects.order_by("pk").last()
    return change_settings(
        changes=changes,
        version=newest.pk if version is None and newest else version or 0,
        reason=REASON,
        actor=actor or finance(),
        at=at,
        idempotency_key=key,
    )


def approved(approval, at=AT):
    return approvals.approve(approval=approval, checker=finance(), note="looks right", at=at)


@pytest.mark.django_db
class TestSettingsAt:
    def test_are_the_defaults_of_the_design_before_there_is_a_version(self):
        settings = settings_at(AT)
        assert settings.pk is None
        assert (settings.price_per_credit, settings.recovery_cost) == (
            Decimal("0.10"),
            Decimal("0.0183"),
        )
        assert [getattr(settings, name) for name in SAFETY] == [
            10_000,
            100_000,
            1_000_000,
            1_000,
            1_000_000,
            10_000,
        ]
        assert (settings.sign_up_credits, settings.referral_credits) == (0, 0)
        assert settings.credits_enabled

    def test_are_those_of_the_time_that_is_asked_about(self):
        change(sign_up_credits=5)
        change(sign_up_credits=7, at=AT + DAY)
        asked = [AT - timedelta(microseconds=1), AT, AT + DAY]
        assert [settings_at(at).sign_up_credits for at in asked] == [0, 5, 7]


@pytest.mark.django_db
class TestChangeSettings:
    def test_adds_a_version_and_records_what_changed_and_nothing_else(self):
        actor = finance()
        first = change(actor, sign_up_credits=5, price_per_credit=Decimal("0.125"), grace_days=30)
        second = change(actor, award_expiry_days=90, at=AT + DAY)
        assert (second.sign_up_credits, second.award_expiry_days) == (5, 90)
        assert (second.changed_at, second.changed_by) == (AT + DAY, actor)
        assert [(e.action, e.reason, e.before, e.after, e.target_id) for e in events()] == [
            (
                "ledger.settings.changed",
                REASON,
                {"price_per_credit": "0.1", "sign_up_credits": 0},
                {"price_per_credit": "0.125", "sign_up_credits": 5},
                str(first.pk),
            ),
            (
                "ledger.settings.changed",
                REASON,
                {"award_expiry_days": None},
                {"award_expiry_days": 90},
                str(second.pk),
            ),
        ]

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"price_per_credit": Decimal("-0.01")}, "price_per_credit"),
            ({"price_per_credit": Decimal("0.1234567")}, "price_per_credit"),
            ({"recovery_cost": Decimal("1000000")}, "recovery_cost"),
            ({"currency": "usd"}, "currency"),
            ({"currency": "ABC"}, "currency"),
            ({"recovery_currency": ""}, "recovery_currency"),
            ({"agent_revenue_share": Decimal("100.01")}, "agent_revenue_share"),
            ({"agent_revenue_share": 60, "partner_revenue_share": Decimal("40.01")}, "__all__"),
            ({"monthly_day": 0}, "monthly_day"),
            ({"monthly_day": 32}, "monthly_day"),
            ({"sign_up_credits": -1}, "sign_up_credits"),
            ({"sign_up_credits": 1_000_000_001}, "sign_up_credits"),
            ({"sign_up_frequency": "daily"}, "sign_up_frequency"),
            ({"award_expiry_days": 0}, "award_expiry_days"),
            ({"grace_days": 0}, "grace_days"),
            ({"project_cost_refresh_minutes": 0}, "project_cost_refresh_minutes"),
            ({"typed_confirmation_from": 0}, "typed_confirmation_from"),
            ({"largest_balance": 0}, "largest_balance"),
            ({"time_zone": "Europe/Atlantis"}, "time_zone"),
            ({"time_zone": ""}, "time_zone"),
        ],
        ids=lambda value: value if isinstance(value, str) else str([*value.values()][-1]),
    )
    def test_refuses_what_could_not_be(self, wrong, field):
        with pytest.raises(InvalidFields) as refusal:
            change(**wrong)
        assert [*refusal.value.errors] == [field]
        assert CreditSettings.objects.count() == AuditEvent.objects.count() == 0

    def test_takes_the_edges(self):
        change(
            price_per_credit=Decimal(0),
            agent_revenue_share=Decimal("60.01"),
            partner_revenue_share=Decimal("39.99"),
            monthly_day=31,
            time_zone="Pacific/Kiritimati",
            recovery_currency="JPY",
        )

    @pytest.mark.parametrize("name", ["credits_enabled", "changed_at", "id", "nonsense"])
    def test_changes_nothing_but_settings(self, name):
        with pytest.raises(InvalidRequest):
            change(**{name: 1})

    def test_refuses_the_version_of_a_form_that_is_out_of_date(self):
        change(sign_up_credits=5)
        with pytest.raises(StaleSettings):
            change(sign_up_credits=6, version=0)
        assert settings_at(AT).sign_up_credits == 5

    def test_refuses_to_change_nothing(self):
        with pytest.raises(Conflict):
            change(sign_up_credits=0, price_per_credit=Decimal("0.1000"))

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_is_for_finance_and_admin(self, group):
        with pytest.raises(NotPermitted):
            change(StaffFactory(groups=group), sign_up_credits=5)

    def test_is_never_overtaken_by_a_slow_clock(self):
        change(sign_up_credits=5, at=AT + DAY)
        assert change(sign_up_credits=6, at=AT).changed_at == AT + DAY
        assert settings_at(AT + DAY).sign_up_credits == 6

    def test_lets_one_of_two_in_when_both_saw_the_same(self, ledger_db):
        actor = finance()
        outcomes = race(
            lambda: change(actor, sign_up_credits=5, version=0),
            lambda: change(actor, referral_credits=5, version=0),
        )
        assert sorted(outcomes) == ["CreditSettings", "StaleSettings"]
        assert CreditSettings.objects.count() == 1


@pytest.mark.django_db
class TestSafety:
    @pytest.mark.parametrize("name", SAFETY)
    def test_is_loosened_by_two(self, name):
        default = getattr(CreditSettings(), name)
        maker = finance()
        approval = change(maker, key="k", **{name: default + 1})
        assert isinstance(approval, Approval)
        assert CreditSettings.objects.count() == 0
        assert f"{default:,} → {default + 1:,}" in approval.sentence
        assert change(maker, key="k", **{name: default + 1}) == approval
        done = approved(approval, AT + DAY)
        assert done.status == "executed"
        assert getattr(settings_at(AT + DAY), name) == default + 1
        assert getattr(settings_at(AT), name) == default
        event = events().get()
        assert (event.actor_id, event.approval_id) == (maker.pk, approval.pk)
        assert (event.before, event.after) == ({name: default}, {name: default + 1})

    @pytest.mark.parametrize("name", SAFETY)
    def test_is_tightened_by_one(self, name):
        default = getattr(CreditSettings(), name)
        assert isinstance(change(**{name: default - 1}), CreditSettings)

    def test_takes_whatever_was_asked_for_with_it_along(self):
        approval = change(
            largest_balance=2_000_000, price_per_credit=Decimal("0.2"), award_expiry_days=30
        )
        approved(approval)
        settings = settings_at(AT)
        assert (settings.largest_balance, settings.price_per_credit) == (
            2_000_000,
            Decimal("0.2"),
        )
        assert settings.award_expiry_days == 30

    def test_outlives_a_change_of_something_else(self):
        approval = change(largest_balance=2_000_000)
        change(sign_up_credits=5)
        approved(approval)
        settings = settings_at(AT)
        assert (settings.largest_balance, settings.sign_up_credits) == (2_000_000, 5)

    def test_is_not_what_was_read_once_the_same_setting_has_changed(self):
        approval = change(largest_balance=2_000_000)
        change(largest_balance=500_000)
        assert approved(approval).status == "failed"
        assert settings_at(AT).largest_balance == 500_000

    def test_is_not_loosened_by_the_maker_alone(self):
        maker = finance()
        approval = change(maker, largest_balance=2_000_000)
        with pytest.raises(NotPermitted):
            approvals.approve(approval=approval, checker=maker, note="fine by me", at=AT)
        assert settings_at(AT).largest_balance == 1_000_000


@pytest.mark.django_db
class TestSwitchCredits:
    def test_is_a_version_on_record(self):
        actor = StaffFactory()
        change(sign_up_credits=5)
        switch_credits(enabled=False, reason=REASON, actor=actor, at=AT)
        assert not settings_at(AT).credits_enabled
        assert settings_at(AT).sign_up_credits == 5
        switch_credits(enabled=True, reason=REASON, actor=actor, at=AT)
        assert settings_at(AT).credits_enabled
        told = [(e.action, e.before, e.after) for e in events()][1:]
        assert told == [
            (
                "ledger.credits.switched_off",
                {"credits_enabled": True},
                {"credits_enabled": False},
            ),
            ("ledger.credits.switched_on", {"credits_enabled": False}, {"credits_enabled": True}),
        ]

    def test_refuses_what_is_so_already(self):
        with pytest.raises(Conflict):
            switch_credits(enabled=True, reason=REASON, actor=None, at=AT)

    @pytest.mark.parametrize("group", ["Finance", "Support", "Auditor"])
    def test_is_for_admin_alone(self, group):
        with pytest.raises(NotPermitted):
            switch_credits(enabled=False, reason=REASON, actor=StaffFactory(groups=group), at=AT)


@pytest.mark.django_db
class TestVersions:
    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE ledger_creditsettings SET largest_balance = 1",
            "DELETE FROM ledger_creditsettings",
            "TRUNCATE ledger_creditsettings",
        ],
    )
    @pytest.mark.parametrize("role", ["origin", "replica"])
    def test_never_change(self, sql, role):
        set_credit_settings(sign_up_credits=5)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(f"SET LOCAL session_replication_role = {role}")
            with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
                cursor.execute(sql)
        assert settings_at(BEGINNING).sign_up_credits == 5

    @pytest.mark.parametrize(
        "wrong",
        [
            {"monthly_day": 32},
            {"price_per_credit": -1},
            {"agent_revenue_share": 60, "partner_revenue_share": 41},
            {"grace_days": 0},
            {"award_expiry_days": 0},
            {"largest_balance": 0},
        ],
        ids=str,
    )
    def test_are_refused_by_the_database_as_well(self, wrong):
        with pytest.raises(DatabaseError), transaction.atomic():
            set_credit_settings(**wrong)

    def test_are_made_of_all_settings(self):
        """A setting that is forgotten here would fall back to its default with each change."""
        names = {field.name for field in CreditSettings._meta.concrete_fields}
        assert names == {"id", "credits_enabled", "changed_at", "changed_by", *CHANGEABLE}


def events():
    actions = [
        "ledger.settings.changed",
        "ledger.credits.switched_on",
        "ledger.credits.switched_off",
    ]
    return AuditEvent.objects.filter(action__in=actions).order_by("pk")
