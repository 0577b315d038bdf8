from decimal import Decimal
from functools import cache
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from creditsite.money import is_currency
from ledger.choices import SignUpFrequency
from ledger.models.fields import code_field

MOST_CREDITS = 1_000_000_000


def between(lowest: int, highest: int) -> list[MinValueValidator | MaxValueValidator]:
    return [MinValueValidator(lowest), MaxValueValidator(highest)]


def money_field(default: str, help_text: str) -> models.DecimalField:
    """Return a field for money a credit: finer than minor units, and never a float."""
    return models.DecimalField(
        max_digits=12,
        decimal_places=6,
        default=Decimal(default),
        validators=[MinValueValidator(Decimal(0))],
        help_text=help_text,
    )


def percent_field(name: str, help_text: str) -> models.DecimalField:
    return models.DecimalField(
        name,
        max_digits=5,
        decimal_places=2,
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
        help_text=help_text,
    )


def bounded_field(
    name: str, default: int, help_text: str, *, lowest: int = 0, highest: int = MOST_CREDITS
) -> models.BigIntegerField:
    return models.BigIntegerField(
        name, default=default, validators=between(lowest, highest), help_text=help_text
    )


@cache
def time_zones() -> list[str]:
    """Return the names of all time zones that this machine knows, in order."""
    return sorted(available_timezones())


class CreditSettings(models.Model):
    """
    One version of how the credit economy runs. A change is a new version; none is ever edited.

    The newest counts from its ``changed_at`` on, for what happens from then on. Where there is
    none yet, the defaults of the fields count.
    """

    price_per_credit = money_field("0.10", "What a user pays.")
    currency = code_field(3, default="USD", help_text="Of that price, by ISO 4217.")
    recovery_cost = money_field("0.0183", "What a credit that is used costs us.")
    recovery_currency = code_field(3, default="ZAR", help_text="Of that cost, by ISO 4217.")
    low_credit_threshold = bounded_field(
        "low-credit threshold", 100, "Who falls below it is told. 0: nobody is."
    )
    renewal_reminder_days = models.IntegerField(
        "renewal reminder, in days",
        default=3,
        validators=between(0, 27),
        help_text="So long before a subscription renews its owner is told. 0: nobody is.",
    )
    sign_up_credits = bounded_field(
        "sign-up credits", 0, "For each new user, on top of the role's allotment."
    )
    sign_up_frequency = code_field(
        10,
        choices=SignUpFrequency,
        default=SignUpFrequency.ONCE,
        verbose_name="sign-up credits come",
        help_text="Once, or every month anew.",
    )
    monthly_day = models.SmallIntegerField(
        default=1,
        validators=between(1, 31),
        help_text="Day of monthly awards; the last of a shorter month.",
    )
    referral_credits = bounded_field("referral credits", 0, "For the referrer of a new user.")
    referral_monthly_limit = models.IntegerField(
        "referrals a month",
        default=10,
        validators=between(0, 1_000_000),
        help_text="Referrals of one user that are awarded in a month.",
    )
    partner_allotment = bounded_field(
        "partner allotment", 0, "Partner credits for each partner, every month."
    )
    award_expiry_days = models.IntegerField(
        "awards last, in days",
        null=True,
        blank=True,
        validators=between(1, 36_500),
        help_text="From an automated award to its expiry. Empty: for ever.",
    )
    grace_days = models.IntegerField(
        "days of grace",
        default=30,
        validators=between(1, 36_500),
        help_text="How long credits last that are put back after they expired.",
    )
    agent_revenue_share = percent_field("revenue share of agents", "In percent.")
    partner_revenue_share = percent_field(
        "revenue share of partners", "In percent; agents and partners get 100 at the most."
    )
    project_cost_margin = percent_field(
        "margin on project costs", "In percent, on top of their money when they become credits."
    )
    project_cost_refresh_minutes = models.IntegerField(
        "refresh of project costs",
        default=60,
        validators=between(1, 10_080),
        help_text="In minutes between two looks at them.",
    )
    typed_confirmation_from = bounded_field(
        "typed phrase from", 10_000, "Credits that are moved at once.", lowest=1
    )
    approval_adjustment_above = bounded_field(
        "adjustment approved above", 100_000, "Credits; more take a second person."
    )
    approval_batch_credits_above = bounded_field(
        "batch approved above, credits",
        1_000_000,
        "Credits in all; more take a second person.",
        highest=10**15,
    )
    approval_batch_wallets_above = bounded_field(
        "batch approved above, wallets", 1_000, "More wallets in one batch take a second person."
    )
    approval_dispute_above = bounded_field(
        "refund of a dispute approved above", 10_000, "Credits; more take a second person."
    )
    largest_balance = bounded_field(
        "largest balance",
        1_000_000,
        "The most credits of a type that staff bring a wallet to.",
        lowest=1,
    )
    dispute_days = models.IntegerField(
        "days to dispute",
        default=30,
        validators=between(1, 3_650),
        help_text="How long a charge can be disputed, and a decision be appealed.",
    )
    dispute_review_hours = models.IntegerField(
        "hours to review",
        default=48,
        validators=between(1, 8_760),
        help_text="In which a dispute is to be decided; later it is overdue.",
    )
    time_zone = models.CharField(
        max_length=64, default="UTC", help_text="In which days and months of business begin."
    )
    credits_enabled = models.BooleanField(
        "credits", default=True, help_text="Off: no spends, holds or sales; all else goes on."
    )
    changed_at = models.DateTimeField()
    changed_by = models.ForeignKey("accounts.User", models.PROTECT, null=True, related_name="+")

    class Meta:
        verbose_name_plural = "credit settings"
        permissions = [("switch_credits", "Can switch all spending of credits off and on")]
        constraints = [
            models.CheckConstraint(
                condition=Q(monthly_day__range=(1, 31)), name="ledger_creditsettings_day_of_month"
            ),
            models.CheckConstraint(
                condition=Q(
                    price_per_credit__gte=0,
                    recovery_cost__gte=0,
                    agent_revenue_share__gte=0,
                    partner_revenue_share__gte=0,
                )
                & Q(agent_revenue_share__lte=100 - F("partner_revenue_share")),
                name="ledger_creditsettings_money_is_possible",
                violation_error_message="Agents and partners together get 100 percent at the most.",
            ),
            models.CheckConstraint(
                condition=Q(
                    low_credit_threshold__gte=0,
                    sign_up_credits__gte=0,
                    referral_credits__gte=0,
                    referral_monthly_limit__gte=0,
                    partner_allotment__gte=0,
                    grace_days__gte=1,
                    project_cost_refresh_minutes__gte=1,
                    typed_confirmation_from__gte=1,
                    approval_adjustment_above__gte=0,
                    approval_batch_credits_above__gte=0,
                    approval_batch_wallets_above__gte=0,
                    largest_balance__gte=1,
                )
                & (Q(award_expiry_days=None) | Q(award_expiry_days__gte=1)),
                name="ledger_creditsettings_figures_are_possible",
            ),
            models.CheckConstraint(
                condition=Q(renewal_reminder_days__range=(0, 27)),
                name="ledger_creditsettings_reminder_is_possible",
            ),
            models.CheckConstraint(
                condition=Q(
                    dispute_days__gte=1, dispute_review_hours__gte=1, approval_dispute_above__gte=0
                ),
                name="ledger_creditsettings_disputes_are_possible",
            ),
        ]
        indexes = [models.Index(fields=["changed_at"], name="ledger_creditsettings_at")]

    def __str__(self) -> str:
        return f"version {self.pk} of the settings"

    def clean(self) -> None:
        """
        Refuse names that nobody knows.

        :raises ValidationError: a currency or the time zone.
        """
        wrong = {
            name: "This is no currency of ISO 4217."
            for name in ("currency", "recovery_currency")
            if not (getattr(self, name).isupper() and is_currency(getattr(self, name).lower()))
        }
        if self.time_zone not in time_zones():
            wrong["time_zone"] = "This machine knows no such time zone."
        if wrong:
            raise ValidationError(wrong)
