from django.db import models

from ledger.models.fields import credits_field


class LedgerCheck(models.Model):
    """What a check of all the books found; ``manage.py check_ledger`` says the same."""

    at = models.DateTimeField(help_text="When it began.")
    seconds = models.FloatField()
    checks = models.SmallIntegerField(help_text="Invariants that were looked at.")
    violations = models.BigIntegerField(help_text="Places where the books break one.")
    findings = models.JSONField(help_text="The first hundred, as sentences.")

    def __str__(self) -> str:
        outcome = f"broken in {self.violations:,} places" if self.violations else "sound"
        return f"{outcome}, {self.at:%Y-%m-%d %H:%M}"


class Snapshot(models.Model):
    """
    All wallets together as they were at ``at``: one row, renewed every minute or so.

    Reading it does not grow with the wallets; ``ledger.queries.system.wallets_at`` counts anew.
    """

    at = models.DateTimeField()
    seconds = models.FloatField(help_text="That it took to count.")
    wallets = models.BigIntegerField()
    award = credits_field("As anyone is shown them.")
    partner = credits_field()
    purchase = credits_field()
    held = credits_field("Part of the three above.")
    debt = credits_field()
    low_threshold = credits_field("The setting that ``low`` was counted by.")
    low = models.BigIntegerField(help_text="Active wallets below it that ever had credits.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(pk=1), name="ledger_snapshot_is_one"),
        ]

    def __str__(self) -> str:
        return f"{self.wallets:,} wallets, {self.at:%Y-%m-%d %H:%M}"
