from django.db import models
from django.db.models import Q

from ledger.choices import AwardRule, ReferralOutcome
from ledger.models.fields import code_field, credits_field


class AwardRun(models.Model):
    """
    The award of one rule for one month, to everyone whom it is due to; worked by its job.

    ``amount`` and ``expiry_days`` are of the settings that were in force at ``due_at``.
    """

    rule = code_field(20, choices=AwardRule)
    period = models.DateField(help_text="The first day of its month.")
    due_at = models.DateTimeField()
    amount = models.BigIntegerField(help_text="For each wallet, in whole credits.")
    expiry_days = models.IntegerField(
        null=True, help_text="Days that they last from when they are given. Empty: for ever."
    )
    started_at = models.DateTimeField()
    job = models.OneToOneField("accounts.Job", models.PROTECT, related_name="award_run")

    class Meta:
        verbose_name_plural = "awards"
        permissions = [("run_awards", "Can run the awards that are due")]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "period"], name="ledger_awardrun_is_one_a_period"
            ),
            models.CheckConstraint(
                condition=Q(period__day=1, amount__gt=0), name="ledger_awardrun_gives_for_a_month"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_rule_display()} for {self.period:%Y-%m}"


class Referral(models.Model):
    """One user who registered on another's invitation, and what the referrer was given for it."""

    referrer = models.ForeignKey("accounts.User", models.PROTECT, related_name="+", db_index=False)
    referred = models.OneToOneField(
        "accounts.User", models.PROTECT, null=True, related_name="+", help_text="Empty once erased."
    )
    period = models.DateField(help_text="The first day of the month whose limit it counts for.")
    outcome = code_field(20, choices=ReferralOutcome)
    credits = credits_field("Given to the referrer.")
    registered_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome=ReferralOutcome.AWARDED, credits__gt=0)
                | ~Q(outcome=ReferralOutcome.AWARDED) & Q(credits=0),
                name="ledger_referral_is_awarded_or_not",
            ),
        ]
        indexes = [models.Index(fields=["referrer", "period"], name="ledger_referral_of_month")]

    def __str__(self) -> str:
        return f"{self.referred or 'somebody'}, referred by {self.referrer}"
