from uuid import uuid4

from django.db import models
from django.db.models import F, Q

from billing.choices import Effect, PaymentStatus, RefundStatus
from billing.models.fields import currency_field, known_currency
from creditsite.money import format_money
from ledger.models.fields import code_field, credits_field


def stripe_id_field(help_text: str, **options) -> models.CharField:
    return code_field(255, help_text=help_text, **options)


def minor_field(help_text: str) -> models.BigIntegerField:
    return models.BigIntegerField(default=0, help_text=f"{help_text} In minor units.")


class StripeCustomer(models.Model):
    """Who a user is at Stripe."""

    user = models.OneToOneField("accounts.User", models.PROTECT, related_name="stripe_customer")
    customer_id = stripe_id_field("cus_…", unique=True)
    created_at = models.DateTimeField()
    forget_at = models.DateTimeField(
        null=True, help_text="Since when they are to be deleted at Stripe: they were erased here."
    )

    def __str__(self) -> str:
        return self.customer_id


class Payment(models.Model):
    """
    One payment: what it should cost and buy, and what Stripe says became of its money.

    ``returned_minor`` is the one counter of what went back, by refunds and lost chargebacks: all
    that is taken from its grants follows from that. ``reads`` counts who began to read its state
    at Stripe; only the last of them may act on what they read.
    """

    public_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    key = models.UUIDField(null=True, unique=True, help_text="Of the request that opened it.")
    fingerprint = models.UUIDField(
        null=True, editable=False, help_text="Of the same request, if it was a purchase."
    )
    user = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="payments")
    wallet = models.ForeignKey("ledger.Wallet", models.PROTECT, null=True, related_name="payments")
    status = code_field(10, choices=PaymentStatus, default=PaymentStatus.OPEN)
    description = models.CharField(max_length=250, blank=True, default="")
    credits = credits_field("That it buys.")
    price = models.ForeignKey(
        "billing.OfferPrice",
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text="Of the package, if it was one.",
    )
    redemption = models.OneToOneField(
        "billing.Redemption", models.PROTECT, null=True, related_name="payment"
    )
    currency = currency_field()
    net_minor = minor_field("To be paid, without tax.")
    tax_minor = minor_field("The tax on it.")
    charged_minor = minor_field("Paid, with tax.")
    refunded_minor = minor_field("Of that refunded.")
    charged_back_minor = minor_field("Of that lost in chargebacks.")
    returned_minor = minor_field("Of that gone back in all.")
    is_disputed = models.BooleanField(default=False, help_text="While a chargeback is decided.")
    intent_id = stripe_id_field("pi_…", unique=True, null=True)
    session_id = stripe_id_field("cs_…", unique=True, null=True)
    invoice_id = stripe_id_field("in_…, of a subscription.", unique=True, null=True)
    subscription = models.ForeignKey(
        "billing.Subscription", models.PROTECT, null=True, related_name="payments"
    )
    entitlement = models.BigIntegerField(
        default=0,
        editable=False,
        help_text="Credits by the lines of its invoice; below zero, it is taken off later ones.",
    )
    customer_id = stripe_id_field("cus_…, who paid.", blank=True, default="")
    grant = models.OneToOneField("ledger.Grant", models.PROTECT, null=True, related_name="payment")
    created_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True)
    reads = models.BigIntegerField(default=0, editable=False)

    class Meta:
        permissions = [
            ("refund_payment", "Can refund payments"),
            ("credit_payment", "Can give credits for payments that are held back"),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="billing_payment_newest"),
            models.Index(
                fields=["created_at"],
                condition=Q(status=PaymentStatus.OPEN, fingerprint__isnull=False),
                name="billing_payment_open",
            ),
        ]
        constraints = [
            known_currency("billing_payment_currency"),
            models.CheckConstraint(
                condition=Q(
                    credits__gte=0,
                    net_minor__gte=0,
                    tax_minor__gte=0,
                    charged_minor__gte=0,
                    refunded_minor__gte=0,
                    charged_back_minor__gte=0,
                    returned_minor__gte=0,
                )
                & Q(returned_minor__lte=F("charged_minor")),
                name="billing_payment_returns_what_was_paid",
            ),
            models.CheckConstraint(
                condition=Q(status=PaymentStatus.CREDITED, grant__isnull=False, invoice_id=None)
                | Q(status=PaymentStatus.CREDITED, grant=None, invoice_id__isnull=False)
                | Q(status__in=["open", "suspended", "ended"], grant__isnull=True),
                name="billing_payment_is_credited_by_a_grant",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "ended"], charged_minor=0, paid_at=None)
                | Q(status__in=["credited", "suspended"], paid_at__isnull=False),
                name="billing_payment_is_paid_or_not",
            ),
        ]

    def __str__(self) -> str:
        what = self.description or self.intent_id or str(self.public_id)
        return f"{format_money(self.net_minor + self.tax_minor, self.currency)} for {what}"


class PaymentEffect(models.Model):
    """What an object at Stripe did to a payment; each does each thing once. Never edited."""

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="effects")
    object_id = stripe_id_field("pi_…, re_… or du_….")
    effect = code_field(20, choices=Effect)
    amount_minor = minor_field("Of the object.")
    transaction = models.ForeignKey(
        "ledger.CreditTransaction",
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="That moved the credits of it.",
    )
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["object_id", "effect"], name="billing_paymenteffect_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["payment"],
                condition=Q(effect__in=[Effect.DISPUTED, Effect.LOST]),
                name="billing_paymenteffect_dispute",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.object_id} {self.effect}"


class Refund(models.Model):
    """A refund that staff asked for: a row first, then the call to Stripe, under the row's key."""

    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="refunds")
    amount_minor = models.BigIntegerField(help_text="With tax, in minor units.")
    status = code_field(10, choices=RefundStatus, default=RefundStatus.WAITING)
    refund_id = stripe_id_field("re_…", unique=True, null=True)
    reason = models.CharField(max_length=500)
    asked_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField()
    request_key = models.UUIDField(unique=True, help_text="Of the request for it.")
    fingerprint = models.UUIDField()
    tries = models.IntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, status__in=RefundStatus.values),
                name="billing_refund_is_possible",
            ),
            models.UniqueConstraint(
                fields=["payment"],
                condition=Q(status=RefundStatus.WAITING),
                name="billing_refund_one_waits",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(status=RefundStatus.WAITING),
                name="billing_refund_due",
            )
        ]

    def __str__(self) -> str:
        return f"refund of {format_money(self.amount_minor, self.payment.currency)}"
