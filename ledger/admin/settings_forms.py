"""The forms that change the settings of the credit economy."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import DecimalField

from accounts.admin.approvals import waits
from accounts.errors import InvalidFields
from accounts.models import Approval, User
from creditsite.adminkit import (
    AsciiDecimalField,
    AsciiIntegerField,
    ConfirmationForm,
    TextField,
    styled,
)
from creditsite.money import CURRENCIES
from ledger.models.settings import time_zones
from ledger.services import settings

GROUPS = {
    "Price and cost": ["price_per_credit", "currency", "recovery_cost", "recovery_currency"],
    "Awards": [
        "sign_up_credits",
        "sign_up_frequency",
        "referral_credits",
        "referral_monthly_limit",
        "partner_allotment",
        "monthly_day",
        "award_expiry_days",
        "grace_days",
    ],
    "Sharing": ["agent_revenue_share", "partner_revenue_share"],
    "Project costs": ["project_cost_margin", "project_cost_refresh_minutes"],
    "Safety": [
        "typed_confirmation_from",
        "largest_balance",
        "approval_adjustment_above",
        "approval_batch_credits_above",
        "approval_batch_wallets_above",
        "approval_dispute_above",
    ],
    "Disputes": ["dispute_days", "dispute_review_hours"],
    "Notices and time": ["low_credit_threshold", "renewal_reminder_days", "time_zone"],
}
NAMES = [name for names in GROUPS.values() for name in names]
CURRENCY_CHOICES = [(code.upper(), code.upper()) for code in CURRENCIES.split()]


def form_field(name: str) -> forms.Field:
    """Return the field that takes a setting exactly as it was sent, within its bounds."""
    db_field = settings.field_of(name)
    options = {
        "label": settings.label_of(name),
        "help_text": db_field.help_text,
        "required": not db_field.blank,
    }
    if name == "time_zone":
        return TextField(max_length=64, widget=forms.TextInput({"list": "time-zones"}), **options)
    if choices := choices_of(name):
        return forms.ChoiceField(choices=choices, **options)
    if isinstance(db_field, DecimalField):
        largest = min(bounds(db_field, MaxValueValidator), default=Decimal(999_999))
        return AsciiDecimalField(max_value=largest, places=db_field.decimal_places or 0, **options)
    return AsciiIntegerField(
        min_value=max(bounds(db_field, MinValueValidator)),
        max_value=min(bounds(db_field, MaxValueValidator)),
        **options,
    )


def choices_of(name: str) -> list[tuple[Any, Any]]:
    if name.endswith("currency"):
        return CURRENCY_CHOICES
    return list(settings.field_of(name).choices or [])


def bounds(db_field: Any, kind: type[Any]) -> list[Any]:
    return [each.limit_value for each in db_field.validators if type(each) is kind]


class EditForm(ConfirmationForm):
    """
    All settings, typed and within their bounds. The version that the page showed goes with them: if
    they have changed since, nothing is.
    """

    title = "Change the settings"
    template = "admin/ledger/creditsettings/edit.html"

    class Media:
        css = {"all": ["ledger/staff.css"]}

    version = AsciiIntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields = {name: form_field(name) for name in NAMES} | self.fields
        for name in NAMES:
            self.fields[name].initial = getattr(self.object, name)
        self.fields["version"].initial = self.object.pk or 0
        styled(self)

    def time_zones(self) -> list[str]:
        """Return what the field for one suggests."""
        return time_zones()

    def groups(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        for title, names in GROUPS.items():
            yield title, [self[name] for name in names]

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        try:
            settings.version_with(self.object, self.entered())
        except InvalidFields as refusal:
            for name, messages in refusal.errors.items():
                self.add_error(name if name in self.fields else None, list(messages))

    def entered(self) -> dict[str, Any]:
        """Return what was entered that is not as the page showed it."""
        return {
            name: self.cleaned_data[name]
            for name in NAMES
            if name in self.cleaned_data and self.cleaned_data[name] != getattr(self.object, name)
        }

    def changes(self) -> list[str]:
        entered = self.entered() if hasattr(self, "cleaned_data") else {}
        return [
            f"{settings.label_of(name)}: {settings.shown(getattr(self.object, name))} →"
            f" {settings.shown(value)}"
            for name, value in entered.items()
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        changes = self.changes()
        done = settings.change_settings(
            changes=self.entered(),
            version=self.cleaned_data["version"],
            reason=self.cleaned_data["reason"],
            actor=actor,
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"Changed: {'; '.join(changes)}."


class SwitchForm(ConfirmationForm):
    """Switches credits off where they are on, and on where they are off."""

    @property
    def title(self) -> str:  # type: ignore[override]
        return "Switch credits off" if self.object.credits_enabled else "Switch credits on"

    @property
    def is_dangerous(self) -> bool:  # type: ignore[override]
        return self.object.credits_enabled

    @property
    def phrase(self) -> str:
        return self.title.upper()

    def changes(self) -> list[str]:
        if not self.object.credits_enabled:
            return ["Everybody may spend, hold and buy credits again, at once."]
        return [
            "From this moment on nobody can spend, hold or buy credits, whatever the door: each is"
            " answered that credits are switched off, and to try again later.",
            "Reading, running jobs that capture or release their hold, reversals, refunds, expiry,"
            " awards and what staff do to wallets go on.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        enabled = not self.object.credits_enabled
        reason = self.cleaned_data["reason"]
        settings.switch_credits(enabled=enabled, reason=reason, actor=actor, at=at)
        return f"Credits are switched {'on' if enabled else 'off'}."
