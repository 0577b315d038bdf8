from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value

from billing.choices import ShareKind
from billing.models.fields import currency_field, known_currency
from creditsite.money import format_money
from ledger.models.fields import UUID7, code_field


def one_at_a_time(name: str, of: str, condition: Q) -> ExclusionConstraint:
    """Return the rule that terms of one ``of`` do not overlap."""
    return ExclusionConstraint(
        name=name,
        condition=condition,
        expressions=[
            # A range of one number: what GiST knows without an extension.
            (Func(of, of, Value("[]"), function="int8range"), RangeOperators.OVERLAPS),
            (Func("since", "until", function="tstzrange"), RangeOperators.OVERLAPS),
        ],
    )


class ShareTerm(models.Model):
    """
    From when until when somebody earns: an agent, or the partner who owns ``feature``.

    What was spent while it was in force is theirs for ever, reversals and refunds included.
    """

    payee = models.ForeignKey("accounts.User", models.PROTECT, related_name="share_terms")
    feature = models.ForeignKey("ledger.Feature", models.PROTECT, null=True, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, help_text="Empty: until further notice.")

    class Meta:
        verbose_name = "term of revenue share"
        verbose_name_plural = "agents and owners"
        permissions = [("assign_feature", "Can say which partner owns a feature")]
        constraints = [
            models.CheckConstraint(
                condition=Q(until=None) | Q(until__gte=F("since")),
                name="billing_shareterm_ends_after_it_began",
            ),
            one_at_a_time("billing_shareterm_one_owner", "feature_id", Q(feature__isnull=False)),
            one_at_a_time("billing_shareterm_agent_once", "payee_id", Q(feature=None)),
        ]

    def __str__(self) -> str:
        return f"{self.payee}, {f'owner of {self.feature}' if self.feature else 'agent'}"


class ErasedReferral(models.Model):
    """Who referred a person who was erased: what goes back later is taken from who earned it."""

    user = models.OneToOneField("accounts.User", models.PROTECT, primary_key=True, related_name="+")
    referrer = models.ForeignKey("accounts.User", models.PROTECT, related_name="+", db_index=False)

    def __str__(self) -> str:
        return f"user {self.user_id}, referred by user {self.referrer_id}"


class ShareMonth(models.Model):
    """
    A month whose statements are made, and what they were made of.

    ``figures`` has for each currency, in minor units: "used", revenue by use in the report;
    "repaid", of that by credits that repaid debts; and what agents and partners got a part of
    ("agents", "partners") and earned ("agents_earned", "partners_earned").
    """

    month = models.DateField(primary_key=True, help_text="Its first day.")
    figures = models.JSONField()
    made_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class ShareStatement(models.Model):
    """
    What somebody earned in a month, in one currency, on top of what the last one left over.

    Never changes. ``previous`` is the one before that it carries on.
    """

    public_id = models.UUIDField(unique=True, db_default=UUID7(), editable=False)
    payee = models.ForeignKey("accounts.User", models.PROTECT, related_name="share_statements")
    kind = code_field(10, choices=ShareKind)
    currency = currency_field()
    month = models.DateField(help_text="Its first day.")
    previous = models.OneToOneField("self", models.PROTECT, null=True, related_name="next")
    opening_minor = models.BigIntegerField(
        help_text="Carried forward, in minor units; below zero when too much was paid out."
    )
    earned_minor = models.BigIntegerField(help_text="The sum of its lines, in minor units.")
    made_at = models.DateTimeField()

    class Meta:
        verbose_name = "statement of revenue share"
        verbose_name_plural = "statements of revenue share"
        permissions = [("pay_share", "Can mark revenue share as paid out")]
        constraints = [
            models.UniqueConstraint(
                fields=["payee", "kind", "currency", "month"], name="billing_sharestatement_once"
            ),
            known_currency("billing_sharestatement_currency"),
            models.CheckConstraint(
                condition=Q(opening_minor=0) | Q(previous__isnull=False),
                name="billing_sharestatement_opens_with_the_last",
            ),
        ]
        indexes = [models.Index(fields=["-month", "-id"], name="billing_sharestatement_newest")]

    def __str__(self) -> str:
        total = format_money(self.total_minor, self.currency)
        return f"{total} of {self.payee} as {self.kind}, {self.month:%Y-%m}"

    @property
    def total_minor(self) -> int:
        """What is to be paid out, or (below zero) is still to be made up for."""
        return self.opening_minor + self.earned_minor


class ShareLine(models.Model):
    """What a statement comes from: an agent's by user who spent, a partner's by feature."""

    statement = models.ForeignKey(ShareStatement, models.PROTECT, related_name="lines")
    user = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    feature = models.ForeignKey("ledger.Feature", models.PROTECT, null=True, related_name="+")
    percent = models.DecimalField(
        max_digits=5, decimal_places=2, help_text="In force when it was spent."
    )
    basis_minor = models.BigIntegerField(
        help_text="Revenue by use, in minor units; below zero when more was given back."
    )
    earned_minor = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["statement", "user", "feature", "percent"],
                name="billing_shareline_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False) ^ Q(feature__isnull=False),
                name="billing_shareline_is_of_a_user_or_a_feature",
            ),
            models.CheckConstraint(
                condition=~Q(basis_minor=0) & Q(percent__gt=0, percent__lte=100),
                name="billing_shareline_is_of_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.basis_minor}"


class SharePayout(models.Model):
    """That a statement was paid out, all of it: outside of this system, under ``reference``."""

    statement = models.OneToOneField(ShareStatement, models.PROTECT, related_name="payout")
    amount_minor = models.BigIntegerField()
    reference = code_field(40, help_text="Of the transfer: a code.")
    paid_on = models.DateField()
    paid_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")
    recorded_at = models.DateTimeField()
    request_key = models.UUIDField(unique=True, help_text="Of the request for it.")
    fingerprint = models.UUIDField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    amount_minor__gt=0, reference__regex=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]*$"
                ),
                name="billing_sharepayout_pays_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{format_money(self.amount_minor, self.statement.currency)} on {self.paid_on}"
