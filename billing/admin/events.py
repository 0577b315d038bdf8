from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from billing.models import StripeEvent
from billing.services.inbox import replay_event
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    ConfirmationForm,
    PageAction,
    RangeDateFilter,
    action,
    confirm,
    display,
)
from ledger.admin.lists import BooksAdmin, minute, two_lines

STATUS_COLOURS = {"waiting": "info", "done": "success", "failed": "danger", "ignored": "info"}


class ReplayForm(ConfirmationForm):
    title = "Handle again"

    def changes(self) -> list[str]:
        return [f"{event} is handled again. Done twice is done once." for event in self.objects]

    def apply(self, *, actor: User, at: datetime) -> str:
        for event in self.objects:
            replay_event(event=event, reason=self.cleaned_data["reason"], actor=actor, at=at)
        return f"Handled again: {len(self.objects)}."


def is_handled(event: StripeEvent) -> bool:
    return event.status != "ignored"


@admin.register(StripeEvent)
class StripeEventAdmin(BooksAdmin):
    """What Stripe told, what was done about it, and what failed."""

    class Media:
        css = {"all": ["ledger/staff.css"]}

    title = "Stripe events"
    list_before_template = "admin/billing/last_webhook.html"
    list_display = ["received", "type", "object_id", "state", "tries", "failure"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        "was_missed",
        ("received_at", RangeDateFilter),
    ]
    search_fields = ["=event_id", "=object_id", "=type"]
    search_help_text = "Id of the event or of what it is about, or its type"
    ordering = ["-received_at", "-pk"]
    actions = ["replay_selected"]
    page_actions = (
        PageAction(
            name="replay",
            label="Handle again…",
            form_class=ReplayForm,
            is_offered=is_handled,
            is_primary=True,
        ),
    )
    fieldsets = [
        (None, {"fields": ["event_id", "type", "object_id", "status", "error"]}),
        ("Handling", {"fields": ["tries", "next_try_at", "done_at"]}),
        (
            "Trace",
            {
                "fields": [
                    "created_at",
                    "received_at",
                    "was_missed",
                    "livemode",
                    "account",
                    "payload",
                ]
            },
        ),
    ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        brought = StripeEvent.objects.filter(was_missed=False).order_by("-received_at", "-pk")
        context = {"last_webhook": brought.first()}
        return super().changelist_view(request, context | (extra_context or {}))

    @display(description="received (UTC)")
    def received(self, event: StripeEvent) -> Any:
        missed = "no webhook brought it" if event.was_missed else ""
        return two_lines(minute(event.received_at), missed)

    @display(description="state", label=STATUS_COLOURS)
    def state(self, event: StripeEvent) -> str:
        return event.status

    @display(description="error")
    def failure(self, event: StripeEvent) -> str:
        return event.error[:80] or "–"

    @action(description="Handle selected events again…")
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=ReplayForm)
