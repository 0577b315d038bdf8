from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from ledger.choices import CreditType, TransactionKind
from ledger.models.fields import UUID7, code_field, credits_field


class CreditTransaction(models.Model):
    """
    One movement of one wallet; never edited.

    ``number`` counts the wallet's transactions without a gap. ``key`` is the digest of caller and
    idempotency key, unique for ever over all wallets; ``fingerprint`` tells the request it was
    used for. The text columns may be erased, once, by ``ledger_erase_text``: ``text_digest`` is
    salted, the salt goes with the text, and what seals the books covers the digest.
    """

    id = models.UUIDField(primary_key=True, db_default=UUID7(), editable=False)
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="transactions", db_index=False
    )
    number = models.BigIntegerField()
    kind = code_field(20, choices=TransactionKind)
    amount = models.BigIntegerField(help_text="Whole credits moved: the sum of its entries.")
    award = credits_field("Of the amount.")
    partner = credits_field("Of the amount.")
    purchase = credits_field("Of the amount.")
    debt = credits_field("Debt opened (above zero) or repaid (below).")
    balance_after = models.BigIntegerField(
        help_text="The wallet's credits in the books, in whole credits."
    )
    key = models.UUIDField(unique=True, editable=False)
    fingerprint = models.UUIDField(editable=False)
    actor = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="+", db_index=False
    )
    caller = models.CharField(
        max_length=40, help_text="Who asked: a user, a service key or the system."
    )
    reverses = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="reversals", db_index=False
    )
    hold = models.ForeignKey(
        "ledger.Hold", models.PROTECT, null=True, related_name="+", db_index=False
    )
    feature = models.CharField(
        max_length=200,
        blank=True,
        help_text="Code of the feature paid for; several are joined by +.",
    )
    price_ids = ArrayField(models.BigIntegerField(), null=True, help_text="Price versions charged.")
    quantities = ArrayField(
        models.DecimalField(max_digits=24, decimal_places=6),
        null=True,
        help_text="Of each, in its unit.",
    )
    occurred_at = models.DateTimeField(help_text="The world's time: which price applies.")
    recorded_at = models.DateTimeField(help_text="Ours: never goes back within a wallet.")
    reference_id = models.CharField(max_length=200, blank=True)
    description = models.CharField(max_length=500, blank=True)
    project = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(null=True)
    text_salt = models.UUIDField(null=True, editable=False)
    text_digest = models.BinaryField(null=True, editable=False)
    erased_at = models.DateTimeField(null=True, editable=False)

    lines: list["Entry"]  # its entries in order, where ``ledger.queries.statements`` shows it

    class Meta:
        permissions = [("reverse_credittransaction", "Can reverse a transaction")]
        constraints = [
            models.UniqueConstraint(
                fields=["wallet", "number"], name="ledger_credittransaction_numbers_are_unique"
            ),
            models.CheckConstraint(
                condition=Q(amount=F("award") + F("partner") + F("purchase"), balance_after__gte=0),
                name="ledger_credittransaction_amount_is_its_types",
            ),
        ]
        indexes = [
            models.Index(
                fields=["reverses"],
                condition=Q(reverses__isnull=False),
                name="ledger_transaction_reversals",
            ),
            models.Index(
                fields=["wallet", "project", "recorded_at"],
                condition=~Q(project=""),
                name="ledger_transaction_of_project",
            ),
            BrinIndex(fields=["recorded_at"], name="ledger_transaction_recorded"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:+,} (no. {self.number})"


class Entry(models.Model):
    """A line of a transaction: how much moved in or out of which grant, in burn-down order."""

    pk = models.CompositePrimaryKey("transaction_id", "position")
    transaction = models.ForeignKey(
        CreditTransaction, models.PROTECT, related_name="entries", db_index=False
    )
    position = models.SmallIntegerField()
    grant = models.ForeignKey("ledger.Grant", models.PROTECT, related_name="entries")
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    credit_type = code_field(10, choices=CreditType)
    amount = models.BigIntegerField(help_text="Whole credits; below zero when taken.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="ledger_entry_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.amount:+,} {self.credit_type}"


class Restoration(models.Model):
    """
    How much of one line of ``original`` a later transaction gave back, in whatever form.

    The credits may have gone into the grant they came from, into a grant that carries them on, or
    against a debt; ``position`` 0 is what the original opened as debt. The sum over a line never
    exceeds what that line took. One transaction may give back of one line twice, by two ways.
    """

    transaction = models.ForeignKey(CreditTransaction, models.PROTECT, related_name="+")
    original = models.ForeignKey(CreditTransaction, models.PROTECT, related_name="restorations")
    position = models.SmallIntegerField()
    wallet = models.ForeignKey(
        "ledger.Wallet", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    amount = models.BigIntegerField(help_text="Whole credits given back.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="ledger_restoration_gives_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount:,} given back"
