import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """When owners are told of a renewal; and grants that plans bring."""

    dependencies = [("ledger", "0012_low_credit")]
    operations = [
        migrations.AddField(
            model_name="creditsettings",
            name="renewal_reminder_days",
            field=models.IntegerField(
                default=3,
                help_text="So long before a subscription renews its owner is told. 0: nobody is.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(27),
                ],
                verbose_name="renewal reminder, in days",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditsettings",
            constraint=models.CheckConstraint(
                condition=models.Q(("renewal_reminder_days__range", (0, 27))),
                name="ledger_creditsettings_reminder_is_possible",
            ),
        ),
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
                    ("plan", "plan, month by month"),
                    ("carry_over", "carried over from an expired grant"),
                ],
                db_collation="C",
                max_length=20,
            ),
        ),
    ]
