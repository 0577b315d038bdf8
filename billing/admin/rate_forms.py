"""The forms that set rates and discounts."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms

from accounts.models import User
from billing.admin.lines import LinesField, lines_of
from billing.models import Discounts
from billing.queries.rates import tiers_of
from billing.quotes import Tier, percent
from billing.services import rates
from creditsite.adminkit import AsciiDecimalField, AsciiIntegerField, ConfirmationForm
from creditsite.money import CURRENCIES
from ledger.models.settings import MOST_CREDITS

CURRENCY_CHOICES = [(code, code.upper()) for code in CURRENCIES.split()]
HUNDRED = Decimal(100)
STARTS = AsciiIntegerField(min_value=2, max_value=MOST_CREDITS)
PARTS = AsciiDecimalField(max_value=HUNDRED, places=2)


class SetRateForm(ConfirmationForm):
    """What a credit costs in a further currency."""

    title, button = "Set a rate", "Set it"
    currency = forms.ChoiceField(choices=CURRENCY_CHOICES)
    price_per_credit = AsciiDecimalField(
        max_value=Decimal("999999.999999"),
        places=6,
        required=False,
        help_text="Such as 0.13, without tax. Empty: credits are not sold in it any more.",
    )

    def changes(self) -> list[str]:
        return [
            "It counts from now on, for credits that are bought by number: packages and plans have"
            " prices of their own.",
            "Nothing is converted: a rate far from the others is an invitation to buy in it.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        given = self.cleaned_data
        rate = rates.set_rate(
            currency=given["currency"],
            price_per_credit=given["price_per_credit"],
            actor=actor,
            at=at,
            reason=given["reason"],
        )
        return f"From now on: {rate}."


class SetDiscountsForm(ConfirmationForm):
    """All discounts at once; the version that the page showed goes with them."""

    title, button = "Set the discounts", "Set them"
    volume = LinesField(
        required=False,
        help_text="A line for each tier: from how many credits on, and the percentage off all of"
        " them: 1000 5",
    )
    subscribers = AsciiDecimalField(
        max_value=HUNDRED, places=2, help_text="Percentage off for who has a live subscription."
    )
    version = AsciiIntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        shown: Discounts = self.object
        self.fields["volume"].initial = "\n".join(
            f"{tier.from_credits} {number_of(tier.basis_points)}" for tier in tiers_of(shown)
        )
        self.fields["subscribers"].initial = number_of(shown.subscriber_basis_points)
        self.fields["version"].initial = shown.pk or 0

    def clean(self) -> None:
        super().clean()
        if "volume" not in self.cleaned_data:
            return
        try:
            self.tiers = tiers_in(self.cleaned_data["volume"])
        except forms.ValidationError as wrong:
            self.add_error("volume", wrong)

    def changes(self) -> list[str]:
        shown: Discounts = self.object
        now = [
            f"{percent(tier.basis_points)} from {tier.from_credits:,} credits"
            for tier in tiers_of(shown)
        ]
        now.append(f"{percent(shown.subscriber_basis_points)} for subscribers")
        return [
            f"Now: {', '.join(now)}.",
            "They count from now on, for credits that are bought by number. Both are parts of the"
            " price before discounts.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        rates.set_discounts(
            tiers=self.tiers,
            subscriber_basis_points=basis_points(self.cleaned_data["subscribers"]),
            version=self.cleaned_data["version"],
            actor=actor,
            at=at,
            reason=self.cleaned_data["reason"],
        )
        return "The discounts count from now on."


def tiers_in(text: str) -> list[Tier]:
    """
    Return the tiers that lines say: "1000 5" is 5 % from 1,000 credits on.

    :raises ValidationError: it says which line is none.
    """
    tiers = []
    for number, line in enumerate(lines_of(text), 1):
        start, _, part = line.partition(" ")
        try:
            tiers.append(Tier(STARTS.clean(start), basis_points(PARTS.clean(part))))
        except forms.ValidationError as wrong:
            raise forms.ValidationError(f"Line {number}: {' '.join(wrong.messages)}") from wrong
    return tiers


def basis_points(percentage: Decimal) -> int:
    return int(percentage * 100)


def number_of(basis_points: int) -> str:
    """Return basis points as a percentage is typed."""
    return f"{(Decimal(basis_points) / 100).normalize():f}"
