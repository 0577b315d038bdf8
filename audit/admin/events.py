from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse

from audit.actions import ACTIONS
from audit.admin.seals import hexadecimal
from audit.exports import FORMATS, export_events
from audit.models import AuditEvent
from creditsite.adminkit import (
    ConfirmationForm,
    DropdownFilter,
    RangeDateFilter,
    ReadOnlyAdmin,
    TextFilter,
    ask,
    display,
)

# What an address of the list says beside the filters.
NOT_FILTERS = {"p", "o", "e", "all"}


class ActionFilter(DropdownFilter):
    """Offers the listed actions: reading the table for those that occur would read all of it."""

    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: ReadOnlyAdmin) -> list[tuple[str, str]]:
        return [(action, action) for action in ACTIONS]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent]
    ) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class NameFilter(TextFilter):
    """Finds a label by a part of it, and what is called by its number by all of that."""

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent]
    ) -> QuerySet[AuditEvent]:
        typed = (self.value() or "").strip()
        return queryset.filter(self.named(typed)) if typed else queryset

    def named(self, typed: str) -> Q:
        raise NotImplementedError


class ActorFilter(NameFilter):
    title = parameter_name = "actor"

    def named(self, typed: str) -> Q:
        if typed.isascii() and typed.isdigit() and len(typed) < 19:
            return Q(actor_id=int(typed)) | Q(on_behalf_of_id=int(typed))
        return Q(actor_label__icontains=typed) | Q(on_behalf_of_label__icontains=typed)


class TargetFilter(NameFilter):
    title = parameter_name = "target"

    def named(self, typed: str) -> Q:
        return Q(target_id=typed) | Q(target_label__icontains=typed)


class SealedFilter(DropdownFilter):
    title = parameter_name = "sealed"

    def lookups(self, request: HttpRequest, model_admin: ReadOnlyAdmin) -> list[tuple[str, str]]:
        return [("yes", "Sealed"), ("no", "Not yet")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent]
    ) -> QuerySet[AuditEvent]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(awaiting_seal__isnull=self.value() == "yes")


@dataclass(frozen=True)
class Selection:
    """The events of a list, and what they were chosen by."""

    events: QuerySet[AuditEvent]
    filters: dict[str, str]


class ExportForm(ConfirmationForm):
    """Gives the events of a list as a file, all of its pages."""

    title = "Export audit events"
    button = "Download"
    format = forms.ChoiceField(choices=[(name, name.upper()) for name in FORMATS])

    def changes(self) -> list[str]:
        chosen = "; ".join(f"{name}: {value}" for name, value in self.object.filters.items())
        return [
            f"Nothing. You get a file of {self.object.events.count():,} events; that you exported"
            " them is recorded.",
            f"Chosen by {chosen}" if chosen else "All events are chosen.",
        ]

    def apply(self, *, actor: Any, at: datetime) -> StreamingHttpResponse:
        name = self.cleaned_data["format"]
        lines = export_events(
            events=self.object.events,
            format=name,
            filters=self.object.filters,
            actor=actor,
            reason=self.cleaned_data["reason"],
            at=at,
        )
        return StreamingHttpResponse(
            lines,
            content_type=FORMATS[name].content_type,
            headers={
                "Content-Disposition": f'attachment; filename="audit-{at:%Y%m%d-%H%M%S}.{name}"',
                "Cache-Control": "no-store",
            },
        )


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["says", "reason", "at", "address", "seal_number"]
    list_display_links = ["says"]
    sortable_by = ["at"]
    list_filter = [
        ("at", RangeDateFilter),
        ActionFilter,
        ActorFilter,
        TargetFilter,
        SealedFilter,
    ]
    list_select_related = ["seal"]
    search_fields = ["actor_label", "target_label", "reason", "=request_id", "=target_id"]
    ordering = ["-at", "-pk"]
    fieldsets = [
        (None, {"fields": ["says", "at", "reason", "before", "after"]}),
        ("Who", {"fields": ["actor_label", "actor_id", "on_behalf_of_label", "on_behalf_of_id"]}),
        ("What", {"fields": ["action", "target_label", "target_type", "target_id"]}),
        ("Trace", {"fields": ["request_id", "address", "approval_id", "erased_at"]}),
        ("Seal", {"fields": ["seal_number", "sealed_at", "seal_hash"]}),
    ]

    @display(description="event")
    def says(self, event: AuditEvent) -> str:
        return str(event)

    @display(description="seal")
    def seal_number(self, event: AuditEvent) -> str:
        return f"{event.seal.number:,}" if hasattr(event, "seal") else "not yet"

    @display(description="sealed at")
    def sealed_at(self, event: AuditEvent) -> datetime | None:
        return event.seal.at if hasattr(event, "seal") else None

    @display(description="hash")
    def seal_hash(self, event: AuditEvent) -> str:
        return hexadecimal(event.seal.hash) if hasattr(event, "seal") else ""

    def get_urls(self) -> list[URLPattern]:
        export = path(
            "export/",
            self.admin_site.admin_view(self.export_view),
            name="audit_auditevent_export",
        )
        return [export, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {"may_export": self.may_act(request, "export")}
        return super().changelist_view(request, may | (extra_context or {}))

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about the list that the address is of, and send it as a file."""
        back = reverse("admin:audit_auditevent_changelist")
        try:
            events = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(back)
        filters = {
            name: str(value)
            for name, value in request.GET.items()
            if value and name not in NOT_FILTERS
        }
        chosen = [Selection(events, filters)]
        back = f"{back}?{request.GET.urlencode()}"
        page = ask(self, request, chosen, ExportForm, act="export", back=back)
        return page or HttpResponseRedirect(back)
