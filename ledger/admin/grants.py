from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from creditsite.adminkit import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateFilter,
    display,
)
from ledger.admin.lists import BooksAdmin, minute, owned_by, two_lines
from ledger.admin.pages import ExplainingAdmin
from ledger.figures import figure, paid_for
from ledger.models import Entry, Grant, Wallet
from ledger.queries.explanations import state_of_grant

STATE_COLOURS = {
    "open": "success",
    "all held": "info",
    "frozen": "warning",
    "expired": "warning",
    "voided": "danger",
    "taken back": "danger",
}
RECENT_ENTRIES = 50


class StateFilter(DropdownFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("open", "Open: can be spent"),
            ("frozen", "Frozen"),
            ("expired", "Expired"),
            ("voided", "Voided"),
            ("empty", "Nothing left"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = timezone.now()
        match self.value():
            case "open":
                spendable = queryset.filter(is_open=True, is_frozen=False, remaining__gt=F("held"))
                return spendable.exclude(expires_at__lte=now)
            case "frozen":
                return queryset.filter(is_frozen=True)
            case "expired":
                return queryset.filter(expires_at__lte=now)
            case "voided":
                return queryset.filter(voided_at__isnull=False)
            case "empty":
                return queryset.filter(is_open=False)
        return queryset


@admin.register(Grant)
class GrantAdmin(ExplainingAdmin, BooksAdmin):
    title = "Grants"
    list_display = [
        "given_on",
        "wallet",
        "type_and_source",
        "given",
        "left",
        "pinned",
        "paid",
        "expires",
        "state",
    ]
    list_display_links = ["given_on"]
    list_filter = [
        ("credit_type", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        StateFilter,
        ("expires_at", RangeDateFilter),
        ("effective_at", RangeDateFilter),
    ]
    list_select_related = ["wallet__user", "wallet__team"]
    search_fields = ["wallet__user__email"]
    search_help_text = "E-mail, name or team"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        return super().get_queryset(request).select_related("wallet__user", "wallet__team")

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return ["-effective_at", "-id"] if "wallet__id__exact" in request.GET else ["-id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(wallet__in=Wallet.objects.filter(owned_by(search_term))), False

    def explain(self, request: HttpRequest, instance: Grant) -> dict[str, Any]:
        now = timezone.now()
        entries = Entry.objects.filter(grant=instance).order_by("-transaction_id", "-position")
        recent = list(entries.select_related("transaction__actor")[: RECENT_ENTRIES + 1])
        return {
            "now": now,
            "state": state_of_grant(instance, now),
            "removed": instance.amount - instance.consumed - instance.carried - instance.remaining,
            "entries": recent[:RECENT_ENTRIES],
            "has_more_entries": len(recent) > RECENT_ENTRIES,
            "carried_to": instance.carried_to.order_by("id") if instance.carried else (),
            "allocations": instance.allocations.filter(pinned__gt=0).select_related("hold"),
        }

    @display(description="given on")
    def given_on(self, grant: Grant) -> str:
        return f"{grant.effective_at:%Y-%m-%d}"

    @display(description="expires (UTC)")
    def expires(self, grant: Grant) -> str:
        return minute(grant.expires_at) if grant.expires_at else "never"

    @display(description="type")
    def type_and_source(self, grant: Grant) -> SafeString:
        return two_lines(grant.get_credit_type_display(), grant.get_source_display())

    @display(description="given")
    def given(self, grant: Grant) -> str:
        return figure(grant.amount)

    @display(description="left")
    def left(self, grant: Grant) -> str:
        return figure(grant.remaining)

    @display(description="held")
    def pinned(self, grant: Grant) -> str:
        return figure(grant.held)

    @display(description="paid")
    def paid(self, grant: Grant) -> SafeString:
        return two_lines(*paid_for(grant))

    @display(description="state", label=STATE_COLOURS)
    def state(self, grant: Grant) -> str:
        return state_of_grant(grant, timezone.now())
