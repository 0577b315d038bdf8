from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan

from ledger.models.fields import UUID7, credits_field


class Debt(models.Model):
    """
    Credits a wallet owes, on account of the grant whose clawbacks opened it, which has one debt at
    the most, or of the one usage that overran the balance.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="debts", db_index=False
    )
    grant = models.OneToOneField(
        "ledger.Grant", models.PROTECT, null=True, related_name="opened_debt"
    )
    opened_by = models.ForeignKey(
        "ledger.CreditTransaction", models.PROTECT, related_name="+", db_index=False
    )
    opened_at = models.DateTimeField()
    amount = models.BigIntegerField(help_text="Opened in all, in whole credits.")
    outstanding = credits_field("Not yet repaid, written off or given back.")
    is_open = models.GeneratedField(
        expression=GreaterThan(F("outstanding"), 0),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, outstanding__gte=0) & Q(outstanding__lte=F("amount")),
                name="ledger_debt_is_within_its_amount",
            ),
        ]
        indexes = [
            models.Index(fields=["wallet"], condition=Q(is_open=True), name="ledger_debt_open")
        ]

    def __str__(self) -> str:
        return f"{self.outstanding:,} of {self.amount:,} owed"


class DebtEntry(models.Model):
    """A line of a transaction: what it added to a debt or took off it, at times in two steps."""

    transaction = models.ForeignKey(
        "ledger.CreditTransaction", models.PROTECT, related_name="debt_entries"
    )
    debt = models.ForeignKey(Debt, models.PROTECT, related_name="entries")
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    amount = models.BigIntegerField(help_text="Whole credits; below zero when the debt shrank.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="ledger_debtentry_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.amount:+,} owed"
