from django.db import models
from django.db.models import F, Q

from disputes.choices import OPEN, REFUNDS, DisputeStatus, EventKind, Resolution
from ledger.models.fields import UUID7, code_field


class DisputeReason(models.Model):
    """One of the reasons that users choose from; staff maintain them."""

    code = code_field(40, primary_key=True)
    label = models.CharField(max_length=80)
    position = models.SmallIntegerField(default=100, help_text="Smaller ones are listed first.")
    is_active = models.BooleanField("active", default=True)

    class Meta:
        verbose_name = "reason of disputes"
        verbose_name_plural = "reasons of disputes"
        constraints = [
            models.UniqueConstraint(fields=["label"], name="disputes_disputereason_label"),
            models.CheckConstraint(
                condition=~Q(code="other") | Q(is_active=True),
                name="disputes_disputereason_other_stays",
                violation_error_message="What is not listed is kept under this reason: it stays.",
            ),
        ]

    def __str__(self) -> str:
        return self.label


class Dispute(models.Model):
    """
    A user says that a charge of credits was wrong. There is one for a charge.

    ``round`` is 1, and 2 once it was appealed; each ends with a :class:`Decision`. ``version``
    counts changes of state, assignment and approval: who acts names the one that they saw. What is
    disputed never changes; triggers keep that, and the states that follow each other.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    transaction = models.OneToOneField(
        "ledger.CreditTransaction", models.PROTECT, related_name="dispute"
    )
    wallet = models.ForeignKey("ledger.Wallet", models.PROTECT, related_name="disputes")
    feature = models.CharField(max_length=200, blank=True, help_text="That was charged.")
    charged = models.BigIntegerField(help_text="What the charge took, in whole credits.")
    requested = models.BigIntegerField(help_text="To be given back, in whole credits.")
    reason = models.ForeignKey(DisputeReason, models.PROTECT, related_name="+")
    other_reason = models.CharField(
        max_length=200, blank=True, default="", help_text="In their words, if it is not listed."
    )
    description = models.CharField(max_length=2000, blank=True)
    opened_by = models.ForeignKey(
        "accounts.User", models.PROTECT, related_name="disputes", db_index=False
    )
    submitted_at = models.DateTimeField()
    request_key = models.UUIDField(null=True, unique=True, editable=False)
    fingerprint = models.UUIDField(editable=False)
    status = code_field(20, choices=DisputeStatus, default=DisputeStatus.PENDING)
    round = models.SmallIntegerField(default=1, help_text="2 once it was appealed.")
    version = models.IntegerField(default=1, editable=False)
    due_at = models.DateTimeField(help_text="Until when it is to be decided.")
    appealed_at = models.DateTimeField(null=True)
    assignee = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )
    approval = models.OneToOneField(
        "accounts.Approval",
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="That a decision waits for.",
    )
    told_new_at = models.DateTimeField(null=True, help_text="When staff were told of it.")
    told_overdue_at = models.DateTimeField(null=True, help_text="And that it is overdue.")
    erased_at = models.DateTimeField(null=True, editable=False)

    told_decisions: list["Decision"]  # in order, where ``disputes.queries.queue`` shows it
    is_of_reader: bool  # where staff read it

    class Meta:
        permissions = [
            ("review_dispute", "Can take disputes under review, assign them and write in them"),
            ("resolve_dispute", "Can decide disputes and give credits back"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(charged__gt=0, requested__gt=0) & Q(requested__lte=F("charged")),
                name="disputes_dispute_is_of_what_was_taken",
            ),
            models.CheckConstraint(
                condition=Q(status__in=DisputeStatus.values, version__gte=1)
                & (Q(round=1, appealed_at=None) | Q(round=2, appealed_at__isnull=False)),
                name="disputes_dispute_is_appealed_once",
            ),
            models.CheckConstraint(
                condition=Q(approval=None) | Q(status=DisputeStatus.UNDER_REVIEW),
                name="disputes_dispute_waits_under_review",
            ),
            models.CheckConstraint(
                condition=Q(assignee=None) | ~Q(assignee=F("opened_by")),
                name="disputes_dispute_is_not_assigned_to_its_user",
            ),
        ]
        indexes = [
            # What waits, the most urgent first: all of it, and what is of one of us.
            models.Index(
                fields=["due_at", "id"],
                condition=Q(status__in=OPEN),
                name="disputes_dispute_queue",
            ),
            models.Index(
                fields=["assignee", "due_at", "id"],
                condition=Q(status__in=OPEN),
                name="disputes_dispute_of_assignee",
            ),
            models.Index(fields=["status", "due_at", "id"], name="disputes_dispute_by_status"),
            models.Index(fields=["opened_by", "id"], name="disputes_dispute_of_user"),
            models.Index(fields=["feature", "id"], name="disputes_dispute_of_feature"),
            models.Index(fields=["submitted_at"], name="disputes_dispute_submitted"),
        ]

    def __str__(self) -> str:
        return f"dispute of {self.charged:,} credits"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class Decision(models.Model):
    """
    How a round of a dispute ended, and what was given back by it; one for each round.

    Never edited; only ``notes`` are erased with the person they were written to.
    """

    dispute = models.ForeignKey(Dispute, models.PROTECT, related_name="decisions")
    round = models.SmallIntegerField()
    resolution = code_field(20, choices=Resolution)
    asked = models.BigIntegerField(default=0, help_text="To give back, in whole credits.")
    refunded = models.BigIntegerField(
        default=0, help_text="Given back in whatever form: the rest was voided meanwhile."
    )
    to_balance = models.BigIntegerField(
        default=0, help_text="Of that into the balance; the rest made a debt smaller."
    )
    transaction = models.OneToOneField(
        "ledger.CreditTransaction", models.PROTECT, null=True, related_name="+"
    )
    decided_by = models.ForeignKey("accounts.User", models.PROTECT, related_name="+")
    approval = models.OneToOneField(
        "accounts.Approval", models.PROTECT, null=True, related_name="+"
    )
    notes = models.CharField(max_length=500, blank=True, help_text="What the user is told.")
    started_at = models.DateTimeField(help_text="When the round began.")
    decided_at = models.DateTimeField()
    request_key = models.UUIDField(null=True, unique=True, editable=False)
    fingerprint = models.UUIDField(editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dispute", "round"], name="disputes_decision_once"),
            models.CheckConstraint(
                condition=Q(
                    resolution__in=REFUNDS,
                    transaction__isnull=False,
                    refunded__gt=0,
                    to_balance__gte=0,
                    refunded__lte=F("asked"),
                    to_balance__lte=F("refunded"),
                )
                | Q(
                    resolution__in=[Resolution.EXPLANATION, Resolution.REJECTED],
                    transaction=None,
                    asked=0,
                    refunded=0,
                    to_balance=0,
                ),
                name="disputes_decision_gives_back_or_not",
            ),
        ]
        indexes = [models.Index(fields=["decided_at"], name="disputes_decision_decided")]

    def __str__(self) -> str:
        return f"{self.get_resolution_display()} of {self.refunded:,} credits"

    @property
    def not_restorable(self) -> int:
        """Credits that were to be given back, and had been voided or written off since."""
        return self.asked - self.refunded

    @property
    def debt_reduced(self) -> int:
        return self.refunded - self.to_balance


class DisputeEvent(models.Model):
    """
    A line of a dispute's timeline: who did or wrote what, when. Never edited.

    ``text`` may be erased, ``data`` holds numbers and codes. Users do not see what is internal.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    dispute = models.ForeignKey(Dispute, models.PROTECT, related_name="events")
    kind = code_field(20, choices=EventKind)
    actor = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    by_staff = models.BooleanField(help_text="As staff, rather than as who disputes.")
    is_internal = models.BooleanField()
    text = models.CharField(max_length=2000, blank=True, default="")
    data = models.JSONField(default=dict)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.get_kind_display()


class Attachment(models.Model):
    """
    A file that goes with a dispute, kept in the database: so it is where the dispute is.

    ``content_type`` is what its bytes are. Erased, it has neither name nor content. Read lists of
    them by ``defer("content")``.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    dispute = models.ForeignKey(Dispute, models.PROTECT, related_name="attachments")
    name = models.CharField(max_length=120, blank=True)
    content_type = code_field(40)
    size = models.IntegerField(help_text="In bytes.")
    content = models.BinaryField(null=True)
    uploaded_by = models.ForeignKey("accounts.User", models.PROTECT, related_name="+")
    by_staff = models.BooleanField()
    is_internal = models.BooleanField()
    uploaded_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name or "an erased file"
