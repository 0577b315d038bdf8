from django.db import models
from django.db.models import F, Q

from billing.choices import PromotionKind, RedemptionStatus
from ledger.models.fields import code_field, credits_field
from ledger.models.settings import MOST_CREDITS


class Promotion(models.Model):
    """
    A code that takes something off a purchase, adds credits to it, or gives credits by itself.

    What it gives and to whom never changes; until when and how often may. ``taken`` counts its
    redemptions, but for those that were released: only ``billing.services.redemptions`` writes it.
    """

    code = code_field(40, unique=True, help_text="As people type it, in whatever case.")
    name = models.CharField(max_length=120, help_text="What it is for, in words for users.")
    kind = code_field(10, choices=PromotionKind)
    basis_points = models.IntegerField(default=0, help_text="Off, in hundredths of a percent.")
    amounts = models.JSONField(
        default=dict,
        blank=True,
        help_text="Off, in minor units by currency: it is for these alone.",
    )
    credits = credits_field("That it gives.")
    expiry_days = models.IntegerField(
        null=True, blank=True, help_text="Days that those last. Empty: for ever."
    )
    minimum_credits = credits_field("That a purchase has at least.")
    offers = models.JSONField(
        default=list,
        blank=True,
        help_text="Codes of the packages that it is for. Empty: any purchase.",
    )
    roles = models.JSONField(
        default=list, blank=True, help_text="Codes of the roles of users it is for. Empty: all."
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="It is over at this instant.")
    limit_total = models.BigIntegerField(
        null=True, blank=True, help_text="Redemptions in all. Empty: any number."
    )
    limit_per_user = models.IntegerField(
        null=True, blank=True, default=1, help_text="Of one user. Empty: any number."
    )
    is_active = models.BooleanField(default=True)
    taken = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[A-Z0-9]+([_-][A-Z0-9]+)*$", taken__gte=0),
                name="billing_promotion_code_is_plain",
                violation_error_message="Letters A to Z and digits, parted by - or _.",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind=PromotionKind.PERCENTAGE,
                    basis_points__range=(1, 10_000),
                    credits=0,
                    amounts={},
                )
                | Q(kind=PromotionKind.FIXED, basis_points=0, credits=0) & ~Q(amounts={})
                | Q(
                    kind__in=[PromotionKind.BONUS, PromotionKind.GRANT],
                    basis_points=0,
                    credits__range=(1, MOST_CREDITS),
                    amounts={},
                ),
                name="billing_promotion_gives_what_it_is",
                violation_error_message="It gives what its kind says, and that alone.",
            ),
            models.CheckConstraint(
                condition=~Q(kind=PromotionKind.GRANT)
                | Q(limit_per_user=1, limit_per_user__isnull=False, minimum_credits=0, offers=[]),
                name="billing_promotion_grants_once",
                violation_error_message="A code for credits is once a user, without a purchase.",
            ),
            models.CheckConstraint(
                condition=(Q(ends_at=None) | Q(ends_at__gt=F("starts_at")))
                & (Q(limit_total=None) | Q(limit_total__gte=1))
                & (Q(limit_per_user=None) | Q(limit_per_user__gte=1))
                & (Q(expiry_days=None) | Q(expiry_days__range=(1, 36_500)))
                & Q(minimum_credits__gte=0),
                name="billing_promotion_bounds_are_possible",
                violation_error_message="It ends after it begins; limits and days are one or more.",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Redemption(models.Model):
    """
    One use of a promotion: reserved with a purchase, redeemed when that is paid, or released.

    ``identity`` outlives the erasure of its user: what is given once is not given again.
    """

    promotion = models.ForeignKey(
        Promotion, models.PROTECT, related_name="redemptions", db_index=False
    )
    user = models.ForeignKey("accounts.User", models.PROTECT, related_name="+")
    identity = models.UUIDField(editable=False)
    key = models.UUIDField(unique=True, help_text="Of the purchase or request it belongs to.")
    status = code_field(10, choices=RedemptionStatus)
    currency = code_field(3, blank=True, default="")
    discount_minor = models.BigIntegerField(
        default=0, help_text="That it took off, in minor units of the currency."
    )
    credits = credits_field("That it gives.")
    grant = models.OneToOneField(
        "ledger.Grant", models.PROTECT, null=True, related_name="redemption"
    )
    reserved_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, help_text="When it was redeemed or released.")

    class Meta:
        indexes = [
            models.Index(fields=["promotion", "identity"], name="billing_redemption_of_identity")
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=RedemptionStatus.values)
                & Q(discount_minor__gte=0, credits__gte=0),
                name="billing_redemption_is_possible",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.promotion} by {self.user}"
