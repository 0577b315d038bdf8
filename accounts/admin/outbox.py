from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import linebreaksbr

from accounts.models import Email, User
from accounts.services.outbox import resend_email
from creditsite.adminkit import (
    ConfirmationForm,
    RangeDateFilter,
    ReadOnlyAdmin,
    action,
    confirm,
    display,
)


class ResendEmailsForm(ConfirmationForm):
    title = "Send e-mails again"

    @property
    def phrase(self) -> str:
        return f"RESEND {len(self.objects)}"

    def changes(self) -> list[str]:
        return [f"“{email.subject}” goes to {email.recipient} once more" for email in self.objects]

    def apply(self, *, actor: User, at: datetime) -> str:
        for email in self.objects:
            resend_email(email=email, actor=actor, reason=self.cleaned_data["reason"], at=at)
        return f"{len(self.objects)} e-mails will be sent again."


@admin.register(Email)
class EmailAdmin(ReadOnlyAdmin):
    list_display = ["recipient", "subject", "state", "tries", "created_at", "sent_at"]
    list_filter = ["status", ("created_at", RangeDateFilter)]
    search_fields = ["=recipient", "subject"]
    ordering = ["-created_at", "-pk"]
    actions = ["resend_selected"]
    fieldsets = [
        (None, {"fields": ["recipient", "sender", "subject", "status", "body"]}),
        ("Sending", {"fields": ["tries", "next_try_at", "error", "created_at", "sent_at"]}),
        ("Trace", {"fields": ["message_id", "text_erased_at"]}),
    ]

    @display(
        description="state",
        ordering="status",
        label={"waiting": "info", "sent": "success", "failed": "danger", "kept": "info"},
    )
    def state(self, email: Email) -> tuple[str, str]:
        return email.status, email.get_status_display().lower()

    @display(description="text")
    def body(self, email: Email) -> Any:
        if email.text_erased_at:
            return "Erased."
        # It may hold a link that signs somebody in, or lets them choose a password.
        return (
            linebreaksbr(email.text) if settings.DEMO else "Shown to nobody but who it was sent to."
        )

    @action(description="Send selected e-mails again…")
    def resend_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=ResendEmailsForm)
