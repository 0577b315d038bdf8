from uuid import uuid4

from django.db import models
from django.db.models import Q

from billing.models.fields import currency_field, known_currency
from billing.models.payments import stripe_id_field
from creditsite.money import format_money
from disputes.choices import TO_ANSWER, AnswerKind, AnswerStatus, PaymentDisputeStatus
from ledger.models.fields import code_field


class PaymentDispute(models.Model):
    """
    A bank's dispute of a payment, as Stripe has it: a chargeback, or an inquiry before one.

    ``billing`` freezes what is left of what was bought, and takes it back if the dispute is lost.
    """

    dispute_id = stripe_id_field("du_…", unique=True)
    payment = models.ForeignKey("billing.Payment", models.PROTECT, related_name="disputes")
    status = code_field(30, choices=PaymentDisputeStatus)
    reason = models.CharField(max_length=60, help_text="In Stripe's words.")
    amount_minor = models.BigIntegerField(help_text="With tax, in minor units.")
    currency = currency_field()
    has_evidence = models.BooleanField(default=False)
    evidence_due_at = models.DateTimeField(null=True, help_text="Until when it can be contested.")
    opened_at = models.DateTimeField(help_text="At Stripe.")
    read_at = models.DateTimeField(help_text="When it was read there last.")
    approval = models.OneToOneField(
        "accounts.Approval",
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="That accepting it waits for.",
    )

    class Meta:
        verbose_name = "dispute of a payment"
        verbose_name_plural = "disputes of payments"
        permissions = [("answer_paymentdispute", "Can accept and contest disputes of payments")]
        constraints = [
            known_currency("disputes_paymentdispute_currency"),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="disputes_paymentdispute_is_of_money"
            ),
        ]
        indexes = [
            models.Index(
                fields=["evidence_due_at", "id"],
                condition=Q(status__in=TO_ANSWER),
                name="disputes_paymentdispute_queue",
            ),
            models.Index(fields=["-opened_at", "-id"], name="disputes_paymentdispute_newest"),
        ]

    def __str__(self) -> str:
        return f"dispute of {format_money(self.amount_minor, self.currency)}"

    @property
    def is_to_be_answered(self) -> bool:
        return self.status in TO_ANSWER


class Answer(models.Model):
    """
    What we told Stripe of a dispute: a row first, then the call, under the row's key.

    ``evidence`` and ``reason`` are erased with the person who paid.
    """

    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    dispute = models.ForeignKey(PaymentDispute, models.PROTECT, related_name="answers")
    answered_status = code_field(30, choices=PaymentDisputeStatus)
    kind = code_field(10, choices=AnswerKind)
    evidence = models.JSONField(default=dict)
    reason = models.CharField(max_length=500, blank=True)
    asked_by = models.ForeignKey("accounts.User", models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    status = code_field(10, choices=AnswerStatus, default=AnswerStatus.WAITING)
    tries = models.IntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status=AnswerStatus.WAITING, next_try_at__isnull=False)
                | Q(status__in=[AnswerStatus.SENT, AnswerStatus.REFUSED], next_try_at=None),
                name="disputes_answer_is_tried_until_sent",
            ),
            models.UniqueConstraint(
                fields=["dispute"],
                condition=Q(status=AnswerStatus.WAITING),
                name="disputes_answer_one_waits",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(status=AnswerStatus.WAITING),
                name="disputes_answer_due",
            )
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
