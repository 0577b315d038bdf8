import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NEVER_TRUNCATED = [
    "payment",
    "paymenteffect",
    "refund",
    "reviewitem",
    "stripeevent",
]
GUARDS = (
    "CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON billing_paymenteffect"
    " FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();"
    "ALTER TABLE billing_paymenteffect ENABLE ALWAYS TRIGGER never_changed;"
) + "".join(
    f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing_{table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();"
    f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER never_truncated;"
    for table in NEVER_TRUNCATED
)
UNGUARD = "DROP TRIGGER never_changed ON billing_paymenteffect;" + "".join(
    f"DROP TRIGGER never_truncated ON billing_{table};" for table in NEVER_TRUNCATED
)


class Migration(migrations.Migration):
    """Payments, what Stripe told of them, and what became of it."""

    dependencies = [
        ("billing", "0001_sale"),
        ("ledger", "0012_low_credit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Payment",
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
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "waiting to be paid"),
                            ("credited", "paid, its credits given"),
                            ("suspended", "paid, its credits held back for review"),
                            ("ended", "never paid"),
                        ],
                        db_collation="C",
                        default="open",
                        max_length=10,
                    ),
                ),
                ("description", models.CharField(blank=True, default="", max_length=250)),
                (
                    "credits",
                    models.BigIntegerField(default=0, help_text="That it buys. In whole credits."),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                (
                    "net_minor",
                    models.BigIntegerField(
                        default=0, help_text="To be paid, without tax. In minor units."
                    ),
                ),
                (
                    "tax_minor",
                    models.BigIntegerField(default=0, help_text="The tax on it. In minor units."),
                ),
                (
                    "charged_minor",
                    models.BigIntegerField(default=0, help_text="Paid, with tax. In minor units."),
                ),
                (
                    "refunded_minor",
                    models.BigIntegerField(
                        default=0, help_text="Of that refunded. In minor units."
                    ),
                ),
                (
                    "charged_back_minor",
                    models.BigIntegerField(
                        default=0, help_text="Of that lost in chargebacks. In minor units."
                    ),
                ),
                (
                    "returned_minor",
                    models.BigIntegerField(
                        default=0, help_text="Of that gone back in all. In minor units."
                    ),
                ),
                (
                    "is_disputed",
                    models.BooleanField(default=False, help_text="While a chargeback is decided."),
                ),
                (
                    "intent_id",
                    models.CharField(
                        db_collation="C", help_text="pi_…", max_length=255, null=True, unique=True
                    ),
                ),
                (
                    "session_id",
                    models.CharField(
                        db_collation="C", help_text="cs_…", max_length=255, null=True, unique=True
                    ),
                ),
                (
                    "customer_id",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="cus_…, who paid.",
                        max_length=255,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("paid_at", models.DateTimeField(null=True)),
                ("reads", models.BigIntegerField(default=0, editable=False)),
                (
                    "grant",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment",
                        to="ledger.grant",
                    ),
                ),
                (
                    "redemption",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment",
                        to="billing.redemption",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="ledger.wallet",
                    ),
                ),
            ],
            options={
                "permissions": [("refund_payment", "Can refund payments")],
            },
        ),
        migrations.CreateModel(
            name="PaymentEffect",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "object_id",
                    models.CharField(
                        db_collation="C", help_text="pi_…, re_… or du_….", max_length=255
                    ),
                ),
                (
                    "effect",
                    models.CharField(
                        choices=[
                            ("credited", "paid: its credits were given"),
                            ("suspended", "paid: its credits are held back"),
                            ("refunded", "money was sent back"),
                            ("refund_failed", "a refund failed: the money is ours again"),
                            ("disputed", "a chargeback was opened: what is left is frozen"),
                            ("inquiry", "the bank asks about it: nothing is frozen"),
                            ("lost", "the chargeback was lost"),
                            ("won", "the chargeback was won"),
                            ("closed", "the inquiry was closed"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "amount_minor",
                    models.BigIntegerField(default=0, help_text="Of the object. In minor units."),
                ),
                ("at", models.DateTimeField()),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="effects",
                        to="billing.payment",
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        help_text="That moved the credits of it.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.credittransaction",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("amount_minor", models.BigIntegerField(help_text="With tax, in minor units.")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "on its way to Stripe"),
                            ("pending", "under way at the bank"),
                            ("succeeded", "sent back"),
                            ("failed", "sent back, and returned by the bank"),
                            ("refused", "refused by Stripe"),
                        ],
                        db_collation="C",
                        default="waiting",
                        max_length=10,
                    ),
                ),
                (
                    "refund_id",
                    models.CharField(
                        db_collation="C", help_text="re_…", max_length=255, null=True, unique=True
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("asked_at", models.DateTimeField()),
                ("request_key", models.UUIDField(help_text="Of the request for it.", unique=True)),
                ("fingerprint", models.UUIDField()),
                ("tries", models.IntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=2000)),
                (
                    "asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refunds",
                        to="billing.payment",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReviewItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("unknown", "Nobody knows what was paid for"),
                            ("mismatch", "Something else was paid than asked"),
                            ("closed", "Paid by the owner of a closed wallet"),
                            ("debt", "More was taken back than was left"),
                            ("refund_failed", "A refund did not arrive"),
                            ("refund_refused", "Stripe refuses a refund"),
                            ("dispute", "A chargeback or inquiry"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "object_id",
                    models.CharField(
                        db_collation="C", help_text="What it is about at Stripe.", max_length=255
                    ),
                ),
                ("summary", models.CharField(max_length=500)),
                ("opened_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
                ("resolution", models.CharField(blank=True, default="", max_length=500)),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="review_items",
                        to="billing.payment",
                    ),
                ),
                (
                    "resolved_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "matter for review",
                "verbose_name_plural": "matters for review",
                "permissions": [
                    ("resolve_reviewitem", "Can resolve matters for review"),
                    ("write_off_debt", "Can write off debts"),
                ],
            },
        ),
        migrations.CreateModel(
            name="StripeCustomer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "customer_id",
                    models.CharField(
                        db_collation="C", help_text="cus_…", max_length=255, unique=True
                    ),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "forget_at",
                    models.DateTimeField(
                        help_text="Since when they are to be deleted at Stripe: they were erased here.",
                        null=True,
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stripe_customer",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="StripeEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "event_id",
                    models.CharField(
                        db_collation="C", help_text="evt_…", max_length=255, unique=True
                    ),
                ),
                ("type", models.CharField(db_collation="C", max_length=100)),
                (
                    "object_id",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="What it is about.",
                        max_length=255,
                    ),
                ),
                ("payload", models.JSONField(default=dict)),
                (
                    "account",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="acct_…, if it says so.",
                        max_length=255,
                    ),
                ),
                ("livemode", models.BooleanField()),
                ("created_at", models.DateTimeField(help_text="At Stripe.")),
                ("received_at", models.DateTimeField()),
                (
                    "was_missed",
                    models.BooleanField(
                        default=False, help_text="No webhook brought it: we asked Stripe for it."
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("done", "Done"),
                            ("failed", "failed, to be tried again"),
                            ("ignored", "of no concern here"),
                        ],
                        db_collation="C",
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("tries", models.IntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=2000)),
            ],
            options={
                "verbose_name": "Stripe event",
                "permissions": [("replay_stripeevent", "Can have Stripe events handled again")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_try_at__isnull", False)),
                        fields=["next_try_at"],
                        name="billing_stripeevent_due",
                    ),
                    models.Index(fields=["-received_at", "-id"], name="billing_stripeevent_newest"),
                    models.Index(fields=["object_id"], name="billing_stripeevent_of"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("next_try_at__isnull", False),
                                ("status__in", ["waiting", "failed"]),
                            ),
                            models.Q(("next_try_at", None), ("status__in", ["done", "ignored"])),
                            _connector="OR",
                        ),
                        name="billing_stripeevent_is_tried_until_done",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(fields=["-created_at", "-id"], name="billing_payment_newest"),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                name="billing_payment_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("charged_back_minor__gte", 0),
                    ("charged_minor__gte", 0),
                    ("credits__gte", 0),
                    ("net_minor__gte", 0),
                    ("refunded_minor__gte", 0),
                    ("returned_minor__gte", 0),
                    ("tax_minor__gte", 0),
                    ("returned_minor__lte", models.F("charged_minor")),
                ),
                name="billing_payment_returns_what_was_paid",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("grant__isnull", False), ("status", "credited")),
                    models.Q(
                        ("grant__isnull", True), ("status__in", ["open", "suspended", "ended"])
                    ),
                    _connector="OR",
                ),
                name="billing_payment_is_credited_by_a_grant",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("charged_minor", 0), ("paid_at", None), ("status__in", ["open", "ended"])
                    ),
                    models.Q(("paid_at__isnull", False), ("status__in", ["credited", "suspended"])),
                    _connector="OR",
                ),
                name="billing_payment_is_paid_or_not",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymenteffect",
            constraint=models.UniqueConstraint(
                fields=("object_id", "effect"), name="billing_paymenteffect_once"
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("status", "waiting")),
                fields=["next_try_at"],
                name="billing_refund_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__gt", 0),
                    ("status__in", ["waiting", "pending", "succeeded", "failed", "refused"]),
                ),
                name="billing_refund_is_possible",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "waiting")),
                fields=("payment",),
                name="billing_refund_one_waits",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["-opened_at", "-id"], name="billing_reviewitem_newest"),
        ),
        migrations.AddConstraint(
            model_name="reviewitem",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("resolution", ""), ("resolved_at", None), ("resolved_by", None)),
                    ("resolved_at__isnull", False),
                    _connector="OR",
                ),
                name="billing_reviewitem_is_resolved_or_not",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewitem",
            constraint=models.UniqueConstraint(
                condition=models.Q(("resolved_at", None)),
                fields=("kind", "object_id"),
                name="billing_reviewitem_open_once",
            ),
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
