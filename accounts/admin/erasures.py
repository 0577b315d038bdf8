from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import StreamingHttpResponse
from django.utils import timezone

from accounts.models import Erasure, User
from accounts.services.data_export import export_user
from accounts.services.erasure import preview_erasure, request_erasure
from creditsite.adminkit import ConfirmationForm, RangeDateFilter, ReadOnlyAdmin, styled


class EraseUserForm(ConfirmationForm):
    """Shows what would go and what stays, takes the decisions, and asks a second person."""

    title = "Erase personal data"
    button = "Ask a second person"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.preview = preview_erasure(user=self.object, at=timezone.now())
        # Named with its amount: what is agreed to is what the page showed, and no more.
        agreed = {f"{each.name}_{each.amount}": each.sentence for each in self.preview.decisions}
        for name, text in agreed.items():
            self.fields[name] = forms.BooleanField(label=text)
        self.order_fields([*agreed])
        styled(self)

    @property
    def phrase(self) -> str:
        return f"ERASE {self.object.email}"

    def changes(self) -> list[str]:
        return [
            *(f"In the way: {obstacle}" for obstacle in self.preview.obstacles),
            *(f"Erased for ever: {kind}: {n:,}" for kind, n in self.preview.erases.items()),
            *(f"Kept: {line}" for line in self.preview.keeps),
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        decided = {decision.name: decision.amount for decision in self.preview.decisions}
        request_erasure(
            user=self.object,
            decided=decided,
            reason=self.cleaned_data["reason"],
            actor=actor,
            at=at,
            idempotency_key=self.idempotency_key,
        )
        return f"The erasure of {self.object} waits for a second person, under Approvals."


class ExportUserForm(ConfirmationForm):
    title = "Export personal data"
    button = "Download"

    def changes(self) -> list[str]:
        return [
            f"Nothing. You get a file of all that we hold about {self.object}, for them alone;"
            " that you exported it is recorded."
        ]

    def apply(self, *, actor: User, at: datetime) -> StreamingHttpResponse:
        reason = self.cleaned_data["reason"]
        document = export_user(user=self.object, actor=actor, reason=reason, at=at)
        return StreamingHttpResponse(
            document,
            content_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="user-{self.object.pk}.json"',
                "Cache-Control": "no-store",
            },
        )


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = ["user_id", "erased_at", "listed_at"]
    list_filter = [("erased_at", RangeDateFilter)]
    search_fields = ["=user_id"]
    ordering = ["-pk"]
    fields = ["user_id", "identity", "erased_at", "listed_at"]
