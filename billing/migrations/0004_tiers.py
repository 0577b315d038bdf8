import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Of a tier only its end and how far it was allotted ever change; and its end but once.
GUARDS = """
CREATE TRIGGER only_ends BEFORE UPDATE ON billing_tier FOR EACH ROW
    WHEN ((OLD.wallet_id, OLD.version_id, OLD.starts_at, OLD.assigned_by_id)
            IS DISTINCT FROM (NEW.wallet_id, NEW.version_id, NEW.starts_at, NEW.assigned_by_id)
        OR OLD.ends_at IS NOT NULL AND (OLD.ends_at, OLD.ended_by_id) IS DISTINCT FROM (NEW.ends_at, NEW.ended_by_id))
    EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE billing_tier ENABLE ALWAYS TRIGGER only_ends;
CREATE TRIGGER never_deleted BEFORE DELETE ON billing_tier
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE billing_tier ENABLE ALWAYS TRIGGER never_deleted;
""" + "".join(
    f"CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON billing_{table}"
    " FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();"
    f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_changed;"
    for table in ("tierallotment", "plannotice")
)
GUARDS += "".join(
    f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_{table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();"
    f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_truncated;"
    for table in ("tier", "tierallotment", "plannotice")
)
UNGUARD = """
DROP TRIGGER never_truncated ON billing_plannotice;
DROP TRIGGER never_changed ON billing_plannotice;
DROP TRIGGER never_truncated ON billing_tierallotment;
DROP TRIGGER never_truncated ON billing_tier;
DROP TRIGGER never_changed ON billing_tierallotment;
DROP TRIGGER never_deleted ON billing_tier;
DROP TRIGGER only_ends ON billing_tier;
"""


class Migration(migrations.Migration):
    """Plans that wallets are on without paying for them."""

    dependencies = [
        ("billing", "0003_subscriptions"),
        ("ledger", "0013_settings_of_plans"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="Tier",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                (
                    "next_period",
                    models.DateField(
                        help_text="The first month that is not decided yet; none once it has ended.",
                        null=True,
                    ),
                ),
                (
                    "assigned_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "ended_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tiers",
                        to="billing.offerversion",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tiers",
                        to="ledger.wallet",
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("assign_tier", "Can put wallets on tiers and take them off"),
                    ("allot_tier", "Can give the credits of a tier before they are due"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_period__isnull", False)),
                        fields=["next_period", "id"],
                        name="billing_tier_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ends_at", None)),
                        fields=("wallet",),
                        name="billing_tier_one_at_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_by", None), ("ends_at", None)),
                            ("ends_at__gte", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="billing_tier_ends_after_it_starts",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TierAllotment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("period", models.DateField(help_text="The first day of the month.")),
                ("allotted_at", models.DateTimeField()),
                (
                    "tier",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="allotments",
                        to="billing.tier",
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tier_allotment",
                        to="ledger.credittransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tier_allotments",
                        to="ledger.wallet",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("wallet", "period"), name="billing_tierallotment_once_a_month"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanNotice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "renews_at",
                    models.DateTimeField(
                        help_text="The renewal that they were reminded of.", null=True
                    ),
                ),
                ("told_at", models.DateTimeField()),
                (
                    "effect",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="notice",
                        to="billing.subscriptioneffect",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="notices",
                        to="billing.subscription",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subscription", "renews_at"), name="billing_plannotice_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("effect", None), ("renews_at__isnull", False)),
                            models.Q(("effect__isnull", False), ("renews_at", None)),
                            _connector="OR",
                        ),
                        name="billing_plannotice_is_of_one_thing",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
