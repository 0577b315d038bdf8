import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """What a purchase was asked for, so that it is begun once, and ended if nobody pays."""

    dependencies = [
        ("billing", "0009_receipts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="payment",
            options={
                "permissions": [
                    ("refund_payment", "Can refund payments"),
                    ("credit_payment", "Can give credits for payments that are held back"),
                ]
            },
        ),
        migrations.AddField(
            model_name="payment",
            name="fingerprint",
            field=models.UUIDField(
                editable=False, help_text="Of the same request, if it was a purchase.", null=True
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="price",
            field=models.ForeignKey(
                db_index=False,
                help_text="Of the package, if it was one.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.offerprice",
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("fingerprint__isnull", False), ("status", "open")),
                fields=["created_at"],
                name="billing_payment_open",
            ),
        ),
    ]
