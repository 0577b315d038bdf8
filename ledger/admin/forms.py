"""The forms that move credits of a wallet: each asks, and calls one service."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from creditsite.adminkit import AsciiIntegerField, ConfirmationForm, DayField
from ledger.choices import CreditType
from ledger.errors import StaleVersion
from ledger.queries.balances import Balance, balance_of
from ledger.queries.settings import settings_at
from ledger.services import adjustments

UNFUNDED = "Entered here they carry no money: reports call them unfunded."
LABELS = {
    CreditType.AWARD: "Awards",
    CreditType.PURCHASE: "Purchases",
    CreditType.PARTNER: "Partner",
}


class WalletForm(ConfirmationForm):
    """A form about one wallet, with its balance and the settings as they are now."""

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        now = timezone.now()
        self.balance: Balance = balance_of(objects[0].pk, now)
        self.settings = settings_at(now)
        super().__init__(data, objects=objects, **kwargs)

    @property
    def moved(self) -> int:
        """How many credits what is entered so far would move; 0 while it is not complete."""
        return 0

    @property
    def phrase(self) -> str:
        is_large = self.moved >= self.settings.typed_confirmation_from
        return f"MOVE {self.moved}" if is_large else ""

    def entered(self, name: str) -> Any:
        """Return what is entered in a field, or ``None`` if nothing is or it will not do."""
        try:
            return self.fields[name].clean(self.data.get(name)) if self.is_bound else None
        except ValidationError:
            return None

    def changes(self) -> list[str]:
        balance = self.balance
        figures = ", ".join(f"{label} {getattr(balance, t):,}" for t, label in LABELS.items())
        held = f"; {balance.held:,} of them are held" if balance.held else ""
        return [f"{self.object} has now: {figures}{held}."]

    def by(self, actor: User, at: datetime) -> dict[str, Any]:
        """Return what every service that moves credits is told."""
        return {
            "wallet": self.object,
            "reason": self.cleaned_data["reason"],
            "actor": actor,
            "caller": f"user:{actor.pk}",
            "at": at,
            "idempotency_key": self.idempotency_key,
        }


def largest_balance() -> int:
    return settings_at(timezone.now()).largest_balance


def balance_field(label: str, **options: Any) -> AsciiIntegerField:
    return AsciiIntegerField(min_value=0, max_value=largest_balance, label=label, **options)


class SetBalancesForm(WalletForm):
    """
    Sets the three balances exactly. The version of the wallet that the page showed goes with it:
    if the wallet has changed since, nothing is set, and the page shows the fresh figures.
    """

    title = "Set balances"
    award = balance_field("Awards")
    purchase = balance_field("Purchases", help_text=UNFUNDED)
    partner = balance_field("Partner")
    version = AsciiIntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields["version"].initial = self.balance.version
        for credit_type in LABELS:
            self.fields[credit_type.value].initial = getattr(self.balance, credit_type)

    @property
    def differences(self) -> dict[CreditType, int]:
        targets = {t: self.entered(t.value) for t in LABELS}
        return {
            t: target - getattr(self.balance, t)
            for t, target in targets.items()
            if target is not None
        }

    @property
    def moved(self) -> int:
        return sum(abs(difference) for difference in self.differences.values())

    def clean(self) -> None:
        super().clean()
        # The phrase of the figures that the page showed is not that of today's.
        is_stale = self.cleaned_data.get("version") != self.balance.version
        if is_stale and self.errors.pop("confirmation", None):
            self.show_fresh()
            raise ValidationError(str(StaleVersion()))

    def changes(self) -> list[str]:
        return super().changes() + [
            f"{LABELS[t]}: {getattr(self.balance, t):,} → {getattr(self.balance, t) + change:,}"
            f" ({change:+,})"
            for t, change in self.differences.items()
            if change
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        try:
            done = adjustments.set_balances(
                targets={t: self.cleaned_data[t.value] for t in LABELS},
                version=self.cleaned_data["version"],
                **self.by(actor, at),
            )
        except StaleVersion:
            self.show_fresh()
            raise
        if isinstance(done, Approval):
            return waits(done)
        figures = ", ".join(f"{LABELS[t]} {self.cleaned_data[t.value]:,}" for t in LABELS)
        return f"The balances of {self.object} are: {figures}."

    def show_fresh(self) -> None:
        """Let what was entered stand beside the fresh figures, to be confirmed anew."""
        entered = {name: self.data[name] for name in self.data if name != "confirmation"}
        self.data = entered | {"version": str(self.balance.version)}


def last_day_field() -> DayField:
    return DayField(
        required=False,
        label="Last day",
        validators=[MaxValueValidator(date(2999, 12, 31))],
        help_text="They expire when this day ends (UTC). Empty: never.",
    )


def end_of(last_day: date | None) -> datetime | None:
    """Return when credits expire whose last day this is; ``None`` is never."""
    if last_day is None:
        return None
    return datetime.combine(last_day + timedelta(days=1), time(), tzinfo=UTC)


class AmountForm(WalletForm):
    amount: forms.Field

    @property
    def moved(self) -> int:
        return self.entered("amount") or 0


class AddCreditsForm(AmountForm):
    title = "Add credits"
    credit_type = forms.ChoiceField(
        choices=list(LABELS.items()), label="Type", help_text=f"Purchases: {UNFUNDED.lower()}"
    )
    amount = AsciiIntegerField(min_value=1, max_value=largest_balance, help_text="Whole credits.")
    last_day = last_day_field()

    def apply(self, *, actor: User, at: datetime) -> str:
        amount = self.cleaned_data["amount"]
        credit_type = CreditType(self.cleaned_data["credit_type"])
        done = adjustments.add_credits(
            amount=amount,
            credit_type=credit_type,
            expires_at=end_of(self.cleaned_data["last_day"]),
            **self.by(actor, at),
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"Added {amount:,} {credit_type} credits to {self.object}."


class RemoveCreditsForm(AmountForm):
    title = "Remove credits"
    credit_type = forms.ChoiceField(
        choices=[("", "Any, in the order in which they are spent"), *LABELS.items()],
        required=False,
        label="Type",
    )
    amount = AsciiIntegerField(
        min_value=1,
        max_value=adjustments.LARGEST_AMOUNT,
        help_text="Whole credits. What is held leaves when its hold ends.",
    )

    def apply(self, *, actor: User, at: datetime) -> str:
        amount, credit_type = self.cleaned_data["amount"], self.cleaned_data["credit_type"]
        done = adjustments.remove_credits(
            amount=amount,
            credit_type=CreditType(credit_type) if credit_type else None,
            **self.by(actor, at),
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"Removed {amount:,} credits from {self.object}."
