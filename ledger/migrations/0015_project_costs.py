from decimal import Decimal

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """The margin on project costs, and what finds the usage of a project."""

    dependencies = [
        ("ledger", "0014_settings_of_disputes"),
    ]

    operations = [
        migrations.AddField(
            model_name="creditsettings",
            name="project_cost_margin",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal("0"),
                help_text="In percent, on top of their money when they become credits.",
                max_digits=5,
                validators=[
                    django.core.validators.MinValueValidator(Decimal("0")),
                    django.core.validators.MaxValueValidator(Decimal("100")),
                ],
                verbose_name="margin on project costs",
            ),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=models.Index(
                condition=models.Q(("project", ""), _negated=True),
                fields=["wallet", "project", "recorded_at"],
                name="ledger_transaction_of_project",
            ),
        ),
    ]
