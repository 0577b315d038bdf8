from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from audit.models import Checkpoint, UnsealedEvent, Verification
from audit.warnings import warnings
from creditsite.adminkit import RangeDateFilter, ReadOnlyAdmin, display


def hexadecimal(value: bytes | memoryview) -> str:
    """Return ``value`` for people, broken where a phone's screen ends."""
    return format_html('<span class="break-all">{}</span>', bytes(value).hex())


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """The signed heads of the chain, under what the last verification of it found."""

    list_display = ["records", "at", "short_hash", "signed_by"]
    list_display_links = ["records"]
    sortable_by = ["at"]
    list_filter = [("at", RangeDateFilter)]
    search_fields = ["=number"]
    ordering = ["-number"]
    list_before_template = "admin/audit/last_verification.html"
    fields = ["records", "at", "whole_hash", "by_key"]

    @display(description="records up to", ordering="number")
    def records(self, checkpoint: Checkpoint) -> str:
        return f"{checkpoint.number:,}"

    @display(description="hash")
    def short_hash(self, checkpoint: Checkpoint) -> str:
        return f"{bytes(checkpoint.hash).hex()[:16]}…"

    @display(description="hash")
    def whole_hash(self, checkpoint: Checkpoint) -> str:
        return hexadecimal(checkpoint.hash)

    @display(description="signatures")
    def by_key(self, checkpoint: Checkpoint) -> str:
        return format_html_join(
            "",
            '<p class="break-all">key {}: {}</p>',
            checkpoint.signatures.items(),
        )

    @display(description="signed by")
    def signed_by(self, checkpoint: Checkpoint) -> str:
        return ", ".join(f"{key[:16]}…" for key in checkpoint.signatures)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shown = {
            "verification": Verification.objects.order_by("-pk").first(),
            "unsealed": UnsealedEvent.objects.count(),
            "warnings": warnings(timezone.now()),
        }
        return super().changelist_view(request, shown | (extra_context or {}))
