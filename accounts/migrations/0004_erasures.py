from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_outbox")]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("user_id", models.BigIntegerField(unique=True)),
                ("identity", models.UUIDField()),
                ("erased_at", models.DateTimeField()),
                (
                    "listed_at",
                    models.DateTimeField(
                        help_text="When it was appended to the list outside of the database.",
                        null=True,
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("erase_user", "Can ask for the erasure of a user's personal data"),
                    ("export_user", "Can export the personal data of a user"),
                ],
            },
        ),
    ]
