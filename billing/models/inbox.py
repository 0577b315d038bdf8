from django.db import models
from django.db.models import Q

from billing.choices import EventStatus, ReviewKind
from billing.models.payments import stripe_id_field
from ledger.models.fields import code_field


class StripeEvent(models.Model):
    """
    What Stripe told us: stored first, handled afterwards, until it is done.

    Of what it said only ids, figures and states are kept. Nothing in it is about a person, and
    handlers fetch the object itself.
    """

    event_id = stripe_id_field("evt_…", unique=True)
    type = code_field(100)
    object_id = stripe_id_field("What it is about.", blank=True, default="")
    payload = models.JSONField(default=dict)
    account = stripe_id_field("acct_…, if it says so.", blank=True, default="")
    livemode = models.BooleanField()
    created_at = models.DateTimeField(help_text="At Stripe.")
    received_at = models.DateTimeField()
    was_missed = models.BooleanField(
        default=False, help_text="No webhook brought it: we asked Stripe for it."
    )
    status = code_field(10, choices=EventStatus, default=EventStatus.WAITING)
    tries = models.IntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        verbose_name = "Stripe event"
        permissions = [("replay_stripeevent", "Can have Stripe events handled again")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "failed"], next_try_at__isnull=False)
                | Q(status__in=["done", "ignored"], next_try_at=None),
                name="billing_stripeevent_is_tried_until_done",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="billing_stripeevent_due",
            ),
            models.Index(fields=["-received_at", "-id"], name="billing_stripeevent_newest"),
            models.Index(fields=["object_id"], name="billing_stripeevent_of"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class ReviewItem(models.Model):
    """Something about a payment that a person should look at, until they say what they did."""

    kind = code_field(20, choices=ReviewKind)
    payment = models.ForeignKey("billing.Payment", models.PROTECT, related_name="review_items")
    object_id = stripe_id_field("What it is about at Stripe.")
    summary = models.CharField(max_length=500)
    opened_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    resolution = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = "matter for review"
        verbose_name_plural = "matters for review"
        permissions = [
            ("resolve_reviewitem", "Can resolve matters for review"),
            ("write_off_debt", "Can write off debts"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(resolved_at=None, resolution="", resolved_by=None)
                | Q(resolved_at__isnull=False),
                name="billing_reviewitem_is_resolved_or_not",
            ),
            models.UniqueConstraint(
                fields=["kind", "object_id"],
                condition=Q(resolved_at=None),
                name="billing_reviewitem_open_once",
            ),
        ]
        indexes = [
            models.Index(fields=["-opened_at", "-id"], name="billing_reviewitem_newest"),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
