from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0006_the_engine_acts_as_its_owner"),
    ]

    operations = [
        migrations.CreateModel(
            name="Rollup",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("before", models.UUIDField()),
                ("next_before", models.UUIDField()),
                ("next_xid", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="DailySpending",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("caller", models.CharField(max_length=40)),
                ("day", models.DateField()),
                ("spent", models.BigIntegerField(help_text="Whole credits.")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("caller", "day"), name="ledger_dailyspending_is_one_a_day"
                    )
                ],
            },
        ),
    ]
