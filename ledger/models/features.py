from django.db import models
from django.db.models import Q


class Feature(models.Model):
    """Something of the platform that users pay for in credits."""

    code = models.CharField(max_length=60, unique=True, help_text="Such as report or llm.input.")
    name = models.CharField(max_length=120)
    unit = models.CharField(
        max_length=60, help_text="What a quantity of one is: a report, a token."
    )
    requires_purchased = models.BooleanField(
        default=False, help_text="Takes purchased credits only."
    )
    is_active = models.BooleanField(default=True, help_text="Inactive features cannot be charged.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[a-z0-9]+([._-][a-z0-9]+)*$"),
                name="ledger_feature_code_is_plain",
                violation_error_message="Lower-case letters and digits, parted by . _ or -.",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class FeaturePrice(models.Model):
    """
    A version of a feature's price, in force from ``valid_from`` until the next one. Never edited:
    every charge keeps the version it was made at.
    """

    feature = models.ForeignKey(Feature, models.PROTECT, related_name="prices", db_index=False)
    valid_from = models.DateTimeField()
    unit_price = models.DecimalField(
        max_digits=18, decimal_places=6, help_text="Credits for ``per`` units."
    )
    per = models.PositiveIntegerField(
        default=1, help_text="Units that the price is for, such as 1,000 tokens."
    )
    is_flat = models.BooleanField(
        default=False, help_text="The price of a use, whatever the quantity."
    )
    created_by = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["feature", "valid_from"], name="ledger_featureprice_starts_once"
            ),
            models.CheckConstraint(
                condition=Q(unit_price__gte=0), name="ledger_featureprice_is_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(per__gt=0), name="ledger_featureprice_is_per_something"
            ),
        ]

    def __str__(self) -> str:
        price = f"{self.unit_price.normalize():f} per {self.per:,}"
        return f"{self.feature} {price} from {self.valid_from:%Y-%m-%d}"
