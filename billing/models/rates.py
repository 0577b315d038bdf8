from django.db import models
from django.db.models import Q

from billing.models.fields import currency_field, known_currency


class CreditRate(models.Model):
    """
    What a credit costs in a further currency, from ``changed_at`` on until the next of it.

    That of the settings' own currency is in the settings. Never edited.
    """

    currency = currency_field()
    price_per_credit = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        help_text="What a user pays. Empty: credits are not sold in it any more.",
    )
    changed_at = models.DateTimeField()
    changed_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")

    class Meta:
        verbose_name = "rate"
        verbose_name_plural = "rates and discounts"
        constraints = [
            known_currency("billing_creditrate_currency"),
            models.CheckConstraint(
                condition=Q(price_per_credit=None) | Q(price_per_credit__gt=0),
                name="billing_creditrate_is_a_price",
            ),
        ]
        indexes = [
            models.Index(fields=["currency", "changed_at"], name="billing_creditrate_newest")
        ]

    def __str__(self) -> str:
        if self.price_per_credit is None:
            return f"no credits in {self.currency.upper()}"
        return f"{self.price_per_credit.normalize():f} {self.currency.upper()} a credit"


class Discounts(models.Model):
    """
    One version of the discounts on credits that are bought by number. Never edited.

    In basis points, hundredths of a percent. Where there is none yet, ``usual_discounts`` count.
    """

    volume = models.JSONField(
        help_text="What is taken off for so many credits and more, by rising number."
    )
    subscriber_basis_points = models.IntegerField(help_text="Off for who has a live subscription.")
    changed_at = models.DateTimeField()
    changed_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")

    class Meta:
        verbose_name = verbose_name_plural = "discounts"
        constraints = [
            models.CheckConstraint(
                condition=Q(subscriber_basis_points__range=(0, 10_000)),
                name="billing_discounts_are_parts",
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.pk} of the discounts"
