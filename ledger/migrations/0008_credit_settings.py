from decimal import Decimal
from pathlib import Path

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"
ENGINE = "\n".join((SQL / f"{name}.sql").read_text() for name in ("draw", "hold")).replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
# Where a spend and a new hold look whether credits are switched off.
LOOK = "(SELECT NOT credits_enabled FROM ledger_creditsettings ORDER BY id DESC LIMIT 1)"

GUARD = """
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON ledger_creditsettings
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_creditsettings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE ledger_creditsettings ENABLE ALWAYS TRIGGER never_changed;
ALTER TABLE ledger_creditsettings ENABLE ALWAYS TRIGGER never_truncated;
"""
UNGUARD = """
DROP TRIGGER never_truncated ON ledger_creditsettings;
DROP TRIGGER never_changed ON ledger_creditsettings;
"""


class Migration(migrations.Migration):
    """
    Settings in versions that never change, and an engine that obeys the switch among them.

    A fresh database has the functions of today from 0003 already; there this changes nothing.
    """

    dependencies = [
        ("ledger", "0007_daily_spending"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="grant",
            name="source",
            field=models.CharField(
                choices=[
                    ("allotment", "role allotment"),
                    ("sign_up", "sign-up award"),
                    ("referral", "referral award"),
                    ("partner_allotment", "partner allotment"),
                    ("promotion", "promotion code"),
                    ("batch", "bulk adjustment"),
                    ("opening", "opening balance"),
                    ("manual", "entered by staff"),
                    ("package", "package bought"),
                    ("carry_over", "carried over from an expired grant"),
                ],
                db_collation="C",
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="CreditSettings",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "price_per_credit",
                    models.DecimalField(
                        decimal_places=6,
                        default=Decimal("0.10"),
                        help_text="What a user pays.",
                        max_digits=12,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C",
                        default="USD",
                        help_text="Of that price, by ISO 4217.",
                        max_length=3,
                    ),
                ),
                (
                    "recovery_cost",
                    models.DecimalField(
                        decimal_places=6,
                        default=Decimal("0.0183"),
                        help_text="What a credit that is used costs us.",
                        max_digits=12,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "recovery_currency",
                    models.CharField(
                        db_collation="C",
                        default="ZAR",
                        help_text="Of that cost, by ISO 4217.",
                        max_length=3,
                    ),
                ),
                (
                    "low_credit_threshold",
                    models.BigIntegerField(
                        default=100,
                        help_text="Who falls below it is told. 0: nobody is.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="low-credit threshold",
                    ),
                ),
                (
                    "sign_up_credits",
                    models.BigIntegerField(
                        default=0,
                        help_text="For each new user, on top of the role's allotment.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="sign-up credits",
                    ),
                ),
                (
                    "sign_up_frequency",
                    models.CharField(
                        choices=[("once", "Once"), ("monthly", "every month")],
                        db_collation="C",
                        default="once",
                        help_text="Once, or every month anew.",
                        max_length=10,
                        verbose_name="sign-up credits come",
                    ),
                ),
                (
                    "monthly_day",
                    models.SmallIntegerField(
                        default=1,
                        help_text="Day of monthly awards; the last of a shorter month.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(31),
                        ],
                    ),
                ),
                (
                    "referral_credits",
                    models.BigIntegerField(
                        default=0,
                        help_text="For the referrer of a new user.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="referral credits",
                    ),
                ),
                (
                    "referral_monthly_limit",
                    models.IntegerField(
                        default=10,
                        help_text="Referrals of one user that are awarded in a month.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000),
                        ],
                        verbose_name="referrals a month",
                    ),
                ),
                (
                    "partner_allotment",
                    models.BigIntegerField(
                        default=0,
                        help_text="Partner credits for each partner, every month.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="partner allotment",
                    ),
                ),
                (
                    "award_expiry_days",
                    models.IntegerField(
                        blank=True,
                        help_text="From an automated award to its expiry. Empty: for ever.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                        verbose_name="awards last, in days",
                    ),
                ),
                (
                    "grace_days",
                    models.IntegerField(
                        default=30,
                        help_text="How long credits last that are put back after they expired.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                        verbose_name="days of grace",
                    ),
                ),
                (
                    "agent_revenue_share",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="In percent.",
                        max_digits=5,
                        validators=[
                            django.core.validators.MinValueValidator(Decimal("0")),
                            django.core.validators.MaxValueValidator(Decimal("100")),
                        ],
                        verbose_name="revenue share of agents",
                    ),
                ),
                (
                    "partner_revenue_share",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="In percent; agents and partners get 100 at the most.",
                        max_digits=5,
                        validators=[
                            django.core.validators.MinValueValidator(Decimal("0")),
                            django.core.validators.MaxValueValidator(Decimal("100")),
                        ],
                        verbose_name="revenue share of partners",
                    ),
                ),
                (
                    "project_cost_refresh_minutes",
                    models.IntegerField(
                        default=60,
                        help_text="In minutes between two looks at them.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(10080),
                        ],
                        verbose_name="refresh of project costs",
                    ),
                ),
                (
                    "typed_confirmation_from",
                    models.BigIntegerField(
                        default=10000,
                        help_text="Credits that are moved at once.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="typed phrase from",
                    ),
                ),
                (
                    "approval_adjustment_above",
                    models.BigIntegerField(
                        default=100000,
                        help_text="Credits; more take a second person.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="adjustment approved above",
                    ),
                ),
                (
                    "approval_batch_credits_above",
                    models.BigIntegerField(
                        default=1000000,
                        help_text="Credits in all; more take a second person.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000000000),
                        ],
                        verbose_name="batch approved above, credits",
                    ),
                ),
                (
                    "approval_batch_wallets_above",
                    models.BigIntegerField(
                        default=1000,
                        help_text="More wallets in one batch take a second person.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="batch approved above, wallets",
                    ),
                ),
                (
                    "largest_balance",
                    models.BigIntegerField(
                        default=1000000,
                        help_text="The most credits of a type that staff bring a wallet to.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000000000),
                        ],
                        verbose_name="largest balance",
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC",
                        help_text="In which days and months of business begin.",
                        max_length=64,
                    ),
                ),
                (
                    "credits_enabled",
                    models.BooleanField(
                        default=True,
                        help_text="Off: no spends, holds or sales; all else goes on.",
                        verbose_name="credits",
                    ),
                ),
                ("changed_at", models.DateTimeField()),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "credit settings",
                "permissions": [
                    ("switch_credits", "Can switch all spending of credits off and on")
                ],
                "indexes": [models.Index(fields=["changed_at"], name="ledger_creditsettings_at")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("monthly_day__range", (1, 31))),
                        name="ledger_creditsettings_day_of_month",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("agent_revenue_share__gte", 0),
                            ("partner_revenue_share__gte", 0),
                            ("price_per_credit__gte", 0),
                            ("recovery_cost__gte", 0),
                            (
                                "agent_revenue_share__lte",
                                django.db.models.expressions.CombinedExpression(
                                    models.Value(100), "-", models.F("partner_revenue_share")
                                ),
                            ),
                        ),
                        name="ledger_creditsettings_money_is_possible",
                        violation_error_message="Agents and partners together get 100 percent at the most.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approval_adjustment_above__gte", 0),
                            ("approval_batch_credits_above__gte", 0),
                            ("approval_batch_wallets_above__gte", 0),
                            ("grace_days__gte", 1),
                            ("largest_balance__gte", 1),
                            ("low_credit_threshold__gte", 0),
                            ("partner_allotment__gte", 0),
                            ("project_cost_refresh_minutes__gte", 1),
                            ("referral_credits__gte", 0),
                            ("referral_monthly_limit__gte", 0),
                            ("sign_up_credits__gte", 0),
                            ("typed_confirmation_from__gte", 1),
                            models.Q(
                                ("award_expiry_days", None),
                                ("award_expiry_days__gte", 1),
                                _connector="OR",
                            ),
                        ),
                        name="ledger_creditsettings_figures_are_possible",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.RunSQL(ENGINE, ENGINE.replace(LOOK, "false")),
    ]
