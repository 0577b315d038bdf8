import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0011_figures")]
    operations = [
        migrations.CreateModel(
            name="LowCredit",
            fields=[
                (
                    "wallet",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="low_credit",
                        serialize=False,
                        to="ledger.wallet",
                    ),
                ),
                ("is_low", models.BooleanField()),
                (
                    "owes_notice",
                    models.BooleanField(help_text="It fell below, and nobody was told yet."),
                ),
                ("notified_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("owes_notice", True)),
                        fields=["wallet"],
                        name="ledger_lowcredit_to_tell",
                    )
                ],
            },
        ),
    ]
