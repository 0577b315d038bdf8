from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual

from ledger.choices import CreditType, GrantSource
from ledger.models.fields import UUID7, code_field, credits_field


class Grant(models.Model):
    """
    A lot of credits put in a wallet: what was given, what is left, and the money paid for it.

    Money is integer minor units of ``currency``, after discounts and without tax. How it is
    recognised as the credits are used is in ``ledger.money_rule``.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="grants", db_index=False
    )
    credit_type = code_field(10, choices=CreditType)
    source = code_field(20, choices=GrantSource)
    priority = models.SmallIntegerField(default=100, help_text="Lower is spent first.")
    amount = models.BigIntegerField(help_text="Whole credits given.")
    remaining = models.BigIntegerField(help_text="Whole credits left, held ones included.")
    held = credits_field("Pinned by open holds; part of what is left.")
    consumed = credits_field("Taken by usage, debt repayment and expiry, net of what was put back.")
    carried = credits_field("Carried over to another grant after expiry.")
    carried_minor = models.BigIntegerField(
        default=0, help_text="Money that went with them, in minor units."
    )
    clawback_target = credits_field("To be taken back after refunds and chargebacks, in all.")
    clawed = credits_field("Of that: taken, owed, or let go because it expired unspent.")
    pending = credits_field("Deducted by staff while held: leaves when the hold ends.")
    paid_minor = models.BigIntegerField(default=0, help_text="Paid for it, in minor units.")
    returned_minor = models.BigIntegerField(
        default=0, help_text="Of that returned, in minor units."
    )
    currency = code_field(3, blank=True, default="")
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    is_frozen = models.BooleanField(default=False)
    carried_from = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="carried_to", db_index=False
    )
    # A flag that flips once, when the grant is emptied: an index whose predicate named
    # ``remaining`` would keep every spend from being a heap-only update.
    is_open = models.GeneratedField(
        expression=GreaterThan(F("remaining"), 0),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        # One CHECK for what moves with every spend; the rules of the other columns are triggers in
        # ``ledger/sql/guards.sql``, because every statement compiles every CHECK anew.
        constraints = [
            models.CheckConstraint(
                condition=GreaterThanOrEqual(
                    Least(
                        "held",
                        F("remaining") - F("held"),
                        "consumed",
                        F("amount") - F("consumed") - F("carried") - F("remaining"),
                    ),
                    0,
                ),
                name="ledger_grant_is_used_once",
            ),
        ]
        indexes = [
            models.Index(fields=["wallet"], condition=Q(is_open=True), name="ledger_grant_open"),
            models.Index(fields=["wallet", "-effective_at", "-id"], name="ledger_grant_of_wallet"),
            models.Index(
                fields=["expires_at"],
                condition=Q(is_open=True, expires_at__isnull=False),
                name="ledger_grant_expiring",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount:,} {self.credit_type} ({self.get_source_display()})"


class MoneyReturn(models.Model):
    """How much of what was paid for a grant a clawback said was returned; a reinstatement: less."""

    pk = models.CompositePrimaryKey("transaction_id", "grant_id")
    transaction = models.ForeignKey(
        "ledger.CreditTransaction", models.PROTECT, related_name="+", db_index=False
    )
    grant = models.ForeignKey(Grant, models.PROTECT, related_name="money_returns")
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    amount_minor = models.BigIntegerField(help_text="In minor units of the grant's currency.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(amount_minor=0), name="ledger_moneyreturn_moves_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount_minor:+,} minor units returned"
