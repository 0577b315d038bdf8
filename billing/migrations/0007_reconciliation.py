import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLES = ["break", "reconciliation"]
GUARDS = "".join(
    f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_{table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();"
    f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_truncated;"
    for table in TABLES
)
UNGUARD = "".join(f"DROP TRIGGER never_truncated ON billing_{table};" for table in TABLES)


class Migration(migrations.Migration):
    """Comparisons of Stripe with the books, and what differs."""

    dependencies = [
        ("billing", "0006_revenue_share"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Reconciliation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "to be done"),
                            ("running", "under way"),
                            ("done", "Done"),
                            ("failed", "not finished"),
                        ],
                        db_collation="C",
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("is_nightly", models.BooleanField(default=False)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("asked_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                (
                    "beat_at",
                    models.DateTimeField(help_text="When its worker was last heard of.", null=True),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "payments",
                    models.BigIntegerField(default=0, help_text="Of Stripe's, looked at."),
                ),
                (
                    "under_way",
                    models.BigIntegerField(
                        default=0, help_text="That differ while they are settled."
                    ),
                ),
                (
                    "breaks",
                    models.BigIntegerField(
                        default=0, help_text="Open at its end, and not explained."
                    ),
                ),
                (
                    "new_breaks",
                    models.BigIntegerField(default=0, help_text="Of those, not known before."),
                ),
                (
                    "figures",
                    models.JSONField(default=dict, help_text="Minor units by day and currency."),
                ),
                ("error", models.CharField(blank=True, default="", max_length=2000)),
            ],
            options={
                "permissions": [("run_reconciliation", "Can have payments reconciled")],
                "indexes": [
                    models.Index(fields=["-asked_at", "-id"], name="billing_reconciliation_newest")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("since__lt", models.F("until")),
                            ("status__in", ["waiting", "running", "done", "failed"]),
                        ),
                        name="billing_reconciliation_is_of_some_time",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "running")),
                        fields=("status",),
                        name="billing_reconciliation_one_runs",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Break",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("unknown", "Paid at Stripe, unknown here"),
                            ("not_credited", "Paid at Stripe, not received here"),
                            ("ended", "Paid at Stripe, ended here"),
                            ("not_paid", "Received here, not paid at Stripe"),
                            ("amount", "Another amount was paid than is booked"),
                            ("currency", "It was paid in another currency"),
                            ("customer", "Another customer paid it"),
                            ("tax", "The tax differs"),
                            ("grant", "The credits given are not those that were bought"),
                            ("double", "Credited twice"),
                            ("no_payment", "Credits of a sale without a payment"),
                            ("unreviewed", "Held back, and nobody was asked to look"),
                            ("invoice", "An invoice is paid at Stripe, unknown here"),
                            ("slices", "The months of an invoice are not what was paid for"),
                            ("refund_missing", "Refunded at Stripe, unknown here"),
                            ("refund_unknown", "Refunded here, unknown at Stripe"),
                            ("refund_amount", "The amounts of a refund differ"),
                            ("refund_state", "A refund stands otherwise at Stripe"),
                            ("refund_late", "A refund is not at Stripe yet"),
                            ("dispute_missing", "Disputed at Stripe, unknown here"),
                            ("dispute_unknown", "Disputed here, unknown at Stripe"),
                            ("dispute_amount", "The amounts of a dispute differ"),
                            ("dispute_state", "A dispute stands otherwise at Stripe"),
                            ("returned", "What went back is counted wrong"),
                            ("clawback", "Credits did not follow the money that went back"),
                            (
                                "frozen",
                                "Credits are frozen without a chargeback, or not despite one",
                            ),
                            ("foreign", "Of another account or mode"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "object_id",
                    models.CharField(
                        db_collation="C",
                        help_text="What it is about, at Stripe or here.",
                        max_length=255,
                    ),
                ),
                (
                    "intent_id",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="pi_…, of its payment.",
                        max_length=255,
                    ),
                ),
                ("stripe_says", models.CharField(max_length=300)),
                ("books_say", models.CharField(max_length=300)),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("gone_at", models.DateTimeField(null=True)),
                ("explained_at", models.DateTimeField(null=True)),
                ("explanation", models.CharField(blank=True, default="", max_length=500)),
                (
                    "explained_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="breaks",
                        to="billing.payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "break",
                "permissions": [
                    ("explain_break", "Can say why a break may stay"),
                    ("settle_break", "Can have the payment of a break settled"),
                ],
                "indexes": [
                    models.Index(fields=["-first_seen_at", "-id"], name="billing_break_newest"),
                    models.Index(
                        condition=models.Q(("gone_at", None)),
                        fields=["intent_id"],
                        name="billing_break_open_of",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("explained_at", None), ("explained_by", None), ("explanation", "")
                            ),
                            ("explained_at__isnull", False),
                            _connector="OR",
                        ),
                        name="billing_break_is_explained_or_not",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("gone_at", None)),
                        fields=("kind", "object_id"),
                        name="billing_break_open_once",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
