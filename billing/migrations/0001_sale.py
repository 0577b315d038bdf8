import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NEVER_CHANGED = ["offerversion", "offerprice", "creditrate", "discounts"]
NEVER_TRUNCATED = [*NEVER_CHANGED, "offer", "promotion", "redemption"]
TRUNCATE = (
    "BEFORE TRUNCATE ON billing_{} FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()"
)
CHANGE = (
    "BEFORE UPDATE OR DELETE ON billing_{} FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()"
)
# What a promotion gives, and to whom; what an offer is called.
TERMS = """
CREATE TRIGGER terms_never_change BEFORE UPDATE ON billing_promotion FOR EACH ROW
    WHEN ((OLD.code, OLD.kind, OLD.basis_points, OLD.amounts, OLD.credits, OLD.expiry_days, OLD.minimum_credits,
           OLD.offers, OLD.roles, OLD.starts_at)
        IS DISTINCT FROM (NEW.code, NEW.kind, NEW.basis_points, NEW.amounts, NEW.credits, NEW.expiry_days,
                          NEW.minimum_credits, NEW.offers, NEW.roles, NEW.starts_at))
    EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER terms_never_change BEFORE UPDATE ON billing_offer FOR EACH ROW
    WHEN ((OLD.code, OLD.kind) IS DISTINCT FROM (NEW.code, NEW.kind))
    EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE billing_promotion ENABLE ALWAYS TRIGGER terms_never_change;
ALTER TABLE billing_offer ENABLE ALWAYS TRIGGER terms_never_change;
"""


def guards(name: str, rule: str, tables: list[str]) -> str:
    return "".join(
        f"CREATE TRIGGER {name} {rule.format(table)};"
        f"ALTER TABLE billing_{table} ENABLE ALWAYS TRIGGER {name};"
        for table in tables
    )


GUARDS = (
    guards("never_changed", CHANGE, NEVER_CHANGED)
    + guards("never_truncated", TRUNCATE, NEVER_TRUNCATED)
    + TERMS
)
UNGUARD = """
DROP TRIGGER terms_never_change ON billing_offer;
DROP TRIGGER terms_never_change ON billing_promotion;
""" + "".join(
    f"DROP TRIGGER {name} ON billing_{table};"
    for name, tables in [("never_truncated", NEVER_TRUNCATED), ("never_changed", NEVER_CHANGED)]
    for table in tables
)


class Migration(migrations.Migration):
    """What is sold, in versions that never change, and promotions that keep what they promise."""

    dependencies = [
        ("ledger", "0012_low_credit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Offer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        db_collation="C",
                        help_text="Such as starter. Never changes.",
                        max_length=40,
                        unique=True,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("package", "package, bought once"),
                            ("plan", "plan, paid every month or year"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "position",
                    models.IntegerField(default=0, help_text="Lower ones are listed first."),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="What is not is sold no longer; who has it keeps it.",
                    ),
                ),
            ],
            options={
                "verbose_name": "package or plan",
                "verbose_name_plural": "packages and plans",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("code__regex", "^[a-z0-9]+(-[a-z0-9]+)*$")),
                        name="billing_offer_code_is_plain",
                        violation_error_message="Lower-case letters and digits, parted by hyphens.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OfferVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("name", models.CharField(max_length=80)),
                (
                    "credits",
                    models.BigIntegerField(help_text="Whole credits; of a plan, every month."),
                ),
                (
                    "features",
                    models.JSONField(default=list, help_text="What comes with it, as labels."),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "offer",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="billing.offer",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="OfferPrice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                (
                    "interval",
                    models.CharField(
                        blank=True,
                        choices=[("month", "Month"), ("year", "Year")],
                        db_collation="C",
                        default="",
                        max_length=5,
                    ),
                ),
                (
                    "amount_minor",
                    models.BigIntegerField(help_text="In minor units of the currency."),
                ),
                (
                    "version",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="prices",
                        to="billing.offerversion",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Promotion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        db_collation="C",
                        help_text="As people type it, in whatever case.",
                        max_length=40,
                        unique=True,
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="What it is for, in words for users.", max_length=120
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("percentage", "percentage off a purchase"),
                            ("fixed", "amount off a purchase"),
                            ("bonus", "bonus credits with a purchase"),
                            ("grant", "credits for the code"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "basis_points",
                    models.IntegerField(default=0, help_text="Off, in hundredths of a percent."),
                ),
                (
                    "amounts",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Off, in minor units by currency: it is for these alone.",
                    ),
                ),
                (
                    "credits",
                    models.BigIntegerField(default=0, help_text="That it gives. In whole credits."),
                ),
                (
                    "expiry_days",
                    models.IntegerField(
                        blank=True, help_text="Days that those last. Empty: for ever.", null=True
                    ),
                ),
                (
                    "minimum_credits",
                    models.BigIntegerField(
                        default=0, help_text="That a purchase has at least. In whole credits."
                    ),
                ),
                (
                    "offers",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Codes of the packages that it is for. Empty: any purchase.",
                    ),
                ),
                (
                    "roles",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Codes of the roles of users it is for. Empty: all.",
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                (
                    "ends_at",
                    models.DateTimeField(
                        blank=True, help_text="It is over at this instant.", null=True
                    ),
                ),
                (
                    "limit_total",
                    models.BigIntegerField(
                        blank=True, help_text="Redemptions in all. Empty: any number.", null=True
                    ),
                ),
                (
                    "limit_per_user",
                    models.IntegerField(
                        blank=True,
                        default=1,
                        help_text="Of one user. Empty: any number.",
                        null=True,
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("taken", models.BigIntegerField(default=0, editable=False)),
                ("created_at", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Redemption",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("identity", models.UUIDField(editable=False)),
                (
                    "key",
                    models.UUIDField(
                        help_text="Of the purchase or request it belongs to.", unique=True
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("reserved", "Reserved"),
                            ("redeemed", "Redeemed"),
                            ("released", "Released"),
                        ],
                        db_collation="C",
                        max_length=10,
                    ),
                ),
                (
                    "currency",
                    models.CharField(blank=True, db_collation="C", default="", max_length=3),
                ),
                (
                    "discount_minor",
                    models.BigIntegerField(
                        default=0, help_text="That it took off, in minor units of the currency."
                    ),
                ),
                (
                    "credits",
                    models.BigIntegerField(default=0, help_text="That it gives. In whole credits."),
                ),
                ("reserved_at", models.DateTimeField()),
                (
                    "settled_at",
                    models.DateTimeField(help_text="When it was redeemed or released.", null=True),
                ),
                (
                    "grant",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="redemption",
                        to="ledger.grant",
                    ),
                ),
                (
                    "promotion",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="redemptions",
                        to="billing.promotion",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CreditRate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        db_collation="C", help_text="By ISO 4217, in lower case.", max_length=3
                    ),
                ),
                (
                    "price_per_credit",
                    models.DecimalField(
                        decimal_places=6,
                        help_text="What a user pays. Empty: credits are not sold in it any more.",
                        max_digits=12,
                        null=True,
                    ),
                ),
                ("changed_at", models.DateTimeField()),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "rate",
                "verbose_name_plural": "rates and discounts",
                "indexes": [
                    models.Index(
                        fields=["currency", "changed_at"], name="billing_creditrate_newest"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                        name="billing_creditrate_currency",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("price_per_credit", None), ("price_per_credit__gt", 0), _connector="OR"
                        ),
                        name="billing_creditrate_is_a_price",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Discounts",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "volume",
                    models.JSONField(
                        help_text="What is taken off for so many credits and more, by rising number."
                    ),
                ),
                (
                    "subscriber_basis_points",
                    models.IntegerField(help_text="Off for who has a live subscription."),
                ),
                ("changed_at", models.DateTimeField()),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "discounts",
                "verbose_name_plural": "discounts",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("subscriber_basis_points__range", (0, 10000))),
                        name="billing_discounts_are_parts",
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="offerversion",
            constraint=models.UniqueConstraint(
                fields=("offer", "number"), name="billing_offerversion_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="offerversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__range", (1, 1000000000)), ("number__gte", 1)),
                name="billing_offerversion_has_credits",
            ),
        ),
        migrations.AddConstraint(
            model_name="offerprice",
            constraint=models.UniqueConstraint(
                fields=("version", "currency", "interval"), name="billing_offerprice_is_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="offerprice",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[a-z]{3}$")),
                name="billing_offerprice_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="offerprice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__range", (1, 1000000000000)),
                    ("interval__in", ["", "month", "year"]),
                ),
                name="billing_offerprice_is_a_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="promotion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("code__regex", "^[A-Z0-9]+([_-][A-Z0-9]+)*$"), ("taken__gte", 0)
                ),
                name="billing_promotion_code_is_plain",
                violation_error_message="Letters A to Z and digits, parted by - or _.",
            ),
        ),
        migrations.AddConstraint(
            model_name="promotion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("amounts", {}),
                        ("basis_points__range", (1, 10000)),
                        ("credits", 0),
                        ("kind", "percentage"),
                    ),
                    models.Q(
                        ("basis_points", 0),
                        ("credits", 0),
                        ("kind", "fixed"),
                        models.Q(("amounts", {}), _negated=True),
                    ),
                    models.Q(
                        ("amounts", {}),
                        ("basis_points", 0),
                        ("credits__range", (1, 1000000000)),
                        ("kind__in", ["bonus", "grant"]),
                    ),
                    _connector="OR",
                ),
                name="billing_promotion_gives_what_it_is",
                violation_error_message="It gives what its kind says, and that alone.",
            ),
        ),
        migrations.AddConstraint(
            model_name="promotion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "grant"), _negated=True),
                    models.Q(
                        ("limit_per_user", 1),
                        ("limit_per_user__isnull", False),
                        ("minimum_credits", 0),
                        ("offers", []),
                    ),
                    _connector="OR",
                ),
                name="billing_promotion_grants_once",
                violation_error_message="A code for credits is once a user, without a purchase.",
            ),
        ),
        migrations.AddConstraint(
            model_name="promotion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ends_at", None), ("ends_at__gt", models.F("starts_at")), _connector="OR"
                    ),
                    models.Q(("limit_total", None), ("limit_total__gte", 1), _connector="OR"),
                    models.Q(("limit_per_user", None), ("limit_per_user__gte", 1), _connector="OR"),
                    models.Q(
                        ("expiry_days", None), ("expiry_days__range", (1, 36500)), _connector="OR"
                    ),
                    ("minimum_credits__gte", 0),
                ),
                name="billing_promotion_bounds_are_possible",
                violation_error_message="It ends after it begins; limits and days are one or more.",
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(
                fields=["promotion", "identity"], name="billing_redemption_of_identity"
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ["reserved", "redeemed", "released"]),
                    ("credits__gte", 0),
                    ("discount_minor__gte", 0),
                ),
                name="billing_redemption_is_possible",
            ),
        ),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
