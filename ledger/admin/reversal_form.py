"""The form that reverses a transaction."""

from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from creditsite.adminkit import AsciiIntegerField, ConfirmationForm, styled
from ledger.queries.reversals import effects_of_reversal
from ledger.services import adjustments


class ReverseForm(ConfirmationForm):
    """Reverses one transaction: puts back what it took, or takes back the grant that it gave."""

    title = "Reverse a transaction"
    amount = AsciiIntegerField(
        min_value=1,
        max_value=adjustments.LARGEST_AMOUNT,
        required=False,
        label="Part",
        help_text="Whole credits to put back. Empty: all that is not given back yet.",
    )
    partly = forms.BooleanField(
        required=False,
        label="Take what is left",
        help_text="If some of the credits are spent or held already, take back the others.",
    )

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        del self.fields["amount" if self.object.amount > 0 else "partly"]
        styled(self)

    @property
    def phrase(self) -> str:
        return f"REVERSE {self.object.number}"

    def changes(self) -> list[str]:
        transaction = self.object
        what = f"No. {transaction.number} of {transaction.wallet}: {transaction.amount:+,} credits,"
        what += f" {transaction.get_kind_display().lower()}, {transaction.recorded_at:%Y-%m-%d}."
        return [what, *effects_of_reversal(transaction, timezone.now())]

    def apply(self, *, actor: User, at: datetime) -> str:
        posted = adjustments.reverse_transaction(
            original=self.object,
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
            amount=self.cleaned_data.get("amount"),
            partly=self.cleaned_data.get("partly", False),
        )
        if isinstance(posted, Approval):
            return waits(posted)
        return (
            f"Reversed no. {self.object.number}: {posted.amount or 0:+,} credits"
            f" as no. {posted.number}."
        )
