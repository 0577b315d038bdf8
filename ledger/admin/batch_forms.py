"""The forms of batches: what is to be done to many wallets, and each step from there on."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from creditsite.adminkit import AsciiIntegerField, ConfirmationForm, FileWidget
from creditsite.errors import InvalidRequest
from creditsite.text import clean_text, one_line
from ledger.admin.batch_states import Step, takes, trail
from ledger.admin.forms import LABELS, UNFUNDED, end_of, last_day_field
from ledger.admin.selections import in_words
from ledger.choices import BatchKind, CreditType, ShortPolicy
from ledger.errors import NotYourBatch
from ledger.models import Batch
from ledger.services import batches
from ledger.services.batch_files import read_adjustments
from ledger.services.batch_words import phrase_of, sentence_of
from ledger.services.posting import LARGEST_AMOUNT


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whom a new batch is for; ``None`` is whom a file names that is still to come."""

    selection: dict[str, Any] | None


def page_of(batch: Batch) -> str:
    return reverse("admin:ledger_batch_change", args=[batch.pk])


class TrailForm(ConfirmationForm):
    """A page with the steps of a batch above what it asks."""

    template = "admin/ledger/batch/step.html"

    class Media:
        css = {"all": ["ledger/staff.css"]}

    @property
    def trail(self) -> list[Step]:
        return trail(None, timezone.now())


class NewBatchForm(TrailForm):
    """Drafts a batch and plans it; its page then shows the plan. No credits move."""

    kind: ClassVar[BatchKind]
    # For whom it may be.
    of: ClassVar[set[str]] = {"all", "file", "filter"}
    words: ClassVar[str]
    button = "Preview"
    credit_type = forms.ChoiceField(choices=list(LABELS.items()), label="Type")
    amount = AsciiIntegerField(min_value=1, max_value=LARGEST_AMOUNT, label="Credits for each")
    file = forms.FileField(
        max_length=200,
        help_text="CSV in UTF-8, with the columns email, amount and, if you like, reason: whole"
        " credits in the digits 0 to 9, each address once. Lines that are wrong are left out, and"
        " the preview lists them with what is wrong.",
        widget=FileWidget({"accept": ".csv,text/csv"}),
    )

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        del self.fields["file" if self.object.selection else "amount"]

    def changes(self) -> list[str]:
        selection = self.object.selection
        whom = in_words(selection) if selection else "those that the file names"
        return [
            f"{self.words} {whom}. The wallets of staff are always left out.",
            "No credits move yet: the next page shows how many would, and of whom.",
        ]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        try:
            file.name = clean_text(one_line(file.name), 200)
        except InvalidRequest as refusal:
            raise ValidationError(f"The name of the file: {refusal}") from refusal
        return file

    def terms(self) -> dict[str, Any]:
        """Return what batches of this kind are told beyond what all are."""
        return {"policy": ShortPolicy.SKIP}

    def apply(self, *, actor: User, at: datetime) -> HttpResponseRedirect:
        file = self.cleaned_data.get("file")
        batch = batches.draft_batch(
            kind=self.kind,
            credit_type=CreditType(self.cleaned_data["credit_type"]),
            amount=self.cleaned_data.get("amount"),
            selection=self.object.selection or selection_of_file(file),
            rows=read_adjustments(file) if file else None,
            reason=self.cleaned_data["reason"],
            maker=actor,
            at=at,
            **self.terms(),
        )
        batches.plan_batch(batch=batch, at=at)
        return HttpResponseRedirect(page_of(batch))


def selection_of_file(file: Any) -> dict[str, Any]:
    return {"of": "csv", "name": file.name, "sha256": digest_of(file)}


def digest_of(file: Any) -> str:
    """Return the SHA-256 of ``file``, which stands at its beginning before and after."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


class AdditionForm(NewBatchForm):
    title, kind, words = "Add credits to many", BatchKind.ADD, "Credits are added to"
    credit_type = forms.ChoiceField(
        choices=list(LABELS.items()), label="Type", help_text=f"Purchases: {UNFUNDED.lower()}"
    )
    last_day = last_day_field()

    def terms(self) -> dict[str, Any]:
        return super().terms() | {"expires_at": end_of(self.cleaned_data["last_day"])}


class DeductionForm(NewBatchForm):
    title, kind, words = "Deduct credits from many", BatchKind.DEDUCT, "Credits are taken from"
    amount = AsciiIntegerField(min_value=1, max_value=LARGEST_AMOUNT, label="Credits from each")
    policy = forms.ChoiceField(
        choices=[
            (ShortPolicy.SKIP, "Leave it alone"),
            (ShortPolicy.TAKE, "Take what is there"),
        ],
        label="A wallet that has less",
        help_text="No balance falls below zero. What is held is not taken.",
    )

    def terms(self) -> dict[str, Any]:
        return {"policy": ShortPolicy(self.cleaned_data["policy"])}


NEW: dict[str, type[NewBatchForm]] = {"add": AdditionForm, "deduct": DeductionForm}


SHORT = {
    ShortPolicy.SKIP: "Nothing is taken there.",
    ShortPolicy.TAKE: "What is there is taken.",
}


# --- Steps ----------------------------------------------------------------------------------------
class StepForm(TrailForm):
    """One step of a batch from its page."""

    @property
    def trail(self) -> list[Step]:
        return trail(self.object, timezone.now())

    def changes(self) -> list[str]:
        return [f"{sentence_of(self.object)}."]


class WithoutReason(StepForm):
    """A step whose reason was given with the batch."""

    reason = None  # type: ignore[assignment]


class PlanForm(WithoutReason):
    title, button = "Plan again", "Plan again"

    def changes(self) -> list[str]:
        return [
            *super().changes(),
            "Who is in it, and what each has, is read anew. No credits move.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        if self.object.maker != actor:
            raise NotYourBatch
        batch = batches.plan_batch(batch=self.object, at=at)
        return f"Planned anew: {sentence_of(batch)}."


class ConfirmForm(WithoutReason):
    """Starts what the page showed: its hash goes with it, and any other plan is refused."""

    title = "Confirm the batch"
    # Who was not let is kept on record, though nothing else is.
    is_atomic = False
    plan_hash = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields["plan_hash"].initial = self.object.plan_hash

    @property
    def phrase(self) -> str:
        return phrase_of(self.object)

    @property
    def is_dangerous(self) -> bool:  # type: ignore[override]
        return takes(self.object)

    @property
    def button(self) -> str:  # type: ignore[override]
        return "Ask for approval" if self.why_approval else "Start"

    @property
    def why_approval(self) -> str:
        return batches.why_approval(self.object, timezone.now())

    @property
    def trail(self) -> list[Step]:
        return trail(self.object, timezone.now(), takes_two=bool(self.why_approval))

    def changes(self) -> list[str]:
        plan = self.object.plan
        lines = [
            *super().changes(),
            f"{plan['expected']:,} credits {'leave' if takes(self.object) else 'enter'}"
            f" {plan['wallets']:,} wallets.",
        ]
        if plan["would_fall_below"]:
            policy = ShortPolicy(self.object.policy)
            lines.append(
                f"Wallets with less than that: {plan['would_fall_below']:,}. {SHORT[policy]}"
            )
        if left_out := sum(plan["excluded"].values()):
            lines.append(f"Left out: {left_out:,}. The page of the batch says why.")
        lines.append(f"The reason: {self.object.reason}")
        if self.why_approval:
            lines.append(f"It waits for a second person. {self.why_approval}")
        return lines

    def apply(self, *, actor: User, at: datetime) -> str:
        done = batches.confirm_batch(
            batch=self.object,
            plan_hash=self.cleaned_data["plan_hash"],
            phrase=self.cleaned_data.get("confirmation", ""),
            actor=actor,
            at=at,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"Started: {sentence_of(done)}."


class MoveForm(StepForm):
    """Stops a batch, lets it go on, or ends it."""

    move: ClassVar[Callable[..., Batch]]
    moved: ClassVar[str]
    effect: ClassVar[str]

    def changes(self) -> list[str]:
        return [*super().changes(), self.effect]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        self.move(batch=self.object, actor=actor, reason=reason, at=at)
        return f"{self.moved}: {sentence_of(self.object)}."


class DiscardForm(MoveForm):
    title, moved = "Discard", "Discarded"
    move = staticmethod(batches.discard_batch)
    effect = "Nothing of it has happened, and nothing will."


class PauseForm(MoveForm):
    title, moved = "Pause", "Paused"
    move = staticmethod(batches.pause_batch)
    effect = "It stops within seconds, and goes on from there when it is resumed."


class ResumeForm(MoveForm):
    title, moved = "Resume", "Resumed"
    move = staticmethod(batches.resume_batch)
    effect = "It goes on where it stopped. Nobody's credits are moved twice."


class CancelForm(MoveForm):
    title, button, moved = "Cancel the rest", "Cancel the rest", "Cancelled"
    move = staticmethod(batches.cancel_batch)
    is_dangerous = True
    effect = "What was done stays done; the rest never happens. The whole can then be reversed."

    @property
    def phrase(self) -> str:
        return f"CANCEL BATCH {self.object.pk}"


class ReverseForm(StepForm):
    """Plans the reversal: a batch of its own, confirmed like any other."""

    title, button = "Reverse", "Preview the reversal"

    def changes(self) -> list[str]:
        return [
            f"{sentence_of(self.object)}: that is put back.",
            "No credits move yet: the next page shows what would, and asks.",
        ]

    def apply(self, *, actor: User, at: datetime) -> HttpResponseRedirect:
        reversal = batches.reverse_batch(
            batch=self.object, reason=self.cleaned_data["reason"], actor=actor, at=at
        )
        return HttpResponseRedirect(page_of(reversal))
