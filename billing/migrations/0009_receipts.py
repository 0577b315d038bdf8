import django.db.models.deletion
from django.db import migrations, models

GUARDS = """
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON billing_receipt
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE billing_receipt ENABLE ALWAYS TRIGGER never_changed;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_receipt
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE billing_receipt ENABLE ALWAYS TRIGGER never_truncated;
"""
UNGUARD = """
DROP TRIGGER never_changed ON billing_receipt;
DROP TRIGGER never_truncated ON billing_receipt;
"""


class Migration(migrations.Migration):
    """Receipts, and how webhooks came out."""

    dependencies = [
        ("billing", "0008_project_costs"),
    ]

    operations = [
        migrations.CreateModel(
            name="WebhookTally",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[("signed", "Signed"), ("refused", "Refused")],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "about",
                    models.CharField(
                        db_collation="C",
                        help_text="The mark of the secret, or why it was refused.",
                        max_length=100,
                    ),
                ),
                ("count", models.BigIntegerField(default=0)),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "Stripe connection",
                "verbose_name_plural": "Stripe connection",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("outcome", "about"), name="billing_webhooktally_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Receipt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("year", models.PositiveSmallIntegerField()),
                ("number", models.PositiveIntegerField()),
                (
                    "issued_on",
                    models.DateField(help_text="The day of business on which it was credited."),
                ),
                (
                    "seller",
                    models.JSONField(help_text="Who sold it, as the settings said on that day."),
                ),
                (
                    "payment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="receipt",
                        to="billing.payment",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("year", "number"), name="billing_receipt_number_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("issued_on__year", models.F("year")), ("number__gte", 1)
                        ),
                        name="billing_receipt_is_of_its_year",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
