from uuid import uuid4

from django.db import models
from django.db.models import Q

from billing.choices import CostStatus
from billing.models.fields import currency_field, known_currency
from ledger.models.fields import code_field

LONGEST_PROJECT = 200
# Of ProjectAccount.ahead and ProjectDebit.due: a billionth of a credit.
PLACES = 9


class ProjectAccount(models.Model):
    """
    What a project of a user costs in one currency: its row is locked while costs become debits.

    Credits are whole, so a debit may take up to one credit in advance. ``ahead`` is how much of
    it the costs so far have not used; the next debit takes as much less.
    """

    user = models.ForeignKey("accounts.User", models.PROTECT, related_name="projects")
    project = models.CharField(max_length=LONGEST_PROJECT)
    currency = currency_field()
    ahead = models.DecimalField(max_digits=PLACES + 1, decimal_places=PLACES, default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "project", "currency"], name="billing_projectaccount_is_one"
            ),
            known_currency("billing_projectaccount_currency"),
            models.CheckConstraint(
                condition=Q(ahead__gte=0, ahead__lt=1), name="billing_projectaccount_ahead"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} of {self.user}"


class ProjectDebit(models.Model):
    """
    What the costs of a project that waited took, all together, in one movement. Never edited.

    ``due`` is what they come to, in credits; ``credits`` is what was taken, which is ``due`` less
    what the roundings of earlier ones took in advance, rounded up.
    """

    public_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    account = models.ForeignKey(ProjectAccount, models.PROTECT, related_name="debits")
    at = models.DateTimeField()
    amount_minor = models.BigIntegerField(help_text="In minor units of the account's currency.")
    unit_price = models.DecimalField(
        max_digits=12, decimal_places=6, help_text="Of a credit, in units of the currency."
    )
    margin = models.DecimalField(max_digits=5, decimal_places=2, help_text="In percent.")
    due = models.DecimalField(max_digits=24, decimal_places=PLACES, help_text="In credits.")
    credits = models.BigIntegerField(help_text="In whole credits.")
    transaction = models.OneToOneField(
        "ledger.CreditTransaction", models.PROTECT, null=True, related_name="project_debit"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, due__gte=0, unit_price__gt=0, margin__gte=0)
                & (
                    Q(credits__gt=0, transaction__isnull=False)
                    | Q(credits=0, transaction__isnull=True)
                ),
                name="billing_projectdebit_takes_credits_by_a_movement",
            ),
        ]

    def __str__(self) -> str:
        return f"debit of {self.credits:,} credits for {self.account.project}"

    @property
    def price(self) -> str:
        """The price of a credit without idle zeros."""
        return f"{self.unit_price.normalize():f}"


class ProjectCost(models.Model):
    """A cost in money of a project, which becomes credits once, at the next refresh."""

    public_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    account = models.ForeignKey(ProjectAccount, models.PROTECT, related_name="costs")
    key = models.UUIDField(unique=True, editable=False)
    fingerprint = models.UUIDField(editable=False)
    amount_minor = models.BigIntegerField(help_text="In minor units of the account's currency.")
    period = code_field(10, help_text="The month or day that it is for, as 2026-01 or 2026-01-31.")
    description = models.CharField(max_length=250, blank=True, default="")
    reference_id = models.CharField(
        max_length=200, blank=True, default="", help_text="Of usage that may be charged already."
    )
    status = code_field(10, choices=CostStatus, default=CostStatus.WAITING)
    recorded_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text="When it becomes credits: at the next refresh.")
    why = models.CharField(
        max_length=250, blank=True, default="", help_text="What it waits for, or why it was voided."
    )
    debit = models.ForeignKey(ProjectDebit, models.PROTECT, null=True, related_name="costs")
    added_by = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )

    class Meta:
        permissions = [("void_projectcost", "Can void costs of projects")]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, period__regex=r"^\d{4}-\d{2}(-\d{2})?$"),
                name="billing_projectcost_is_possible",
            ),
            models.CheckConstraint(
                condition=Q(status=CostStatus.DEBITED, debit__isnull=False)
                | Q(status__in=["waiting", "covered", "voided"], debit__isnull=True),
                name="billing_projectcost_is_debited_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at", "account"],
                condition=Q(status=CostStatus.WAITING),
                name="billing_projectcost_due",
            ),
            models.Index(fields=["-recorded_at", "-id"], name="billing_projectcost_newest"),
        ]

    def __str__(self) -> str:
        return f"cost of {self.account.project}, {self.period}"
