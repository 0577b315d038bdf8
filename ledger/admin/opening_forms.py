"""The form that brings the balances people have elsewhere."""

from datetime import datetime

from django import forms
from django.http import HttpResponseRedirect

from accounts.models import User
from creditsite.adminkit import FileWidget
from ledger.admin.batch_forms import NewBatchForm, page_of
from ledger.choices import BatchKind
from ledger.services.batch_files import OPENING_COLUMNS
from ledger.services.openings import draft_openings


class OpeningsForm(NewBatchForm):
    """Reads a file of balances and plans to enter them; nothing is entered yet."""

    title, kind = "Bring existing balances", BatchKind.OPENING
    of = {"file"}
    button = "Dry run"
    credit_type = None  # type: ignore[assignment]
    file = forms.FileField(
        max_length=200,
        help_text=f"CSV in UTF-8, with the columns {', '.join(OPENING_COLUMNS)}; email and one of"
        " the credits must be there. Whole credits in the digits 0 to 9; paid in plain decimals"
        " such as 19.99, with a currency such as USD; as_of such as 2026-01-31.",
        widget=FileWidget({"accept": ".csv,text/csv"}),
    )

    def changes(self) -> list[str]:
        return [
            "Each line becomes opening credits of the user with that e-mail address: once for ever"
            " for each user and type, however often the file is sent.",
            "Lines that are wrong, and addresses that nobody has, are left out, and the next page"
            " says why. The wallets of staff are always left out.",
            "No credits move yet: the next page is the dry run, and it ties out with the file.",
        ]

    def apply(self, *, actor: User, at: datetime) -> HttpResponseRedirect:
        file = self.cleaned_data["file"]
        batch = draft_openings(
            file=file, name=file.name, reason=self.cleaned_data["reason"], maker=actor, at=at
        )
        return HttpResponseRedirect(page_of(batch))
