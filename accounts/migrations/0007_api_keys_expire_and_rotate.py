import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_approvals"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="daily_cap",
            field=models.BigIntegerField(
                blank=True,
                help_text="Whole credits it may spend in a day of UTC; no limit if left out.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="last_used_address",
            field=models.GenericIPAddressField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="last_used_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="replaces",
            field=models.OneToOneField(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="replaced_by",
                to="accounts.apikey",
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="created_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        # A key without an end gets the year that a new one has.
        migrations.RunSQL(
            "UPDATE accounts_apikey SET expires_at = now() + interval '365 days'"
            " WHERE expires_at IS NULL",
            migrations.RunSQL.noop,
        ),
        migrations.AlterField(
            model_name="apikey",
            name="expires_at",
            field=models.DateTimeField(help_text="At most a year ahead, and so if left out."),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("daily_cap", None), ("daily_cap__gt", 0), _connector="OR"),
                name="accounts_apikey_cap_is_above_zero",
            ),
        ),
    ]
