import django.core.validators
from django.db import migrations, models


def within(lowest, highest):
    return [
        django.core.validators.MinValueValidator(lowest),
        django.core.validators.MaxValueValidator(highest),
    ]


class Migration(migrations.Migration):
    """How long a charge can be disputed, how long that may take, and what takes two people."""

    dependencies = [
        ("ledger", "0013_settings_of_plans"),
    ]

    operations = [
        migrations.AddField(
            model_name="creditsettings",
            name="approval_dispute_above",
            field=models.BigIntegerField(
                default=10_000,
                help_text="Credits; more take a second person.",
                validators=within(0, 1_000_000_000),
                verbose_name="refund of a dispute approved above",
            ),
        ),
        migrations.AddField(
            model_name="creditsettings",
            name="dispute_days",
            field=models.IntegerField(
                default=30,
                help_text="How long a charge can be disputed, and a decision be appealed.",
                validators=within(1, 3_650),
                verbose_name="days to dispute",
            ),
        ),
        migrations.AddField(
            model_name="creditsettings",
            name="dispute_review_hours",
            field=models.IntegerField(
                default=48,
                help_text="In which a dispute is to be decided; later it is overdue.",
                validators=within(1, 8_760),
                verbose_name="hours to review",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditsettings",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approval_dispute_above__gte", 0),
                    ("dispute_days__gte", 1),
                    ("dispute_review_hours__gte", 1),
                ),
                name="ledger_creditsettings_disputes_are_possible",
            ),
        ),
    ]
