import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NEVER_CHANGED = ["subscriptioneffect", "promisedmoney"]
NEVER_TRUNCATED = [
    "subscription",
    "subscriptioneffect",
    "subscriptionchange",
    "slice",
    "promisedmoney",
    "stripeprice",
]
GUARDS = (
    "CREATE TRIGGER posted_never_changes BEFORE UPDATE ON billing_slice FOR EACH ROW"
    " WHEN (OLD.status = 'posted') EXECUTE FUNCTION ledger_refuse_change();"
    "ALTER TABLE billing_slice ENABLE ALWAYS TRIGGER posted_never_changes;"
    "CREATE TRIGGER never_deleted BEFORE DELETE ON billing_slice FOR EACH ROW"
    " EXECUTE FUNCTION ledger_refuse_change();"
    "ALTER TABLE billing_slice ENABLE ALWAYS TRIGGER never_deleted;"
    + "".join(
        f"CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON billing_{table}"
        " FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();"
        f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_changed;"
        for table in NEVER_CHANGED
    )
    + "".join(
        f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_{table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();"
        f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_truncated;"
        for table in NEVER_TRUNCATED
    )
)
UNGUARD = (
    "DROP TRIGGER posted_never_changes ON billing_slice;"
    "DROP TRIGGER never_deleted ON billing_slice;"
    + "".join(f"DROP TRIGGER never_changed ON billing_{table};" for table in NEVER_CHANGED)
    + "".join(f"DROP TRIGGER never_truncated ON billing_{table};" for table in NEVER_TRUNCATED)
)


class Migration(migrations.Migration):
    """Subscriptions, the months that their invoices paid for, and what is asked for of them."""

    dependencies = [
        ("billing", "0002_payments"),
        ("ledger", "0014_settings_of_disputes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PromisedMoney",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "move",
                    models.CharField(
                        choices=[
                            ("paid", "Paid"),
                            ("allotted", "with the credits of a month"),
                            ("returned", "returned, or returned no more"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "amount_minor",
                    models.BigIntegerField(help_text="In minor units of the currency."),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Slice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("credits", models.BigIntegerField(help_text="Whole credits.")),
                (
                    "voided",
                    models.BigIntegerField(
                        default=0,
                        help_text="Of those, taken back before they were given. In whole credits.",
                    ),
                ),
                (
                    "paid_minor",
                    models.BigIntegerField(
                        default=0,
                        help_text="What was paid for it, once it is posted. In minor units.",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("due", "to be posted"),
                            ("posted", "Posted"),
                            ("suspended", "held back: the wallet is closed"),
                        ],
                        db_collation="C",
                        default="due",
                        max_length=10,
                    ),
                ),
                ("posted_at", models.DateTimeField(null=True)),
            ],
            options={
                "permissions": [("post_slice", "Can post slices that are due")],
            },
        ),
        migrations.CreateModel(
            name="StripePrice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, help_text="With which it is made."
                    ),
                ),
                (
                    "price_id",
                    models.CharField(
                        db_collation="C",
                        help_text="price_…",
                        max_length=255,
                        null=True,
                        unique=True,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "key",
                    models.UUIDField(
                        help_text="Of the request that opened it.", null=True, unique=True
                    ),
                ),
                (
                    "subscription_id",
                    models.CharField(
                        db_collation="C", help_text="sub_…", max_length=255, null=True, unique=True
                    ),
                ),
                (
                    "session_id",
                    models.CharField(
                        db_collation="C",
                        help_text="cs_…, where it was begun.",
                        max_length=255,
                        null=True,
                        unique=True,
                    ),
                ),
                (
                    "customer_id",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="cus_…, who pays.",
                        max_length=255,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "begun, not paid yet"),
                            ("incomplete", "the first payment is missing"),
                            ("incomplete_expired", "never paid"),
                            ("trialing", "in a trial"),
                            ("active", "Active"),
                            ("past_due", "a payment failed and is tried again"),
                            ("unpaid", "not paid"),
                            ("paused", "Paused"),
                            ("canceled", "ended"),
                            ("abandoned", "begun and given up"),
                        ],
                        db_collation="C",
                        default="open",
                        max_length=20,
                    ),
                ),
                ("status_at", models.DateTimeField(help_text="Since when we know it.")),
                (
                    "anchor_at",
                    models.DateTimeField(help_text="From which its months are counted.", null=True),
                ),
                ("period_start", models.DateTimeField(null=True)),
                ("period_end", models.DateTimeField(null=True)),
                (
                    "cancels_at",
                    models.DateTimeField(
                        help_text="When it will end, if it was cancelled.", null=True
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("reads", models.BigIntegerField(default=0, editable=False)),
            ],
            options={
                "permissions": [("manage_subscription", "Can change and end subscriptions")],
            },
        ),
        migrations.CreateModel(
            name="SubscriptionChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("upgrade", "another plan now, for the difference"),
                            ("downgrade", "another plan with the next period"),
                            ("stay", "no other plan after all"),
                            ("cancel", "end with what is paid for"),
                            ("keep", "take the cancellation back"),
                            ("end", "end now"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "on its way to Stripe"),
                            ("done", "Done"),
                            ("refused", "Refused"),
                        ],
                        db_collation="C",
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                ("asked_at", models.DateTimeField()),
                ("request_key", models.UUIDField(help_text="Of the request for it.", unique=True)),
                ("fingerprint", models.UUIDField()),
                ("tries", models.IntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=2000)),
            ],
        ),
        migrations.CreateModel(
            name="SubscriptionEffect",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "effect",
                    models.CharField(
                        choices=[
                            ("begun", "subscribed"),
                            ("renewed", "paid for a period"),
                            ("changed", "changed to another plan"),
                            ("will_change", "changes with the next period"),
                            ("cancelled", "cancelled: ends with what is paid for"),
                            ("kept", "a cancellation or change was taken back"),
                            ("past_due", "a payment failed"),
                            ("unpaid", "given up after the last try of a payment"),
                            ("paused", "Paused"),
                            ("active", "active again"),
                            ("ended", "Ended"),
                            ("expired", "the first payment never came"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "object_id",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="What it was about at Stripe.",
                        max_length=255,
                    ),
                ),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="payment",
            name="billing_payment_is_credited_by_a_grant",
        ),
        migrations.AddField(
            model_name="offerversion",
            name="rollover_cap",
            field=models.BigIntegerField(
                help_text="Of a plan: how many unspent credits stay when the next month's come; 0: none, empty: all.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="entitlement",
            field=models.BigIntegerField(
                default=0,
                editable=False,
                help_text="Credits by the lines of its invoice; below zero, it is taken off later ones.",
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="invoice_id",
            field=models.CharField(
                db_collation="C",
                help_text="in_…, of a subscription.",
                max_length=255,
                null=True,
                unique=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="offerversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rollover_cap", None),
                    ("rollover_cap__range", (0, 1000000000)),
                    _connector="OR",
                ),
                name="billing_offerversion_keeps_some",
            ),
        ),
        migrations.AddField(
            model_name="promisedmoney",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="promised",
                to="billing.payment",
            ),
        ),
        migrations.AddField(
            model_name="slice",
            name="grant",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="slice",
                to="ledger.grant",
            ),
        ),
        migrations.AddField(
            model_name="slice",
            name="payment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="slices",
                to="billing.payment",
            ),
        ),
        migrations.AddField(
            model_name="slice",
            name="version",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.offerversion",
            ),
        ),
        migrations.AddField(
            model_name="slice",
            name="wallet",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="slices",
                to="ledger.wallet",
            ),
        ),
        migrations.AddField(
            model_name="promisedmoney",
            name="slice",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="promised",
                to="billing.slice",
            ),
        ),
        migrations.AddField(
            model_name="stripeprice",
            name="offer_price",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="at_stripe",
                to="billing.offerprice",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="next_price",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.offerprice",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="price",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="subscriptions",
                to="billing.offerprice",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="user",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="subscriptions",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="wallet",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="subscriptions",
                to="ledger.wallet",
            ),
        ),
        migrations.AddField(
            model_name="slice",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="slices",
                to="billing.subscription",
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="subscription",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="billing.subscription",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("grant__isnull", False), ("invoice_id", None), ("status", "credited")
                    ),
                    models.Q(
                        ("grant", None), ("invoice_id__isnull", False), ("status", "credited")
                    ),
                    models.Q(
                        ("grant__isnull", True), ("status__in", ["open", "suspended", "ended"])
                    ),
                    _connector="OR",
                ),
                name="billing_payment_is_credited_by_a_grant",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionchange",
            name="asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="subscriptionchange",
            name="price",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.offerprice",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionchange",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="changes",
                to="billing.subscription",
            ),
        ),
        migrations.AddField(
            model_name="subscriptioneffect",
            name="price",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.offerprice",
            ),
        ),
        migrations.AddField(
            model_name="subscriptioneffect",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="effects",
                to="billing.subscription",
            ),
        ),
        migrations.AddIndex(
            model_name="promisedmoney",
            index=models.Index(fields=["at"], name="billing_promisedmoney_at"),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(fields=["-created_at", "-id"], name="billing_subscription_newest"),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "open",
                            "incomplete",
                            "trialing",
                            "active",
                            "past_due",
                            "unpaid",
                            "paused",
                        ],
                    )
                ),
                fields=["wallet"],
                name="billing_subscription_on_going",
            ),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(("cancels_at", None), ("status", "active")),
                fields=["period_end"],
                name="billing_subscription_renewing",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "open")),
                fields=("wallet",),
                name="billing_subscription_one_is_begun",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "open",
                            "incomplete",
                            "incomplete_expired",
                            "trialing",
                            "active",
                            "past_due",
                            "unpaid",
                            "paused",
                            "canceled",
                            "abandoned",
                        ],
                    ),
                    models.Q(
                        models.Q(("status__in", ["open", "abandoned"]), ("subscription_id", None)),
                        ("subscription_id__isnull", False),
                        _connector="OR",
                    ),
                ),
                name="billing_subscription_is_begun_or_at_stripe",
            ),
        ),
        migrations.AddIndex(
            model_name="slice",
            index=models.Index(
                condition=models.Q(("status", "due"), ("voided__lt", models.F("credits"))),
                fields=["due_at", "id"],
                name="billing_slice_due",
            ),
        ),
        migrations.AddIndex(
            model_name="slice",
            index=models.Index(
                condition=models.Q(("status", "suspended")),
                fields=["wallet"],
                name="billing_slice_suspended",
            ),
        ),
        migrations.AddIndex(
            model_name="slice",
            index=models.Index(fields=["wallet", "starts_at"], name="billing_slice_of_wallet"),
        ),
        migrations.AddConstraint(
            model_name="slice",
            constraint=models.UniqueConstraint(
                fields=("payment", "number"), name="billing_slice_of_a_payment_is_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="slice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("credits__gte", 1),
                    ("paid_minor__gte", 0),
                    ("voided__gte", 0),
                    ("voided__lte", models.F("credits")),
                    ("ends_at__gt", models.F("starts_at")),
                ),
                name="billing_slice_is_possible",
            ),
        ),
        migrations.AddConstraint(
            model_name="slice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("grant__isnull", False),
                        ("status", "posted"),
                        ("voided", 0),
                        ("posted_at__isnull", False),
                    ),
                    models.Q(
                        ("grant", None),
                        ("paid_minor", 0),
                        ("posted_at", None),
                        ("status__in", ["due", "suspended"]),
                    ),
                    _connector="OR",
                ),
                name="billing_slice_is_posted_by_a_grant",
            ),
        ),
        migrations.AddIndex(
            model_name="subscriptionchange",
            index=models.Index(
                condition=models.Q(("status", "waiting")),
                fields=["next_try_at"],
                name="billing_subscriptionchange_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscriptionchange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "waiting")),
                fields=("subscription",),
                name="billing_subscriptionchange_one_waits",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscriptionchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_try_at__isnull", False), ("status", "waiting")),
                    models.Q(("next_try_at", None), ("status__in", ["done", "refused"])),
                    _connector="OR",
                ),
                name="billing_subscriptionchange_waits_or_is_over",
            ),
        ),
        migrations.AddIndex(
            model_name="subscriptioneffect",
            index=models.Index(fields=["at"], name="billing_subscriptioneffect_at"),
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
