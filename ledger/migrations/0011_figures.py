from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"
FIGURES = (SQL / "figures.sql").read_text()
NO_FIGURES = """
DROP FUNCTION ledger_money_moves(uuid, uuid, boolean), ledger_credit_moves(uuid, uuid), ledger_is_funded(uuid),
              ledger_business_day(timestamptz), ledger_stretches()
"""

# What keeps a row of each return of money; before, only the sum was kept, in the grant.
CLAWBACK = (
    (SQL / "clawback.sql").read_text().replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
)
KEEP = """
    IF p_returned_minor <> g.returned_minor THEN
        INSERT INTO ledger_moneyreturn (transaction_id, grant_id, wallet_id, amount_minor)
        VALUES (answer.transaction_id, p_grant, g.wallet_id, p_returned_minor - g.returned_minor);
    END IF;"""

# Of before only the sum is known: it counts to the last clawback or reinstatement that moved something of the grant, or else
# to the last one of its wallet.
BACKFILL = """
INSERT INTO ledger_moneyreturn (transaction_id, grant_id, wallet_id, amount_minor)
SELECT t.id, g.id, g.wallet_id, g.returned_minor
FROM ledger_grant g CROSS JOIN LATERAL (
    SELECT t.id FROM ledger_credittransaction t
    WHERE t.wallet_id = g.wallet_id AND t.kind IN ('clawback', 'reinstatement')
    ORDER BY EXISTS (SELECT 1 FROM ledger_entry e WHERE e.transaction_id = t.id AND e.grant_id = g.id)
             OR EXISTS (SELECT 1 FROM ledger_debtentry e JOIN ledger_debt d ON d.id = e.debt_id
                        WHERE e.transaction_id = t.id AND d.grant_id = g.id) DESC, t.number DESC
    LIMIT 1) t
WHERE g.returned_minor <> 0
"""

GUARD = """
CREATE TRIGGER engine_only BEFORE INSERT OR UPDATE OR DELETE ON ledger_moneyreturn FOR EACH STATEMENT
    WHEN (current_setting('ledger.writer', true) IS DISTINCT FROM 'engine') EXECUTE FUNCTION ledger_refuse();
ALTER TABLE ledger_moneyreturn ENABLE ALWAYS TRIGGER engine_only;
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['moneyreturn', 'lockedmonth'] LOOP
        EXECUTE format('CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON ledger_%s FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()', t);
        EXECUTE format('ALTER TABLE ledger_%s ENABLE ALWAYS TRIGGER never_changed', t);
        EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_%s FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()', t);
        EXECUTE format('ALTER TABLE ledger_%s ENABLE ALWAYS TRIGGER never_truncated', t);
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    """
    Figures by day behind the ledger, and what has to be known of it for them.

    A fresh database has the functions of today from 0003 already; there CLAWBACK changes nothing.
    """

    dependencies = [("ledger", "0010_awards")]
    operations = [
        migrations.AlterField(
            model_name="restoration",
            name="transaction",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="ledger.credittransaction",
            ),
        ),
        migrations.CreateModel(
            name="MoneyReturn",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "transaction_id",
                        "grant_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.credittransaction",
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="money_returns",
                        to="ledger.grant",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.wallet",
                    ),
                ),
                (
                    "amount_minor",
                    models.BigIntegerField(help_text="In minor units of the grant's currency."),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount_minor", 0), _negated=True),
                        name="ledger_moneyreturn_moves_something",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DailyCredits",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                ("kind", models.CharField(db_collation="C", max_length=20)),
                ("credit_type", models.CharField(blank=True, db_collation="C", max_length=10)),
                (
                    "is_funded",
                    models.BooleanField(help_text="Of a purchase: money was paid for it."),
                ),
                (
                    "source",
                    models.CharField(
                        blank=True, db_collation="C", help_text="Of credits given.", max_length=20
                    ),
                ),
                ("feature", models.CharField(blank=True, db_collation="C", max_length=200)),
                ("reverses", models.CharField(blank=True, db_collation="C", max_length=20)),
                (
                    "unit_cost",
                    models.DecimalField(
                        decimal_places=6, help_text="Of free credits that were used.", max_digits=12
                    ),
                ),
                ("cost_currency", models.CharField(blank=True, db_collation="C", max_length=3)),
                (
                    "credits",
                    models.BigIntegerField(
                        default=0, help_text="Below zero when taken. In whole credits."
                    ),
                ),
                ("transactions", models.BigIntegerField()),
                (
                    "debt",
                    models.BigIntegerField(
                        default=0, help_text="Opened, or below zero: repaid. In whole credits."
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "day",
                            "kind",
                            "credit_type",
                            "is_funded",
                            "source",
                            "feature",
                            "reverses",
                            "unit_cost",
                            "cost_currency",
                        ),
                        name="ledger_dailycredits_is_one_a_day",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GrantDay",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "grant_id",
                        "day",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.grant",
                    ),
                ),
                ("day", models.DateField()),
                ("used", models.BigIntegerField()),
                ("expired", models.BigIntegerField()),
                ("taken", models.BigIntegerField()),
                ("remaining", models.BigIntegerField()),
                ("carried", models.BigIntegerField()),
                ("carried_minor", models.BigIntegerField()),
                ("returned_minor", models.BigIntegerField()),
                ("used_minor", models.BigIntegerField()),
                ("breakage_minor", models.BigIntegerField()),
                ("released_minor", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="DailyMoney",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                ("currency", models.CharField(db_collation="C", max_length=3)),
                ("paid", models.BigIntegerField(help_text="In minor units, as all of them.")),
                (
                    "brought_in",
                    models.BigIntegerField(help_text="Paid for opening balances, before our time."),
                ),
                ("returned", models.BigIntegerField()),
                ("used", models.BigIntegerField(help_text="Recognised by use.")),
                (
                    "breakage",
                    models.BigIntegerField(help_text="Recognised because credits expired."),
                ),
                ("released", models.BigIntegerField(help_text="Released by staff.")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("day", "currency"), name="ledger_dailymoney_is_one_a_day"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LockedMonth",
            fields=[
                (
                    "month",
                    models.DateField(help_text="Its first day.", primary_key=True, serialize=False),
                ),
                ("digest", models.CharField(db_collation="C", max_length=64)),
                ("locked_at", models.DateTimeField()),
            ],
        ),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        migrations.RunSQL(GUARD, migrations.RunSQL.noop),
        migrations.RunSQL(CLAWBACK, CLAWBACK.replace(KEEP, "")),
        migrations.RunSQL(FIGURES, NO_FIGURES),
        migrations.CreateModel(
            name="Report",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "permissions": [("export_report", "Can take a report away as a file")],
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="LedgerCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(help_text="When it began.")),
                ("seconds", models.FloatField()),
                ("checks", models.SmallIntegerField(help_text="Invariants that were looked at.")),
                (
                    "violations",
                    models.BigIntegerField(help_text="Places where the books break one."),
                ),
                ("findings", models.JSONField(help_text="The first hundred, as sentences.")),
            ],
        ),
        migrations.CreateModel(
            name="Snapshot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("seconds", models.FloatField(help_text="That it took to count.")),
                ("wallets", models.BigIntegerField()),
                (
                    "award",
                    models.BigIntegerField(
                        default=0, help_text="As anyone is shown them. In whole credits."
                    ),
                ),
                ("partner", models.BigIntegerField(default=0, help_text="In whole credits.")),
                ("purchase", models.BigIntegerField(default=0, help_text="In whole credits.")),
                (
                    "held",
                    models.BigIntegerField(
                        default=0, help_text="Part of the three above. In whole credits."
                    ),
                ),
                ("debt", models.BigIntegerField(default=0, help_text="In whole credits.")),
                (
                    "low_threshold",
                    models.BigIntegerField(
                        default=0,
                        help_text="The setting that ``low`` was counted by. In whole credits.",
                    ),
                ),
                (
                    "low",
                    models.BigIntegerField(
                        help_text="Active wallets below it that ever had credits."
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("pk", 1)), name="ledger_snapshot_is_one"
                    )
                ],
            },
        ),
    ]
