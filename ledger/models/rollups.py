from django.db import models

from ledger.models.fields import code_field, credits_field


class DailySpending(models.Model):
    """What a service key has spent on a day of UTC, as far as it is added up: a :class:`Rollup`."""

    caller = models.CharField(max_length=40)
    day = models.DateField()
    spent = models.BigIntegerField(help_text="Whole credits.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "day"], name="ledger_dailyspending_is_one_a_day"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.spent:,} on {self.day} by {self.caller}"


class Rollup(models.Model):
    """
    How far transactions are added up: all with an id below ``before`` are, and no others.

    Ids are in the order of time, commits are not. So ``next_before`` becomes ``before`` once every
    database transaction below ``next_xid``, which is all that there were, has ended.
    """

    name = models.CharField(max_length=40, primary_key=True)
    before = models.UUIDField()
    next_before = models.UUIDField()
    next_xid = models.BigIntegerField()

    def __str__(self) -> str:
        return self.name


class DailyCredits(models.Model):
    """
    Credits that moved on a day of business, by what moved them: a :class:`Rollup` of the ledger.

    ``ledger_credit_moves`` in ``ledger/sql/figures.sql`` says what each column is.
    """

    day = models.DateField()
    kind = code_field()
    credit_type = code_field(10, blank=True)
    is_funded = models.BooleanField(help_text="Of a purchase: money was paid for it.")
    source = code_field(blank=True, help_text="Of credits given.")
    feature = models.CharField(max_length=200, blank=True, db_collation="C")
    reverses = code_field(blank=True)
    unit_cost = models.DecimalField(
        max_digits=12, decimal_places=6, help_text="Of free credits that were used."
    )
    cost_currency = code_field(3, blank=True)
    credits = credits_field("Below zero when taken.")
    transactions = models.BigIntegerField()
    debt = credits_field("Opened, or below zero: repaid.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("day", "kind", "credit_type", "is_funded", "source", "feature", "reverses"),
                    *("unit_cost", "cost_currency"),
                ],
                name="ledger_dailycredits_is_one_a_day",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.credits:+,} by {self.kind} on {self.day}"


class GrantDay(models.Model):
    """
    A paid grant as it stood at the end of a day of business on which it moved: a :class:`Rollup`.

    In credits what use and debt repayment took, what expired, what staff took, what is left, what
    was carried over; in minor units what follows from it by ``ledger.money_rule``.
    """

    pk = models.CompositePrimaryKey("grant_id", "day")
    grant = models.ForeignKey(
        "ledger.Grant", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    day = models.DateField()
    used = models.BigIntegerField()
    expired = models.BigIntegerField()
    taken = models.BigIntegerField()
    remaining = models.BigIntegerField()
    carried = models.BigIntegerField()
    carried_minor = models.BigIntegerField()
    returned_minor = models.BigIntegerField()
    used_minor = models.BigIntegerField()
    breakage_minor = models.BigIntegerField()
    released_minor = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.remaining:,} left on {self.day}"


class DailyMoney(models.Model):
    """
    What a day of business changed about the money paid for credits: a :class:`Rollup`.

    ``paid + brought_in − returned − used − breakage − released`` is the change of what is deferred.
    """

    day = models.DateField()
    currency = code_field(3)
    paid = models.BigIntegerField(help_text="In minor units, as all of them.")
    brought_in = models.BigIntegerField(help_text="Paid for opening balances, before our time.")
    returned = models.BigIntegerField()
    used = models.BigIntegerField(help_text="Recognised by use.")
    breakage = models.BigIntegerField(help_text="Recognised because credits expired.")
    released = models.BigIntegerField(help_text="Released by staff.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "currency"], name="ledger_dailymoney_is_one_a_day"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.currency} on {self.day}"


class LockedMonth(models.Model):
    """A month whose figures are final: what they were when it was locked, as a digest of them."""

    month = models.DateField(primary_key=True, help_text="Its first day.")
    digest = code_field(64)
    locked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
