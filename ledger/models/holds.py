from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from ledger.choices import HoldStatus
from ledger.models.fields import UUID7, code_field, credits_field


class Hold(models.Model):
    """
    Credits reserved for a running job. It pins particular grants and ends once: captured (wholly
    or in part, the rest is released), released, or expired.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="holds", db_index=False
    )
    status = code_field(10, choices=HoldStatus, default=HoldStatus.OPEN)
    amount = models.BigIntegerField(help_text="Whole credits.")
    captured = credits_field("Taken when it ended.")
    released = credits_field("Given back when it ended.")
    key = models.UUIDField(unique=True, editable=False)
    fingerprint = models.UUIDField(editable=False)
    end_key = models.UUIDField(unique=True, null=True, editable=False)
    end_fingerprint = models.UUIDField(null=True, editable=False)
    actor = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )
    caller = models.CharField(
        max_length=40, help_text="Who placed it; only they or staff may end it."
    )
    placed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    feature = models.CharField(max_length=200, blank=True)
    price_ids = ArrayField(models.BigIntegerField(), null=True)
    quantities = ArrayField(models.DecimalField(max_digits=24, decimal_places=6), null=True)
    reference_id = models.CharField(max_length=200, blank=True)
    description = models.CharField(max_length=500, blank=True)
    project = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(null=True)
    erased_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, captured__gte=0, released__gte=0)
                & (
                    Q(status=HoldStatus.OPEN, captured=0, released=0, ended_at=None)
                    | (
                        Q(ended_at__isnull=False, amount=F("captured") + F("released"))
                        & (
                            Q(status=HoldStatus.CAPTURED, captured__gt=0)
                            | Q(status__in=[HoldStatus.RELEASED, HoldStatus.EXPIRED], captured=0)
                        )
                    )
                ),
                name="ledger_hold_ends_once_and_whole",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("placed_at")),
                name="ledger_hold_expires_after_it_starts",
            ),
        ]
        indexes = [
            models.Index(fields=["wallet", "-id"], name="ledger_hold_of_wallet"),
            models.Index(
                fields=["expires_at"], condition=Q(status=HoldStatus.OPEN), name="ledger_hold_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount:,} held"


class HoldAllocation(models.Model):
    """What a hold pins of one grant, in the burn-down order of when it was placed."""

    pk = models.CompositePrimaryKey("hold_id", "position")
    hold = models.ForeignKey(Hold, models.PROTECT, related_name="allocations", db_index=False)
    position = models.SmallIntegerField()
    grant = models.ForeignKey("ledger.Grant", models.PROTECT, related_name="allocations")
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    amount = models.BigIntegerField(help_text="Whole credits pinned when it was placed.")
    pinned = models.BigIntegerField(help_text="Whole credits still pinned.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, pinned__gte=0) & Q(pinned__lte=F("amount")),
                name="ledger_holdallocation_pins_what_it_took",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pinned:,} of {self.amount:,} pinned"
