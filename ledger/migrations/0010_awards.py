import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_addresses_in_step"),
        ("ledger", "0009_batches"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="AwardRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "rule",
                    models.CharField(
                        choices=[
                            ("sign_up", "Sign-up credits"),
                            ("partner_allotment", "Partner allotment"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                ("period", models.DateField(help_text="The first day of its month.")),
                ("due_at", models.DateTimeField()),
                (
                    "amount",
                    models.BigIntegerField(help_text="For each wallet, in whole credits."),
                ),
                (
                    "expiry_days",
                    models.IntegerField(
                        help_text="Days that they last from when they are given. Empty: for ever.",
                        null=True,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="award_run",
                        to="accounts.job",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "awards",
                "permissions": [("run_awards", "Can run the awards that are due")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("rule", "period"), name="ledger_awardrun_is_one_a_period"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("period__day", 1)),
                        name="ledger_awardrun_gives_for_a_month",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Referral",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "period",
                    models.DateField(
                        help_text="The first day of the month whose limit it counts for."
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("awarded", "Awarded"),
                            ("over_limit", "over the monthly limit"),
                            ("own_address", "an address of the referrer's own"),
                            ("known", "the address was awarded before"),
                            ("not_active", "the referrer takes no awards"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "credits",
                    models.BigIntegerField(
                        default=0, help_text="Given to the referrer. In whole credits."
                    ),
                ),
                ("registered_at", models.DateTimeField()),
                (
                    "referred",
                    models.OneToOneField(
                        help_text="Empty once erased.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "referrer",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["referrer", "period"], name="ledger_referral_of_month")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("credits__gt", 0), ("outcome", "awarded")),
                            models.Q(
                                models.Q(("outcome", "awarded"), _negated=True), ("credits", 0)
                            ),
                            _connector="OR",
                        ),
                        name="ledger_referral_is_awarded_or_not",
                    )
                ],
            },
        ),
    ]
