import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NEVER_TRUNCATED = ["autotopup", "topup"]
GUARDS = "".join(
    f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_{table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();"
    f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_truncated;"
    for table in NEVER_TRUNCATED
)
UNGUARD = "".join(f"DROP TRIGGER never_truncated ON billing_{table};" for table in NEVER_TRUNCATED)


class Migration(migrations.Migration):
    """What users agreed to be charged by itself, and each charge for it."""

    dependencies = [
        ("billing", "0004_tiers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AutoTopUp",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("is_enabled", models.BooleanField(default=False, verbose_name="on")),
                (
                    "threshold",
                    models.BigIntegerField(
                        default=0, help_text="At or below it credits are bought. In whole credits."
                    ),
                ),
                (
                    "amount",
                    models.BigIntegerField(
                        default=0, help_text="That are bought at a time. In whole credits."
                    ),
                ),
                (
                    "monthly_limit",
                    models.BigIntegerField(
                        default=0,
                        help_text="The most that are bought in a month. In whole credits.",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                (
                    "agreed_minor",
                    models.BigIntegerField(
                        default=0,
                        help_text="For one top-up, without tax, as agreed to. In minor units.",
                    ),
                ),
                ("agreed_at", models.DateTimeField(null=True)),
                (
                    "card_id",
                    models.CharField(
                        blank=True, db_collation="C", default="", help_text="pm_…", max_length=255
                    ),
                ),
                ("card_brand", models.CharField(blank=True, default="", max_length=40)),
                (
                    "card_last4",
                    models.CharField(blank=True, db_collation="C", default="", max_length=4),
                ),
                (
                    "card_expires",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="Year and month.",
                        max_length=7,
                    ),
                ),
                (
                    "card_session_id",
                    models.CharField(
                        db_collation="C",
                        help_text="cs_…, to save a card.",
                        max_length=255,
                        null=True,
                        unique=True,
                    ),
                ),
                (
                    "paused_why",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("declined", "the card was declined"),
                            ("authentication", "the bank asks for the cardholder"),
                            ("month", "the monthly limit is reached"),
                            ("burst", "there were many in a day"),
                        ],
                        db_collation="C",
                        default="",
                        max_length=20,
                    ),
                ),
                ("paused_until", models.DateTimeField(null=True)),
                ("failures", models.SmallIntegerField(default=0, help_text="Declines in a row.")),
                (
                    "left_after",
                    models.BigIntegerField(
                        help_text="Credits after the last top-up, where it did not reach the threshold.",
                        null=True,
                    ),
                ),
                (
                    "limit_told_in",
                    models.DateField(help_text="The month in which they were told.", null=True),
                ),
                (
                    "ended_why",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("user", "by the user"),
                            ("staff", "by staff"),
                            ("declined", "the card was declined again and again"),
                            ("card", "the card cannot be used any more"),
                            ("disputed", "a top-up was disputed with the bank"),
                            ("price", "the price has risen"),
                            ("erased", "the user is erased"),
                        ],
                        db_collation="C",
                        default="",
                        max_length=20,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("changed_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "auto top-up",
                "permissions": [("stop_autotopup", "Can switch auto top-ups off")],
            },
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField(help_text="Of those for the same user, from 1 on.")),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("charging", "under way"),
                            ("paid", "Paid"),
                            ("declined", "declined by the bank"),
                            ("authentication", "the bank asked for the cardholder"),
                            ("dropped", "given up, nothing was charged"),
                            ("disputed", "paid, and disputed with the bank"),
                        ],
                        db_collation="C",
                        default="charging",
                        max_length=20,
                    ),
                ),
                (
                    "credits",
                    models.BigIntegerField(
                        default=0, help_text="That are bought. In whole credits."
                    ),
                ),
                (
                    "available",
                    models.BigIntegerField(help_text="Credits that were left when it began."),
                ),
                (
                    "card_id",
                    models.CharField(
                        db_collation="C", help_text="pm_…, that is charged.", max_length=255
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Of the bank, for a refusal.",
                        max_length=100,
                    ),
                ),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("tries", models.IntegerField(default=1)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=2000)),
            ],
            options={
                "verbose_name": "top-up",
            },
        ),
        migrations.AddIndex(
            model_name="paymenteffect",
            index=models.Index(
                condition=models.Q(("effect__in", ["disputed", "lost"])),
                fields=["payment"],
                name="billing_paymenteffect_dispute",
            ),
        ),
        migrations.AddField(
            model_name="autotopup",
            name="own_payment",
            field=models.ForeignKey(
                help_text="That the user is to make themselves, because the bank asks for them.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.payment",
            ),
        ),
        migrations.AddField(
            model_name="autotopup",
            name="user",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="auto_top_up",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="autotopup",
            name="wallet",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="auto_top_up",
                to="ledger.wallet",
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="auto_top_up",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="top_ups",
                to="billing.autotopup",
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="payment",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="top_up",
                to="billing.payment",
            ),
        ),
        migrations.AddIndex(
            model_name="autotopup",
            index=models.Index(
                condition=models.Q(("is_enabled", True)),
                fields=["wallet"],
                name="billing_autotopup_on",
            ),
        ),
        migrations.AddIndex(
            model_name="autotopup",
            index=models.Index(fields=["-changed_at", "-id"], name="billing_autotopup_newest"),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                name="billing_autotopup_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gte", 0),
                    ("failures__gte", 0),
                    ("threshold__gte", 0),
                    ("agreed_minor__gte", 0),
                    ("monthly_limit__gte", 0),
                ),
                name="billing_autotopup_figures_are_possible",
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_enabled", False),
                    models.Q(
                        ("agreed_minor__gte", 1),
                        ("amount__gte", 1),
                        ("monthly_limit__gte", models.F("amount")),
                        ("agreed_at__isnull", False),
                        ("ended_why", ""),
                        models.Q(("card_id", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="billing_autotopup_is_agreed_to",
            ),
        ),
        migrations.AddIndex(
            model_name="topup",
            index=models.Index(
                condition=models.Q(("status", "charging")),
                fields=["next_try_at"],
                name="billing_topup_due",
            ),
        ),
        migrations.AddIndex(
            model_name="topup",
            index=models.Index(fields=["auto_top_up", "began_at"], name="billing_topup_of_a_month"),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at", None), ("next_try_at__isnull", False), ("status", "charging")
                    ),
                    models.Q(
                        ("ended_at__isnull", False),
                        ("next_try_at", None),
                        (
                            "status__in",
                            ["paid", "declined", "authentication", "dropped", "disputed"],
                        ),
                    ),
                    _connector="OR",
                ),
                name="billing_topup_is_under_way_or_not",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.UniqueConstraint(
                fields=("auto_top_up", "number"), name="billing_topup_has_its_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "charging")),
                fields=("auto_top_up",),
                name="billing_topup_one_at_a_time",
            ),
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
