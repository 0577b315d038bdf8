from uuid import uuid4

from django.db import models
from django.db.models import F, Q

from billing.choices import TopUpEnd, TopUpPause, TopUpStatus
from billing.models.fields import currency_field, known_currency
from billing.models.payments import minor_field, stripe_id_field
from ledger.models.fields import code_field, credits_field


class AutoTopUp(models.Model):
    """
    What a user agreed to: to be charged for ``amount`` credits whenever theirs fall to
    ``threshold`` or below, for at most ``monthly_limit`` credits in a month of business.

    ``agreed_minor`` is what a top-up cost when they agreed, without tax: at a higher price nothing
    is charged until they agree again.
    """

    user = models.OneToOneField("accounts.User", models.PROTECT, related_name="auto_top_up")
    wallet = models.OneToOneField("ledger.Wallet", models.PROTECT, related_name="auto_top_up")
    is_enabled = models.BooleanField("on", default=False)
    threshold = credits_field("At or below it credits are bought.")
    amount = credits_field("That are bought at a time.")
    monthly_limit = credits_field("The most that are bought in a month.")
    currency = currency_field()
    agreed_minor = minor_field("For one top-up, without tax, as agreed to.")
    agreed_at = models.DateTimeField(null=True)
    card_id = stripe_id_field("pm_…", blank=True, default="")
    card_brand = models.CharField(max_length=40, blank=True, default="")
    card_last4 = code_field(4, blank=True, default="")
    card_expires = code_field(7, blank=True, default="", help_text="Year and month.")
    card_session_id = stripe_id_field("cs_…, to save a card.", null=True, unique=True)
    paused_why = code_field(20, choices=TopUpPause, blank=True, default="")
    paused_until = models.DateTimeField(null=True)
    own_payment = models.ForeignKey(
        "billing.Payment",
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="That the user is to make themselves, because the bank asks for them.",
    )
    failures = models.SmallIntegerField(default=0, help_text="Declines in a row.")
    left_after = models.BigIntegerField(
        null=True, help_text="Credits after the last top-up, where it did not reach the threshold."
    )
    limit_told_in = models.DateField(null=True, help_text="The month in which they were told.")
    ended_why = code_field(20, choices=TopUpEnd, blank=True, default="")
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "auto top-up"
        permissions = [("stop_autotopup", "Can switch auto top-ups off")]
        indexes = [
            models.Index(
                fields=["wallet"], condition=Q(is_enabled=True), name="billing_autotopup_on"
            ),
            models.Index(fields=["-changed_at", "-id"], name="billing_autotopup_newest"),
        ]
        constraints = [
            known_currency("billing_autotopup_currency"),
            models.CheckConstraint(
                condition=Q(threshold__gte=0, amount__gte=0, failures__gte=0)
                & Q(monthly_limit__gte=0, agreed_minor__gte=0),
                name="billing_autotopup_figures_are_possible",
            ),
            models.CheckConstraint(
                condition=Q(is_enabled=False)
                | Q(amount__gte=1, monthly_limit__gte=F("amount"), agreed_minor__gte=1)
                & Q(agreed_at__isnull=False, ended_why="")
                & ~Q(card_id=""),
                name="billing_autotopup_is_agreed_to",
            ),
        ]

    def __str__(self) -> str:
        return f"auto top-up of {self.user}"

    @property
    def card(self) -> str:
        """The card as people know it, such as "Visa ending in 4242"; empty if there is none."""
        return f"{self.card_brand.title()} ending in {self.card_last4}" if self.card_id else ""


class TopUp(models.Model):
    """One charge for an :class:`AutoTopUp`: a row first, then the call, under the row's key."""

    auto_top_up = models.ForeignKey(AutoTopUp, models.PROTECT, related_name="top_ups")
    number = models.IntegerField(help_text="Of those for the same user, from 1 on.")
    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    status = code_field(20, choices=TopUpStatus, default=TopUpStatus.CHARGING)
    payment = models.OneToOneField("billing.Payment", models.PROTECT, related_name="top_up")
    credits = credits_field("That are bought.")
    available = models.BigIntegerField(help_text="Credits that were left when it began.")
    card_id = stripe_id_field("pm_…, that is charged.")
    reason = models.CharField(
        max_length=100, blank=True, default="", help_text="Of the bank, for a refusal."
    )
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    tries = models.IntegerField(default=1)
    next_try_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        verbose_name = "top-up"
        constraints = [
            models.CheckConstraint(
                condition=Q(status=TopUpStatus.CHARGING, ended_at=None, next_try_at__isnull=False)
                | Q(
                    status__in=[s for s in TopUpStatus.values if s != TopUpStatus.CHARGING],
                    ended_at__isnull=False,
                    next_try_at=None,
                ),
                name="billing_topup_is_under_way_or_not",
            ),
            models.UniqueConstraint(
                fields=["auto_top_up", "number"], name="billing_topup_has_its_number"
            ),
            models.UniqueConstraint(
                fields=["auto_top_up"],
                condition=Q(status=TopUpStatus.CHARGING),
                name="billing_topup_one_at_a_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(status=TopUpStatus.CHARGING),
                name="billing_topup_due",
            ),
            models.Index(fields=["auto_top_up", "began_at"], name="billing_topup_of_a_month"),
        ]

    def __str__(self) -> str:
        return f"top-up {self.number} of {self.auto_top_up}"
