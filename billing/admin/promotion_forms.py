"""The forms that make, change and end promotions."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.errors import InvalidFields
from accounts.models import Approval, Role, User
from billing.admin.lines import LinesField, money_lines
from billing.admin.rate_forms import HUNDRED, basis_points
from billing.choices import OfferKind, PromotionKind
from billing.models import Offer, Promotion
from billing.services import promotions
from billing.services.promotions import CHANGEABLE, TERMS
from creditsite.adminkit import (
    AsciiDecimalField,
    AsciiIntegerField,
    CheckboxSelectMultiple,
    ConfirmationForm,
    InstantField,
    TextField,
)
from creditsite.errors import Conflict, InvalidRequest
from ledger.models.settings import MOST_CREDITS

# Where the form calls a field of the promotion otherwise.
CALLED: dict[str, str | None] = {"basis_points": "percentage", "__all__": None}


def whole(most: int, least: int = 1, **options: Any) -> AsciiIntegerField:
    """Return a field for a number that may be left out."""
    return AsciiIntegerField(min_value=least, max_value=most, required=False, **options)


class NewPromotionForm(ConfirmationForm):
    title, button = "Make a promotion", "Make it"
    code = TextField(
        max_length=40,
        help_text="As people type it, in whatever case. One that gives much is hard to guess.",
    )
    name = TextField(max_length=120, help_text="What it is for, in words for users.")
    kind = forms.ChoiceField(choices=PromotionKind.choices)
    percentage = AsciiDecimalField(
        max_value=HUNDRED, places=2, required=False, help_text="Off a purchase, such as 12.5."
    )
    amounts = LinesField(
        rows=3,
        required=False,
        label="Amount",
        help_text="Off a purchase: a line for each currency that it is for: USD 5.00",
    )
    credits = whole(MOST_CREDITS, help_text="That it gives, as an award.")
    expiry_days = whole(36_500, label="These last, in days", help_text="Empty: for ever.")
    minimum_credits = whole(MOST_CREDITS, help_text="That a purchase has at least.")
    offers = forms.MultipleChoiceField(
        required=False,
        widget=CheckboxSelectMultiple,
        label="Packages",
        help_text="None: any purchase, credits by number included.",
    )
    roles = forms.MultipleChoiceField(
        required=False, widget=CheckboxSelectMultiple, help_text="None: all users."
    )
    starts_at = InstantField(label="From (UTC)")
    ends_at = InstantField(label="Until (UTC)", required=False, help_text="Empty: no end.")
    limit_total = whole(10**12, label="Times in all", help_text="Empty: any number.")
    limit_per_user = whole(
        10**6, label="Times for each user", initial=1, help_text="Empty: any number."
    )

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        packages = Offer.objects.filter(kind=OfferKind.PACKAGE).order_by("position", "code")
        codes = packages.values_list("code", flat=True)
        self.fields["offers"].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]
        roles = Role.objects.order_by("name").values_list("code", "name")
        self.fields["roles"].choices = list(roles)  # type: ignore[attr-defined]

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        try:
            given["amounts"] = amounts_in(given.get("amounts", ""))
        except InvalidRequest as refusal:
            self.add_error("amounts", str(refusal))
        if self.errors:
            return
        try:
            promotions.built(self.terms(), timezone.now())
        except InvalidFields as refusal:
            for name, messages in refusal.errors.items():
                self.add_error(CALLED.get(name, name), list(messages))
        except Conflict as refusal:
            self.add_error("code", str(refusal))

    def terms(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            **{name: given[name] for name in TERMS if name in given},
            "basis_points": basis_points(given["percentage"] or Decimal(0)),
            "credits": given["credits"] or 0,
            "minimum_credits": given["minimum_credits"] or 0,
        }

    def changes(self) -> list[str]:
        return [
            "A percentage or an amount is taken off a purchase. Bonus credits come as an award when"
            " it is paid, and go with it when it is paid back. A code for credits gives them at"
            " once, to each user once.",
            "What it gives and to whom never changes afterwards; until when and how often may.",
            "Many credits wait for a second person. Staff never use a promotion.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        made = promotions.create_promotion(
            terms=self.terms(),
            actor=actor,
            at=at,
            reason=self.cleaned_data["reason"],
            idempotency_key=self.idempotency_key,
        )
        return waits(made) if isinstance(made, Approval) else f"{made} is made."


def amounts_in(text: str) -> dict[str, int]:
    """
    Return the amount that each line names, by currency.

    :raises InvalidRequest: a line names none or several, or a currency a second time.
    """
    rows = money_lines(text)
    if not all(len(amounts) == 1 for _, amounts in rows):
        raise InvalidRequest("Each line is a currency and an amount: USD 5.00")
    if len({currency for currency, _ in rows}) < len(rows):
        raise InvalidRequest("Each currency has one line.")
    return {currency: amounts[0] for currency, amounts in rows}


class EditPromotionForm(ConfirmationForm):
    """Until when and how often; what the page showed goes with it."""

    title, button = "Change a promotion", "Change it"
    name = TextField(max_length=120, help_text="What it is for, in words for users.")
    ends_at = InstantField(label="Until (UTC)", required=False, help_text="Empty: no end.")
    limit_total = whole(10**12, label="Times in all", help_text="Empty: any number.")
    limit_per_user = whole(10**6, label="Times for each user", help_text="Empty: any number.")
    version = forms.CharField(max_length=40, strip=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        promotion: Promotion = self.object
        for name in CHANGEABLE:
            self.fields[name].initial = getattr(promotion, name)
        if promotion.ends_at:  # As a browser's calendar has it.
            self.fields["ends_at"].initial = f"{promotion.ends_at:%Y-%m-%dT%H:%M:%S}"
        self.fields["version"].initial = promotions.version_of(promotion)

    def changes(self) -> list[str]:
        promotion: Promotion = self.object
        return [
            f"{promotion} was taken {promotion.taken:,} times so far; that stays.",
            "To prolong or raise one that gives many credits waits for a second person.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        done = promotions.change_promotion(
            promotion=self.object,
            version=self.cleaned_data["version"],
            changes={name: self.cleaned_data[name] for name in CHANGEABLE},
            actor=actor,
            at=at,
            reason=self.cleaned_data["reason"],
            idempotency_key=self.idempotency_key,
        )
        return waits(done) if isinstance(done, Approval) else f"{done} is changed."


class EndForm(ConfirmationForm):
    title, button, is_dangerous = "End a promotion", "End it for good", True

    def changes(self) -> list[str]:
        return [
            f"Nobody can use {self.object} from now on, and it does not come back.",
            "Purchases that were begun with it are still sold at the price that they were told.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        promotions.end_promotion(promotion=self.object, actor=actor, at=at, reason=reason)
        return f"{self.object} has ended."
