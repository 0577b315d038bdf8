"""The forms of revenue share: who owns a feature, and what was paid out."""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.http import StreamingHttpResponse
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.identity import normalise_email
from accounts.models import Approval, User
from billing.models import ShareMonth, ShareStatement
from billing.queries.shares import standing_of
from billing.services.share_exports import export_statements
from billing.services.share_payouts import REFERENCE, credits_worth, pay_share, takes_two, why_not
from billing.services.shares import assign_feature, end_ownership, owner_term
from creditsite.adminkit import ConfirmationForm, DayField, ObjectField, TextField
from creditsite.money import format_money
from ledger.models import Feature
from ledger.queries.figures import business_day
from ledger.queries.settings import settings_at

MOST_MONTHS = 240


class AssignFeatureForm(ConfirmationForm):
    """Which partner owns which feature from now on."""

    title, button = "Say who owns a feature", "Say so"
    feature = ObjectField(queryset=Feature.objects.order_by("code"))
    partner = TextField(max_length=254, help_text="The e-mail address of the partner.")

    def clean_partner(self) -> User:
        address = normalise_email(self.cleaned_data["partner"])
        found = User.objects.filter(email=address, is_partner=True, is_active=True).first()
        if found is None:
            raise forms.ValidationError("No partner has this address.")
        return found

    def changes(self) -> list[str]:
        return [
            "The partner earns the percentage of the settings of what others spend on it from now"
            " on. What was spent before stays with whoever owned it then.",
            "Who owns it now owns it no longer.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        given = self.cleaned_data
        before = owner_term(given["feature"])
        assign_feature(
            feature=given["feature"],
            partner=given["partner"],
            reason=given["reason"],
            actor=actor,
            at=at,
        )
        instead = f", instead of {before.payee}" if before else ""
        return f"{given['partner']} owns {given['feature']} from now on{instead}."


class EndOwnershipForm(ConfirmationForm):
    title, button = "End ownership", "End it"
    is_dangerous = True

    def changes(self) -> list[str]:
        term = self.object
        return [
            f"{term.payee} earns nothing of what is spent on {term.feature} from now on.",
            "What was spent before stays theirs.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        end_ownership(term=self.object, reason=self.cleaned_data["reason"], actor=actor, at=at)
        return f"Nobody owns {self.object.feature} any more."


class PayForm(ConfirmationForm):
    """Writes down that a statement was paid out."""

    title, button = "Mark as paid out", "Mark it"
    reference = forms.RegexField(
        f"^{REFERENCE}\\Z",
        strip=False,
        help_text="Of the transfer, a code such as TR-2026-0042.",
        error_messages={"invalid": "Up to 40 letters, digits and . _ : / + -, without spaces."},
    )
    paid_on = DayField(label="Paid on")

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        self.now = timezone.now()
        super().__init__(data, objects=objects, **kwargs)
        self.fields["paid_on"].initial = business_day(self.now)

    @property
    def money(self) -> str:
        return format_money(self.object.total_minor, self.object.currency)

    @property
    def phrase(self) -> str:
        worth = credits_worth(self.object, self.now)
        small = worth is not None and worth < settings_at(self.now).typed_confirmation_from
        return "" if small else f"PAID {self.money}"

    def changes(self) -> list[str]:
        statement: ShareStatement = self.object
        lines = [
            f"{self.money} were paid to {statement.payee}, earned as {statement.kind} until"
            f" {statement.month:%Y-%m}.",
            "No money moves by this: it writes down, for ever, what you have paid. They are told.",
        ]
        if why := why_not(statement):
            return [why]
        if takes_two(statement, self.now):
            lines.append("It waits for a second person.")
        return lines

    def apply(self, *, actor: User, at: datetime) -> str:
        done = pay_share(
            statement=self.object,
            reference=self.cleaned_data["reference"],
            paid_on=self.cleaned_data["paid_on"],
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"{self.money} are marked as paid out to {self.object.payee}."


def is_payable(statement: ShareStatement) -> bool:
    return standing_of(statement).state == "to be paid"


class ExportMonthsForm(ConfirmationForm):
    """All statements of a period as one file."""

    title, button = "Statements as a file", "Download"
    first = forms.ChoiceField(label="First month")
    last = forms.ChoiceField(label="Last month")

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        months = ShareMonth.objects.order_by("-month").values_list("month", flat=True)
        self.months = {f"{month:%Y-%m}": month for month in months[:MOST_MONTHS]}
        for name in ("first", "last"):
            field = cast("forms.ChoiceField", self.fields[name])
            field.choices = [(month, month) for month in self.months]

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        if given.get("first", "") > given.get("last", "9"):
            self.add_error("last", "It comes before the first.")

    def changes(self) -> list[str]:
        return ["The file has every line of every statement. That you took it is recorded."]

    def apply(self, *, actor: User, at: datetime) -> StreamingHttpResponse:
        first, last = self.cleaned_data["first"], self.cleaned_data["last"]
        lines = export_statements(
            first=self.months[first], last=self.months[last], actor=actor, at=at
        )
        return as_file(lines, f"revenue-share-{first}-{last}")


def as_file(lines: Any, name: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
