from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from creditsite.adminkit import ChoicesDropdownFilter, RangeDateFilter, display
from ledger.admin.lists import BooksAdmin, FeatureFilter, minute, owned_by, two_lines
from ledger.admin.pages import ExplainingAdmin
from ledger.figures import figure
from ledger.models import CreditTransaction, Hold, Wallet

STATUS_COLOURS = {"open": "info", "captured": "success", "expired": "warning"}


@admin.register(Hold)
class HoldAdmin(ExplainingAdmin, BooksAdmin):
    """
    Holds, to look at. They end by their caller or their timeout; a void, a clawback or a removal
    takes what is held when they do.
    """

    title = "Holds"
    list_display = [
        "placed",
        "wallet",
        "credits",
        "captured_credits",
        "released_credits",
        "used_for",
        "state",
        "ends",
    ]
    list_display_links = ["placed"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("placed_at", RangeDateFilter),
        ("expires_at", RangeDateFilter),
        FeatureFilter,
    ]
    list_select_related = ["wallet__user", "wallet__team"]
    search_fields = ["wallet__user__email"]
    search_help_text = "E-mail, name or team"
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Hold]:
        return super().get_queryset(request).select_related("wallet__user", "wallet__team", "actor")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(wallet__in=Wallet.objects.filter(owned_by(search_term))), False

    def explain(self, request: HttpRequest, instance: Hold) -> dict[str, Any]:
        # A capture is booked under the key by which the hold was ended.
        key = instance.end_key
        capture = CreditTransaction.objects.filter(key=key).first() if key else None
        return {
            "allocations": instance.allocations.select_related("grant").order_by("position"),
            "capture": capture,
        }

    @display(description="placed (UTC)")
    def placed(self, hold: Hold) -> str:
        return minute(hold.placed_at)

    @display(description="ends (UTC)")
    def ends(self, hold: Hold) -> SafeString:
        if hold.ended_at:
            return two_lines(minute(hold.ended_at), "")
        return two_lines(minute(hold.expires_at), "at the latest")

    @display(description="credits")
    def credits(self, hold: Hold) -> str:
        return figure(hold.amount)

    @display(description="captured")
    def captured_credits(self, hold: Hold) -> str:
        return figure(hold.captured)

    @display(description="released")
    def released_credits(self, hold: Hold) -> str:
        return figure(hold.released)

    @display(description="feature, reference")
    def used_for(self, hold: Hold) -> SafeString:
        words = [hold.feature, hold.description, hold.reference_id]
        first, *rest = [word for word in words if word] or ["–"]
        return two_lines(first, rest[0] if rest else "")

    @display(description="status", label=STATUS_COLOURS)
    def state(self, hold: Hold) -> str:
        return hold.status
