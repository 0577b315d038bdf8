from django.db import models
from django.db.models import Q

from billing.choices import Interval, OfferKind
from billing.models.fields import currency_field, known_currency
from ledger.models.fields import code_field
from ledger.models.settings import MOST_CREDITS

LARGEST_PRICE = 10**12


class Offer(models.Model):
    """
    Something that is sold: a package of credits, or a plan with credits every month.

    What it is and costs are its versions; the newest is what is sold.
    """

    code = code_field(40, unique=True, help_text="Such as starter. Never changes.")
    kind = code_field(10, choices=OfferKind)
    position = models.IntegerField(default=0, help_text="Lower ones are listed first.")
    is_active = models.BooleanField(
        default=True, help_text="What is not is sold no longer; who has it keeps it."
    )

    class Meta:
        verbose_name = "package or plan"
        verbose_name_plural = "packages and plans"
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[a-z0-9]+(-[a-z0-9]+)*$"),
                name="billing_offer_code_is_plain",
                violation_error_message="Lower-case letters and digits, parted by hyphens.",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class OfferVersion(models.Model):
    """What an offer is from one edit to the next. Never edited: who bought it keeps it."""

    offer = models.ForeignKey(Offer, models.PROTECT, related_name="versions", db_index=False)
    number = models.IntegerField()
    name = models.CharField(max_length=80)
    credits = models.BigIntegerField(help_text="Whole credits; of a plan, every month.")
    rollover_cap = models.BigIntegerField(
        null=True,
        help_text="Of a plan: how many unspent credits stay when the next month's come; 0: none,"
        " empty: all.",
    )
    features = models.JSONField(default=list, help_text="What comes with it, as labels.")
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["offer", "number"], name="billing_offerversion_number"),
            models.CheckConstraint(
                condition=Q(credits__range=(1, MOST_CREDITS), number__gte=1),
                name="billing_offerversion_has_credits",
            ),
            models.CheckConstraint(
                condition=Q(rollover_cap=None) | Q(rollover_cap__range=(0, MOST_CREDITS)),
                name="billing_offerversion_keeps_some",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offer} no. {self.number}"


class OfferPrice(models.Model):
    """What a version costs in one currency, without tax; a plan's for a month or a year."""

    version = models.ForeignKey(OfferVersion, models.PROTECT, related_name="prices", db_index=False)
    currency = currency_field()
    interval = code_field(5, choices=Interval, blank=True, default="")
    amount_minor = models.BigIntegerField(help_text="In minor units of the currency.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["version", "currency", "interval"], name="billing_offerprice_is_one"
            ),
            known_currency("billing_offerprice_currency"),
            models.CheckConstraint(
                condition=Q(amount_minor__range=(1, LARGEST_PRICE))
                & Q(interval__in=["", *Interval.values]),
                name="billing_offerprice_is_a_price",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}, {self.currency} {self.interval}".strip()

    @property
    def months(self) -> int:
        """For how many months of credits it is paid: one, of a package too, or twelve."""
        return 12 if self.interval == Interval.YEAR else 1
