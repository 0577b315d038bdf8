from django.db import models
from django.db.models import F, Q

from billing.choices import BreakKind, ReconciliationStatus
from billing.models.payments import stripe_id_field
from ledger.models.fields import code_field


class Reconciliation(models.Model):
    """
    One comparison of Stripe with the books, of what was made in [``since``, ``until``).

    It is asked for, done by one worker at a time, and says in ``figures`` how the money ties.
    """

    status = code_field(10, choices=ReconciliationStatus, default=ReconciliationStatus.WAITING)
    is_nightly = models.BooleanField(default=False)
    since = models.DateTimeField()
    until = models.DateTimeField()
    asked_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    beat_at = models.DateTimeField(null=True, help_text="When its worker was last heard of.")
    ended_at = models.DateTimeField(null=True)
    payments = models.BigIntegerField(default=0, help_text="Of Stripe's, looked at.")
    under_way = models.BigIntegerField(default=0, help_text="That differ while they are settled.")
    breaks = models.BigIntegerField(default=0, help_text="Open at its end, and not explained.")
    new_breaks = models.BigIntegerField(default=0, help_text="Of those, not known before.")
    figures = models.JSONField(default=dict, help_text="Minor units by day and currency.")
    error = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        permissions = [("run_reconciliation", "Can have payments reconciled")]
        constraints = [
            models.CheckConstraint(
                condition=Q(since__lt=F("until"), status__in=ReconciliationStatus.values),
                name="billing_reconciliation_is_of_some_time",
            ),
            models.UniqueConstraint(
                fields=["status"],
                condition=Q(status=ReconciliationStatus.RUNNING),
                name="billing_reconciliation_one_runs",
            ),
        ]
        indexes = [models.Index(fields=["-asked_at", "-id"], name="billing_reconciliation_newest")]

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}"


class Break(models.Model):
    """
    Something that Stripe and the books say differently of, until it is gone.

    Who explained it says why it may stay; when either side says something else, that counts no
    longer.
    """

    kind = code_field(20, choices=BreakKind)
    object_id = stripe_id_field("What it is about, at Stripe or here.")
    intent_id = stripe_id_field("pi_…, of its payment.", blank=True, default="")
    payment = models.ForeignKey("billing.Payment", models.PROTECT, null=True, related_name="breaks")
    stripe_says = models.CharField(max_length=300)
    books_say = models.CharField(max_length=300)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)
    explained_at = models.DateTimeField(null=True)
    explained_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    explanation = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = "break"
        permissions = [
            ("explain_break", "Can say why a break may stay"),
            ("settle_break", "Can have the payment of a break settled"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(explained_at=None, explained_by=None, explanation="")
                | Q(explained_at__isnull=False),
                name="billing_break_is_explained_or_not",
            ),
            models.UniqueConstraint(
                fields=["kind", "object_id"],
                condition=Q(gone_at=None),
                name="billing_break_open_once",
            ),
        ]
        indexes = [
            models.Index(fields=["-first_seen_at", "-id"], name="billing_break_newest"),
            models.Index(
                fields=["intent_id"], condition=Q(gone_at=None), name="billing_break_open_of"
            ),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
