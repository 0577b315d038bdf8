import uuid

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_roles_and_staff_groups")]

    operations = [
        migrations.CreateModel(
            name="Email",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "message_id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        help_text="The same in each try, so that a second copy is recognised.",
                    ),
                ),
                ("sender", models.CharField(max_length=320)),
                ("recipient", models.CharField(max_length=254)),
                ("subject", models.CharField(max_length=250)),
                ("text", models.TextField(blank=True)),
                ("html", models.TextField(blank=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("sent", "Sent"),
                            ("failed", "Given up"),
                            ("kept", "Kept here"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(null=True)),
                ("text_erased_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "e-mail",
                "permissions": [("resend_email", "Can send an e-mail again")],
                "indexes": [
                    models.Index(
                        condition=Q(status="waiting"),
                        fields=["next_try_at"],
                        name="accounts_email_waiting",
                    ),
                    models.Index(
                        fields=["recipient", "-created_at"], name="accounts_email_of_recipient"
                    ),
                    models.Index(fields=["created_at"], name="accounts_email_by_age"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(status="waiting", next_try_at__isnull=False)
                        | ~Q(status="waiting") & Q(next_try_at=None),
                        name="accounts_email_waits_for_a_try",
                    )
                ],
            },
        ),
    ]
