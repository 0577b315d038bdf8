import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLES = ["projectaccount", "projectdebit", "projectcost"]
GUARDS = (
    # What was told of a cost, and what was taken for it, never changes; what became of it may.
    """
    CREATE FUNCTION billing_refuse_another_cost() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'a cost of a project never changes, and becomes credits once'
            USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER never_another BEFORE UPDATE ON billing_projectcost FOR EACH ROW WHEN (
        (OLD.account_id, OLD.key, OLD.fingerprint, OLD.amount_minor, OLD.period, OLD.recorded_at)
        IS DISTINCT FROM
        (NEW.account_id, NEW.key, NEW.fingerprint, NEW.amount_minor, NEW.period, NEW.recorded_at)
        OR OLD.status <> 'waiting' AND OLD.status <> NEW.status
        OR OLD.debit_id IS NOT NULL AND OLD.debit_id IS DISTINCT FROM NEW.debit_id
    ) EXECUTE FUNCTION billing_refuse_another_cost();
    CREATE TRIGGER never_deleted BEFORE DELETE ON billing_projectcost
        FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
    CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON billing_projectdebit
        FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
    ALTER TABLE billing_projectcost ENABLE ALWAYS TRIGGER never_another;
    ALTER TABLE billing_projectcost ENABLE ALWAYS TRIGGER never_deleted;
    ALTER TABLE billing_projectdebit ENABLE ALWAYS TRIGGER never_changed;
    """
) + "".join(
    f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_{table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();"
    f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_truncated;"
    for table in TABLES
)
UNGUARD = (
    "DROP TRIGGER never_another ON billing_projectcost;"
    "DROP TRIGGER never_deleted ON billing_projectcost;"
    "DROP TRIGGER never_changed ON billing_projectdebit;"
    "DROP FUNCTION billing_refuse_another_cost;"
) + "".join(f"DROP TRIGGER never_truncated ON billing_{table};" for table in TABLES)


class Migration(migrations.Migration):
    """Costs of projects, and the debits that they become."""

    dependencies = [
        ("billing", "0007_reconciliation"),
        ("ledger", "0015_project_costs"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ProjectAccount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("project", models.CharField(max_length=200)),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                ("ahead", models.DecimalField(decimal_places=9, default=0, max_digits=10)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="projects",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ProjectDebit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("at", models.DateTimeField()),
                (
                    "amount_minor",
                    models.BigIntegerField(help_text="In minor units of the account's currency."),
                ),
                (
                    "unit_price",
                    models.DecimalField(
                        decimal_places=6,
                        help_text="Of a credit, in units of the currency.",
                        max_digits=12,
                    ),
                ),
                (
                    "margin",
                    models.DecimalField(decimal_places=2, help_text="In percent.", max_digits=5),
                ),
                (
                    "due",
                    models.DecimalField(decimal_places=9, help_text="In credits.", max_digits=24),
                ),
                ("credits", models.BigIntegerField(help_text="In whole credits.")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="debits",
                        to="billing.projectaccount",
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="project_debit",
                        to="ledger.credittransaction",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ProjectCost",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("key", models.UUIDField(editable=False, unique=True)),
                ("fingerprint", models.UUIDField(editable=False)),
                (
                    "amount_minor",
                    models.BigIntegerField(help_text="In minor units of the account's currency."),
                ),
                (
                    "period",
                    models.CharField(
                        db_collation="C",
                        help_text="The month or day that it is for, as 2026-01 or 2026-01-31.",
                        max_length=10,
                    ),
                ),
                ("description", models.CharField(blank=True, default="", max_length=250)),
                (
                    "reference_id",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Of usage that may be charged already.",
                        max_length=200,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting for the next refresh"),
                            ("debited", "turned into credits"),
                            ("covered", "charged in credits already"),
                            ("voided", "Voided"),
                        ],
                        db_collation="C",
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("recorded_at", models.DateTimeField()),
                (
                    "due_at",
                    models.DateTimeField(help_text="When it becomes credits: at the next refresh."),
                ),
                (
                    "why",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="What it waits for, or why it was voided.",
                        max_length=250,
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="costs",
                        to="billing.projectaccount",
                    ),
                ),
                (
                    "added_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "debit",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="costs",
                        to="billing.projectdebit",
                    ),
                ),
            ],
            options={
                "permissions": [("void_projectcost", "Can void costs of projects")],
            },
        ),
        migrations.AddConstraint(
            model_name="projectaccount",
            constraint=models.UniqueConstraint(
                fields=("user", "project", "currency"), name="billing_projectaccount_is_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="projectaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                name="billing_projectaccount_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="projectaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(("ahead__gte", 0), ("ahead__lt", 1)),
                name="billing_projectaccount_ahead",
            ),
        ),
        migrations.AddConstraint(
            model_name="projectdebit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__gt", 0),
                    ("due__gte", 0),
                    ("margin__gte", 0),
                    ("unit_price__gt", 0),
                    models.Q(
                        models.Q(("credits__gt", 0), ("transaction__isnull", False)),
                        models.Q(("credits", 0), ("transaction__isnull", True)),
                        _connector="OR",
                    ),
                ),
                name="billing_projectdebit_takes_credits_by_a_movement",
            ),
        ),
        migrations.AddIndex(
            model_name="projectcost",
            index=models.Index(
                condition=models.Q(("status", "waiting")),
                fields=["due_at", "account"],
                name="billing_projectcost_due",
            ),
        ),
        migrations.AddIndex(
            model_name="projectcost",
            index=models.Index(fields=["-recorded_at", "-id"], name="billing_projectcost_newest"),
        ),
        migrations.AddConstraint(
            model_name="projectcost",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__gt", 0), ("period__regex", "^\\d{4}-\\d{2}(-\\d{2})?$")
                ),
                name="billing_projectcost_is_possible",
            ),
        ),
        migrations.AddConstraint(
            model_name="projectcost",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("debit__isnull", False), ("status", "debited")),
                    models.Q(
                        ("debit__isnull", True), ("status__in", ["waiting", "covered", "voided"])
                    ),
                    _connector="OR",
                ),
                name="billing_projectcost_is_debited_once",
            ),
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
