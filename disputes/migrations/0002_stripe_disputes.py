import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

KEPT = ("paymentdispute", "answer")
KEEP = "".join(
    f"""
CREATE TRIGGER never_deleted BEFORE DELETE ON disputes_{table}
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON disputes_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE disputes_{table} ENABLE ALWAYS TRIGGER never_deleted;
ALTER TABLE disputes_{table} ENABLE ALWAYS TRIGGER never_truncated;
"""
    for table in KEPT
)
UNKEEP = "".join(
    f"DROP TRIGGER never_deleted ON disputes_{table};"
    f"DROP TRIGGER never_truncated ON disputes_{table};"
    for table in KEPT
)


class Migration(migrations.Migration):
    """Disputes of payments, as Stripe has them, and what we answered."""

    dependencies = [
        ("disputes", "0001_disputes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PaymentDispute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "dispute_id",
                    models.CharField(
                        db_collation="C", help_text="du_…", max_length=255, unique=True
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("warning_needs_response", "inquiry, to be answered"),
                            ("warning_under_review", "inquiry, answered"),
                            ("warning_closed", "inquiry, closed"),
                            ("needs_response", "to be answered"),
                            ("under_review", "answered, the bank decides"),
                            ("prevented", "Prevented"),
                            ("won", "Won"),
                            ("lost", "Lost"),
                        ],
                        db_collation="C",
                        max_length=30,
                    ),
                ),
                ("reason", models.CharField(help_text="In Stripe's words.", max_length=60)),
                ("amount_minor", models.BigIntegerField(help_text="With tax, in minor units.")),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                ("has_evidence", models.BooleanField(default=False)),
                (
                    "evidence_due_at",
                    models.DateTimeField(help_text="Until when it can be contested.", null=True),
                ),
                ("opened_at", models.DateTimeField(help_text="At Stripe.")),
                ("read_at", models.DateTimeField(help_text="When it was read there last.")),
                (
                    "approval",
                    models.OneToOneField(
                        help_text="That accepting it waits for.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.approval",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="billing.payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "dispute of a payment",
                "verbose_name_plural": "disputes of payments",
                "permissions": [
                    ("answer_paymentdispute", "Can accept and contest disputes of payments")
                ],
            },
        ),
        migrations.CreateModel(
            name="Answer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "answered_status",
                    models.CharField(
                        choices=[
                            ("warning_needs_response", "inquiry, to be answered"),
                            ("warning_under_review", "inquiry, answered"),
                            ("warning_closed", "inquiry, closed"),
                            ("needs_response", "to be answered"),
                            ("under_review", "answered, the bank decides"),
                            ("prevented", "Prevented"),
                            ("won", "Won"),
                            ("lost", "Lost"),
                        ],
                        db_collation="C",
                        max_length=30,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("accept", "accept it: the money goes back"),
                            ("contest", "contest it with evidence"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                ("evidence", models.JSONField(default=dict)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("asked_at", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "on its way to Stripe"),
                            ("sent", "Sent"),
                            ("refused", "refused by Stripe"),
                        ],
                        db_collation="C",
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("tries", models.IntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=2000)),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dispute",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="answers",
                        to="disputes.paymentdispute",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="paymentdispute",
            index=models.Index(
                condition=models.Q(("status__in", ("needs_response", "warning_needs_response"))),
                fields=["evidence_due_at", "id"],
                name="disputes_paymentdispute_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentdispute",
            index=models.Index(fields=["-opened_at", "-id"], name="disputes_paymentdispute_newest"),
        ),
        migrations.AddConstraint(
            model_name="paymentdispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                name="disputes_paymentdispute_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentdispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)),
                name="disputes_paymentdispute_is_of_money",
            ),
        ),
        migrations.AddIndex(
            model_name="answer",
            index=models.Index(
                condition=models.Q(("status", "waiting")),
                fields=["next_try_at"],
                name="disputes_answer_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="answer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_try_at__isnull", False), ("status", "waiting")),
                    models.Q(("next_try_at", None), ("status__in", ["sent", "refused"])),
                    _connector="OR",
                ),
                name="disputes_answer_is_tried_until_sent",
            ),
        ),
        migrations.AddConstraint(
            model_name="answer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "waiting")),
                fields=("dispute",),
                name="disputes_answer_one_waits",
            ),
        ),
        migrations.RunSQL(KEEP, UNKEEP),
    ]
