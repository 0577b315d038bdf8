from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_erasures"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignInFailures",
            fields=[
                ("key", models.UUIDField(primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField()),
                (
                    "until",
                    models.DateTimeField(help_text="When the count starts again from none."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="KnownAddress",
            fields=[
                (
                    "key",
                    models.UUIDField(
                        help_text="Of the account from the address.",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("account", models.UUIDField(db_index=True)),
                (
                    "until",
                    models.DateTimeField(help_text="When it is forgotten, unless used again."),
                ),
            ],
        ),
    ]
