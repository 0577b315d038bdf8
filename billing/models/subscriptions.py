from uuid import uuid4

from django.db import models
from django.db.models import F, Q

from billing.choices import (
    ChangeKind,
    ChangeStatus,
    PromisedMove,
    SliceStatus,
    SubscriptionEffectKind,
    SubscriptionStatus,
)
from billing.models.fields import currency_field
from billing.models.payments import stripe_id_field
from ledger.models.fields import code_field, credits_field

# What a wallet has one of.
ON_GOING = ["open", "incomplete", "trialing", "active", "past_due", "unpaid", "paused"]


class StripePrice(models.Model):
    """What a price of ours is at Stripe: made there when somebody first subscribes to it."""

    offer_price = models.OneToOneField(
        "billing.OfferPrice", models.PROTECT, related_name="at_stripe"
    )
    key = models.UUIDField(default=uuid4, editable=False, help_text="With which it is made.")
    price_id = stripe_id_field("price_…", unique=True, null=True)

    def __str__(self) -> str:
        return f"{self.price_id}: {self.offer_price}"


class Subscription(models.Model):
    """
    Somebody's subscription to a plan, as Stripe had it when we last looked.

    ``price`` is what was paid for last, ``next_price`` what the next period costs where that is
    another one. ``reads`` counts who began to read it at Stripe; only the last of them may act.
    """

    public_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    key = models.UUIDField(null=True, unique=True, help_text="Of the request that opened it.")
    user = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="subscriptions"
    )
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, null=True, related_name="subscriptions"
    )
    subscription_id = stripe_id_field("sub_…", unique=True, null=True)
    session_id = stripe_id_field("cs_…, where it was begun.", unique=True, null=True)
    customer_id = stripe_id_field("cus_…, who pays.", blank=True, default="")
    status = code_field(20, choices=SubscriptionStatus, default=SubscriptionStatus.OPEN)
    status_at = models.DateTimeField(help_text="Since when we know it.")
    price = models.ForeignKey(
        "billing.OfferPrice", models.PROTECT, null=True, related_name="subscriptions"
    )
    next_price = models.ForeignKey(
        "billing.OfferPrice", models.PROTECT, null=True, related_name="+", db_index=False
    )
    anchor_at = models.DateTimeField(null=True, help_text="From which its months are counted.")
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    cancels_at = models.DateTimeField(null=True, help_text="When it will end, if it was cancelled.")
    ended_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    reads = models.BigIntegerField(default=0, editable=False)

    class Meta:
        permissions = [("manage_subscription", "Can change and end subscriptions")]
        constraints = [
            models.UniqueConstraint(
                fields=["wallet"],
                condition=Q(status=SubscriptionStatus.OPEN),
                name="billing_subscription_one_is_begun",
            ),
            models.CheckConstraint(
                condition=Q(status__in=SubscriptionStatus.values)
                & (
                    Q(subscription_id=None, status__in=["open", "abandoned"])
                    | Q(subscription_id__isnull=False)
                ),
                name="billing_subscription_is_begun_or_at_stripe",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="billing_subscription_newest"),
            models.Index(
                fields=["wallet"],
                condition=Q(status__in=ON_GOING),
                name="billing_subscription_on_going",
            ),
            models.Index(
                fields=["period_end"],
                condition=Q(status="active", cancels_at=None),
                name="billing_subscription_renewing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.price.version.offer if self.price else 'unknown plan'} of {self.wallet}"

    @property
    def is_on_going(self) -> bool:
        return self.status in ON_GOING and self.status != SubscriptionStatus.OPEN


class SubscriptionEffect(models.Model):
    """What became of a subscription, in the order in which we learned of it. Never edited."""

    subscription = models.ForeignKey(Subscription, models.PROTECT, related_name="effects")
    effect = code_field(20, choices=SubscriptionEffectKind)
    price = models.ForeignKey(
        "billing.OfferPrice", models.PROTECT, null=True, related_name="+", db_index=False
    )
    object_id = stripe_id_field("What it was about at Stripe.", blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="billing_subscriptioneffect_at")]

    def __str__(self) -> str:
        return self.get_effect_display()


class SubscriptionChange(models.Model):
    """What was asked for of a subscription: a row first, then the call, under the row's key."""

    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    subscription = models.ForeignKey(Subscription, models.PROTECT, related_name="changes")
    kind = code_field(20, choices=ChangeKind)
    price = models.ForeignKey(
        "billing.OfferPrice", models.PROTECT, null=True, related_name="+", db_index=False
    )
    status = code_field(10, choices=ChangeStatus, default=ChangeStatus.WAITING)
    reason = models.CharField(max_length=500, blank=True, default="")
    asked_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField()
    request_key = models.UUIDField(unique=True, help_text="Of the request for it.")
    fingerprint = models.UUIDField()
    tries = models.IntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(status=ChangeStatus.WAITING),
                name="billing_subscriptionchange_one_waits",
            ),
            models.CheckConstraint(
                condition=Q(status=ChangeStatus.WAITING, next_try_at__isnull=False)
                | Q(status__in=["done", "refused"], next_try_at=None),
                name="billing_subscriptionchange_waits_or_is_over",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(status=ChangeStatus.WAITING),
                name="billing_subscriptionchange_due",
            )
        ]

    def __str__(self) -> str:
        return self.get_kind_display()


class Slice(models.Model):
    """
    A month's credits of what an invoice paid for: posted once, when it is due.

    ``voided`` credits went back with money before they were posted; ``paid_minor`` is what the
    grant carries of the payment's money. Once posted it never changes.
    """

    payment = models.ForeignKey(
        "billing.Payment", models.PROTECT, related_name="slices", db_index=False
    )
    number = models.IntegerField()
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="slices", db_index=False
    )
    subscription = models.ForeignKey(Subscription, models.PROTECT, related_name="slices")
    version = models.ForeignKey(
        "billing.OfferVersion", models.PROTECT, related_name="+", db_index=False
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    due_at = models.DateTimeField()
    credits = models.BigIntegerField(help_text="Whole credits.")
    voided = credits_field("Of those, taken back before they were given.")
    paid_minor = models.BigIntegerField(
        default=0, help_text="What was paid for it, once it is posted. In minor units."
    )
    currency = currency_field()
    status = code_field(10, choices=SliceStatus, default=SliceStatus.DUE)
    grant = models.OneToOneField("ledger.Grant", models.PROTECT, null=True, related_name="slice")
    posted_at = models.DateTimeField(null=True)

    class Meta:
        permissions = [("post_slice", "Can post slices that are due")]
        constraints = [
            models.UniqueConstraint(
                fields=["payment", "number"], name="billing_slice_of_a_payment_is_one"
            ),
            models.CheckConstraint(
                condition=Q(credits__gte=1, voided__gte=0, paid_minor__gte=0)
                & Q(voided__lte=F("credits"))
                & Q(ends_at__gt=F("starts_at")),
                name="billing_slice_is_possible",
            ),
            models.CheckConstraint(
                condition=Q(status=SliceStatus.POSTED, voided=0, grant__isnull=False)
                & Q(posted_at__isnull=False)
                | Q(status__in=["due", "suspended"], grant=None, paid_minor=0, posted_at=None),
                name="billing_slice_is_posted_by_a_grant",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at", "id"],
                condition=Q(status=SliceStatus.DUE, voided__lt=F("credits")),
                name="billing_slice_due",
            ),
            models.Index(
                fields=["wallet"],
                condition=Q(status=SliceStatus.SUSPENDED),
                name="billing_slice_suspended",
            ),
            models.Index(fields=["wallet", "starts_at"], name="billing_slice_of_wallet"),
        ]

    def __str__(self) -> str:
        return f"{self.credits:,} credits of {self.starts_at:%Y-%m-%d}"


class PromisedMoney(models.Model):
    """
    How money that is paid for slices came, and left: to a grant, or back. Never edited.

    The sum of a payment's rows is what is paid and not yet allotted.
    """

    payment = models.ForeignKey("billing.Payment", models.PROTECT, related_name="promised")
    slice = models.OneToOneField(Slice, models.PROTECT, null=True, related_name="promised")
    move = code_field(10, choices=PromisedMove)
    amount_minor = models.BigIntegerField(help_text="In minor units of the currency.")
    currency = currency_field()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="billing_promisedmoney_at")]

    def __str__(self) -> str:
        return f"{self.amount_minor:+,} {self.get_move_display()}"
