import django.contrib.postgres.constraints
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import ledger.models.fields

# What was earned and paid out never changes; of terms only the end comes, once.
# A payout is of all that the last statement says, a statement begins where the last one ended.
GUARDS = """
CREATE TRIGGER only_ends BEFORE UPDATE ON billing_shareterm FOR EACH ROW
    WHEN ((OLD.id, OLD.payee_id, OLD.feature_id, OLD.since)
            IS DISTINCT FROM (NEW.id, NEW.payee_id, NEW.feature_id, NEW.since)
        OR OLD.until IS NOT NULL AND OLD.until IS DISTINCT FROM NEW.until)
    EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE billing_shareterm ENABLE ALWAYS TRIGGER only_ends;
CREATE FUNCTION billing_share_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.previous_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM billing_sharestatement s LEFT JOIN billing_sharepayout p ON p.statement_id = s.id
        WHERE s.id = NEW.previous_id AND s.month < NEW.month
          AND (s.payee_id, s.kind, s.currency) = (NEW.payee_id, NEW.kind, NEW.currency)
          AND s.opening_minor + s.earned_minor - coalesce(p.amount_minor, 0) = NEW.opening_minor) THEN
        RAISE EXCEPTION 'a statement begins where the last one ended' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER goes_on BEFORE INSERT ON billing_sharestatement
    FOR EACH ROW EXECUTE FUNCTION billing_share_goes_on();
ALTER TABLE billing_sharestatement ENABLE ALWAYS TRIGGER goes_on;

CREATE FUNCTION billing_share_is_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM billing_sharestatement s
        WHERE s.id = NEW.statement_id AND s.opening_minor + s.earned_minor = NEW.amount_minor
          AND NOT EXISTS (SELECT 1 FROM billing_sharestatement n WHERE n.previous_id = s.id)) THEN
        RAISE EXCEPTION 'a payout is of all that the last statement says' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER is_due BEFORE INSERT ON billing_sharepayout
    FOR EACH ROW EXECUTE FUNCTION billing_share_is_due();
ALTER TABLE billing_sharepayout ENABLE ALWAYS TRIGGER is_due;
"""
UNGUARD = """
DROP TRIGGER is_due ON billing_sharepayout;
DROP FUNCTION billing_share_is_due();
DROP TRIGGER goes_on ON billing_sharestatement;
DROP FUNCTION billing_share_goes_on();
DROP TRIGGER only_ends ON billing_shareterm;
"""
NEVER_CHANGED = ["erasedreferral", "sharemonth", "sharestatement", "shareline", "sharepayout"]


def guards(name: str, when: str, tables: list[str], each: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        "".join(
            f"CREATE TRIGGER {name} BEFORE {when} ON billing_{table} FOR EACH {each}"
            " EXECUTE FUNCTION ledger_refuse_change();"
            f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER {name};"
            for table in tables
        ),
        "".join(f"DROP TRIGGER {name} ON billing_{table};" for table in tables),
    )


class Migration(migrations.Migration):
    """What agents and partners earn, and that it was paid out."""

    dependencies = [
        ("billing", "0005_top_up"),
        ("ledger", "0012_low_credit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ShareMonth",
            fields=[
                (
                    "month",
                    models.DateField(help_text="Its first day.", primary_key=True, serialize=False),
                ),
                ("figures", models.JSONField()),
                ("made_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="ErasedReferral",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
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
        ),
        migrations.CreateModel(
            name="ShareStatement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        db_default=ledger.models.fields.UUID7(), editable=False, unique=True
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("agent", "agent, of what users they referred spend"),
                            ("partner", "partner, of what others spend on their features"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                ("month", models.DateField(help_text="Its first day.")),
                (
                    "opening_minor",
                    models.BigIntegerField(
                        help_text="Carried forward, in minor units; below zero when too much was paid out."
                    ),
                ),
                (
                    "earned_minor",
                    models.BigIntegerField(help_text="The sum of its lines, in minor units."),
                ),
                ("made_at", models.DateTimeField()),
                (
                    "payee",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="share_statements",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "previous",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="next",
                        to="billing.sharestatement",
                    ),
                ),
            ],
            options={
                "verbose_name": "statement of revenue share",
                "verbose_name_plural": "statements of revenue share",
                "permissions": [("pay_share", "Can mark revenue share as paid out")],
            },
        ),
        migrations.CreateModel(
            name="SharePayout",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount_minor", models.BigIntegerField()),
                (
                    "reference",
                    models.CharField(
                        db_collation="C", help_text="Of the transfer: a code.", max_length=40
                    ),
                ),
                ("paid_on", models.DateField()),
                ("recorded_at", models.DateTimeField()),
                ("request_key", models.UUIDField(help_text="Of the request for it.", unique=True)),
                ("fingerprint", models.UUIDField()),
                (
                    "paid_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "statement",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payout",
                        to="billing.sharestatement",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ShareLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "percent",
                    models.DecimalField(
                        decimal_places=2, help_text="In force when it was spent.", max_digits=5
                    ),
                ),
                (
                    "basis_minor",
                    models.BigIntegerField(
                        help_text="Revenue by use, in minor units; below zero when more was given back."
                    ),
                ),
                ("earned_minor", models.BigIntegerField()),
                (
                    "feature",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.feature",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "statement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="billing.sharestatement",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ShareTerm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("since", models.DateTimeField()),
                (
                    "until",
                    models.DateTimeField(help_text="Empty: until further notice.", null=True),
                ),
                (
                    "feature",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.feature",
                    ),
                ),
                (
                    "payee",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="share_terms",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "term of revenue share",
                "verbose_name_plural": "agents and owners",
                "permissions": [("assign_feature", "Can say which partner owns a feature")],
            },
        ),
        migrations.AddIndex(
            model_name="sharestatement",
            index=models.Index(fields=["-month", "-id"], name="billing_sharestatement_newest"),
        ),
        migrations.AddConstraint(
            model_name="sharestatement",
            constraint=models.UniqueConstraint(
                fields=("payee", "kind", "currency", "month"), name="billing_sharestatement_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="sharestatement",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                name="billing_sharestatement_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="sharestatement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("opening_minor", 0), ("previous__isnull", False), _connector="OR"
                ),
                name="billing_sharestatement_opens_with_the_last",
            ),
        ),
        migrations.AddConstraint(
            model_name="sharepayout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__gt", 0), ("reference__regex", "^[A-Za-z0-9][A-Za-z0-9._:/+-]*$")
                ),
                name="billing_sharepayout_pays_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="shareline",
            constraint=models.UniqueConstraint(
                fields=("statement", "user", "feature", "percent"),
                name="billing_shareline_once",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="shareline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("user__isnull", False), ("feature__isnull", False), _connector="XOR"
                ),
                name="billing_shareline_is_of_a_user_or_a_feature",
            ),
        ),
        migrations.AddConstraint(
            model_name="shareline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("basis_minor", 0), _negated=True),
                    ("percent__gt", 0),
                    ("percent__lte", 100),
                ),
                name="billing_shareline_is_of_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="shareterm",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("until", None), ("until__gte", models.F("since")), _connector="OR"
                ),
                name="billing_shareterm_ends_after_it_began",
            ),
        ),
        migrations.AddConstraint(
            model_name="shareterm",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                condition=models.Q(("feature__isnull", False)),
                expressions=[
                    (
                        models.Func(
                            "feature_id", "feature_id", models.Value("[]"), function="int8range"
                        ),
                        "&&",
                    ),
                    (models.Func("since", "until", function="tstzrange"), "&&"),
                ],
                name="billing_shareterm_one_owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="shareterm",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                condition=models.Q(("feature", None)),
                expressions=[
                    (
                        models.Func(
                            "payee_id", "payee_id", models.Value("[]"), function="int8range"
                        ),
                        "&&",
                    ),
                    (models.Func("since", "until", function="tstzrange"), "&&"),
                ],
                name="billing_shareterm_agent_once",
            ),
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
        guards("never_changed", "UPDATE OR DELETE", NEVER_CHANGED, "ROW"),
        guards("never_deleted", "DELETE", ["shareterm"], "ROW"),
        guards("never_truncated", "TRUNCATE", [*NEVER_CHANGED, "shareterm"], "STATEMENT"),
        # Who is an agent already earns from now on.
        migrations.RunSQL(
            "INSERT INTO billing_shareterm (payee_id, since)"
            " SELECT id, now() FROM accounts_user WHERE is_agent",
            migrations.RunSQL.noop,
        ),
    ]
