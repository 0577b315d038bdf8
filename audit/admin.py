from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from audit.actions import ACTIONS
from audit.models import AuditEvent
from creditsite.adminkit import DropdownFilter, RangeDateFilter, ReadOnlyAdmin, display


class ActionFilter(DropdownFilter):
    """Offers the listed actions: reading the table for those that occur would read all of it."""

    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: ReadOnlyAdmin) -> list[tuple[str, str]]:
        return [(action, action) for action in ACTIONS]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent]
    ) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["says", "reason", "at", "address"]
    list_display_links = ["says"]
    sortable_by = ["at"]
    list_filter = [("at", RangeDateFilter), ActionFilter]
    search_fields = ["actor_label", "target_label", "reason", "=request_id", "=target_id"]
    ordering = ["-at", "-pk"]
    fieldsets = [
        (None, {"fields": ["says", "at", "reason", "before", "after"]}),
        ("Who", {"fields": ["actor_label", "actor_id", "on_behalf_of_label", "on_behalf_of_id"]}),
        ("What", {"fields": ["action", "target_label", "target_type", "target_id"]}),
        ("Trace", {"fields": ["request_id", "address", "approval_id"]}),
    ]

    @display(description="event")
    def says(self, event: AuditEvent) -> str:
        return str(event)
