import uuid

from django.db import models
from django.db.models import F, Q

from ledger.choices import BatchKind, BatchStatus, CreditType, ShortPolicy
from ledger.models.fields import code_field


class Batch(models.Model):
    """
    One adjustment of many wallets: drafted, planned, confirmed, worked in chunks, reversible.

    The plan is its items, frozen under ``plan_hash``: what a second person approves and what runs
    is that and nothing else. From ``started`` on, how far it is, is its job's to say.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = code_field(10, choices=BatchKind)
    credit_type = code_field(10, choices=CreditType, blank=True, default="")
    amount = models.BigIntegerField(null=True, help_text="For each wallet; null: its own.")
    selection = models.JSONField(help_text="Which wallets, as they were chosen.")
    policy = code_field(10, choices=ShortPolicy, default=ShortPolicy.SKIP)
    expires_at = models.DateTimeField(null=True, help_text="Of the credits that it adds.")
    reason = models.CharField(max_length=500)
    status = code_field(10, choices=BatchStatus, default=BatchStatus.DRAFT)
    maker = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    planned_at = models.DateTimeField(null=True)
    plan_expires_at = models.DateTimeField(null=True)
    plan_hash = models.CharField(max_length=64, blank=True)
    plan = models.JSONField(default=dict, help_text="What it will do, in figures.")
    confirmed_at = models.DateTimeField(null=True)
    approval = models.OneToOneField(
        "accounts.Approval", models.PROTECT, null=True, related_name="batch"
    )
    job = models.OneToOneField("accounts.Job", models.PROTECT, null=True, related_name="batch")
    reverses = models.ForeignKey("self", models.PROTECT, null=True, related_name="reversals")

    class Meta:
        verbose_name_plural = "batches"
        permissions = [
            ("run_batch", "Can plan, confirm and reverse batches"),
            ("control_batch", "Can pause, resume and cancel batches"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["reverses"],
                condition=~Q(status=BatchStatus.DISCARDED),
                name="ledger_batch_is_reversed_once",
            ),
        ]

    def __str__(self) -> str:
        return f"batch {self.pk}"


class BatchItem(models.Model):
    """
    What a batch moves in or out of one wallet; never changed once the plan is frozen.

    Nobody's ``note`` outlives them: it is erased, and nothing else ever changes.
    """

    pk = models.CompositePrimaryKey("batch_id", "wallet_id", "credit_type")
    # Written by the million out of rows that are there and are never deleted; a trigger looks
    # after the batch. Foreign keys would double the time that a plan takes.
    batch = models.ForeignKey(
        Batch, models.PROTECT, related_name="items", db_index=False, db_constraint=False
    )
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    credit_type = code_field(10, choices=CreditType)
    amount = models.BigIntegerField(help_text="Whole credits, above zero: the most that moves.")
    paid_minor = models.BigIntegerField(default=0, help_text="Paid for them, in minor units.")
    currency = code_field(3, blank=True, default="")
    line = models.IntegerField(null=True, help_text="Of the uploaded file, from 1.")
    note = models.CharField(max_length=500, blank=True, default="", help_text="The line's reason.")
    reverses = models.ForeignKey(
        "ledger.CreditTransaction",
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, paid_minor__gte=0),
                name="ledger_batchitem_moves_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount:,} {self.credit_type} of {self.batch}"


class BatchException(models.Model):
    """A wallet, or a line of the uploaded file, that a batch left out; when, and why."""

    batch = models.ForeignKey(
        Batch, models.PROTECT, related_name="exceptions", db_index=False, db_constraint=False
    )
    wallet = models.ForeignKey(
        "ledger.Wallet",
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    line = models.IntegerField(null=True, help_text="Of the uploaded file, from 1.")
    credit_type = code_field(10, blank=True, default="")
    amount = models.BigIntegerField(null=True)
    paid_minor = models.BigIntegerField(default=0, help_text="Paid for them, in minor units.")
    currency = code_field(3, blank=True, default="")
    note = models.CharField(max_length=500, blank=True, default="", help_text="The line's reason.")
    is_at_run = models.BooleanField(default=False, help_text="Not moved when it ran.")
    why = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(wallet=None, line=None), name="ledger_batchexception_is_of_something"
            ),
            models.UniqueConstraint(
                fields=["batch", "wallet", "credit_type"],
                condition=Q(is_at_run=True),
                name="ledger_batchexception_is_one_at_run",
            ),
        ]
        indexes = [models.Index(F("batch"), F("id"), name="ledger_batchexception_of")]

    def __str__(self) -> str:
        return self.why
