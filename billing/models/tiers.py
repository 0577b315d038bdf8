from django.db import models
from django.db.models import F, Q


class Tier(models.Model):
    """
    A plan that a wallet is on without paying for it: its credits come as awards, every month.

    Pinned to the version that it was put on: an edit of the plan does not touch it.
    """

    wallet = models.ForeignKey("ledger.Wallet", models.PROTECT, related_name="tiers")
    version = models.ForeignKey("billing.OfferVersion", models.PROTECT, related_name="tiers")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    assigned_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    ended_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    next_period = models.DateField(
        null=True, help_text="The first month that is not decided yet; none once it has ended."
    )

    class Meta:
        permissions = [
            ("assign_tier", "Can put wallets on tiers and take them off"),
            ("allot_tier", "Can give the credits of a tier before they are due"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["wallet"], condition=Q(ends_at=None), name="billing_tier_one_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None, ended_by=None) | Q(ends_at__gte=F("starts_at")),
                name="billing_tier_ends_after_it_starts",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_period", "id"],
                condition=Q(next_period__isnull=False),
                name="billing_tier_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version.offer} of {self.wallet}"


class TierAllotment(models.Model):
    """The credits of a tier for a month of business: once for a wallet. Never edited."""

    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="tier_allotments", db_index=False
    )
    period = models.DateField(help_text="The first day of the month.")
    tier = models.ForeignKey(Tier, models.PROTECT, related_name="allotments")
    transaction = models.OneToOneField(
        "ledger.CreditTransaction", models.PROTECT, related_name="tier_allotment"
    )
    allotted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["wallet", "period"], name="billing_tierallotment_once_a_month"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tier} for {self.period:%Y-%m}"


class PlanNotice(models.Model):
    """
    That the owner of a subscription was told what became of it, or that it renews. Never edited.

    Also kept where nobody was there to be told: so each is looked at once.
    """

    subscription = models.ForeignKey(
        "billing.Subscription", models.PROTECT, related_name="notices", db_index=False
    )
    effect = models.OneToOneField(
        "billing.SubscriptionEffect", models.PROTECT, null=True, related_name="notice"
    )
    renews_at = models.DateTimeField(null=True, help_text="The renewal that they were reminded of.")
    told_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "renews_at"], name="billing_plannotice_once"
            ),
            models.CheckConstraint(
                condition=Q(effect=None, renews_at__isnull=False)
                | Q(effect__isnull=False, renews_at=None),
                name="billing_plannotice_is_of_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"notice of {self.effect or self.renews_at}"
