import uuid
from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

GUARDS = Path(__file__).resolve().parent.parent / "sql" / "batches.sql"
UNGUARD = """
DROP FUNCTION ledger_batch_guard() CASCADE;
DROP FUNCTION ledger_batch_lines_guard() CASCADE;
DROP FUNCTION ledger_batch_lines_stay() CASCADE;
"""


class Migration(migrations.Migration):
    """Batches, and what guards that they stay what was confirmed."""

    dependencies = [
        ("accounts", "0009_addresses_in_step"),
        ("ledger", "0008_credit_settings"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("add", "Add"),
                            ("deduct", "Deduct"),
                            ("opening", "opening balances"),
                            ("reversal", "Reversal"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "credit_type",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("award", "Award"),
                            ("partner", "Partner"),
                            ("purchase", "Purchase"),
                        ],
                        db_collation="C",
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "amount",
                    models.BigIntegerField(help_text="For each wallet; null: its own.", null=True),
                ),
                ("selection", models.JSONField(help_text="Which wallets, as they were chosen.")),
                (
                    "policy",
                    models.CharField(
                        choices=[("skip", "leave it alone"), ("take", "take what is there")],
                        db_collation="C",
                        default="skip",
                        max_length=10,
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(help_text="Of the credits that it adds.", null=True),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("planned", "Planned"),
                            ("waiting", "waiting for approval"),
                            ("started", "Started"),
                            ("discarded", "Discarded"),
                        ],
                        db_collation="C",
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("planned_at", models.DateTimeField(null=True)),
                ("plan_expires_at", models.DateTimeField(null=True)),
                ("plan_hash", models.CharField(blank=True, max_length=64)),
                ("plan", models.JSONField(default=dict, help_text="What it will do, in figures.")),
                ("confirmed_at", models.DateTimeField(null=True)),
                (
                    "approval",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="batch",
                        to="accounts.approval",
                    ),
                ),
                (
                    "job",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="batch",
                        to="accounts.job",
                    ),
                ),
                (
                    "maker",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reverses",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reversals",
                        to="ledger.batch",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "batches",
                "permissions": [
                    ("run_batch", "Can plan, confirm and reverse batches"),
                    ("control_batch", "Can pause, resume and cancel batches"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "discarded"), _negated=True),
                        fields=("reverses",),
                        name="ledger_batch_is_reversed_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BatchException",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("line", models.IntegerField(help_text="Of the uploaded file, from 1.", null=True)),
                (
                    "credit_type",
                    models.CharField(blank=True, db_collation="C", default="", max_length=10),
                ),
                ("amount", models.BigIntegerField(null=True)),
                (
                    "paid_minor",
                    models.BigIntegerField(default=0, help_text="Paid for them, in minor units."),
                ),
                (
                    "currency",
                    models.CharField(blank=True, db_collation="C", default="", max_length=3),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True, default="", help_text="The line's reason.", max_length=500
                    ),
                ),
                (
                    "is_at_run",
                    models.BooleanField(default=False, help_text="Not moved when it ran."),
                ),
                ("why", models.CharField(max_length=200)),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="exceptions",
                        to="ledger.batch",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.wallet",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(models.F("batch"), models.F("id"), name="ledger_batchexception_of")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("line", None), ("wallet", None), _negated=True),
                        name="ledger_batchexception_is_of_something",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_at_run", True)),
                        fields=("batch", "wallet", "credit_type"),
                        name="ledger_batchexception_is_one_at_run",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BatchItem",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "batch_id",
                        "wallet_id",
                        "credit_type",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "credit_type",
                    models.CharField(
                        choices=[
                            ("award", "Award"),
                            ("partner", "Partner"),
                            ("purchase", "Purchase"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "amount",
                    models.BigIntegerField(
                        help_text="Whole credits, above zero: the most that moves."
                    ),
                ),
                (
                    "paid_minor",
                    models.BigIntegerField(default=0, help_text="Paid for them, in minor units."),
                ),
                (
                    "currency",
                    models.CharField(blank=True, db_collation="C", default="", max_length=3),
                ),
                ("line", models.IntegerField(help_text="Of the uploaded file, from 1.", null=True)),
                (
                    "note",
                    models.CharField(
                        blank=True, default="", help_text="The line's reason.", max_length=500
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="items",
                        to="ledger.batch",
                    ),
                ),
                (
                    "reverses",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.credittransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.wallet",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("paid_minor__gte", 0)),
                        name="ledger_batchitem_moves_something",
                    )
                ],
            },
        ),
        migrations.RunSQL(GUARDS.read_text(), UNGUARD),
    ]
