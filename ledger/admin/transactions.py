from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from creditsite.adminkit import (
    ChoicesDropdownFilter,
    PageAction,
    RangeDateFilter,
    actor_of,
    display,
)
from ledger.admin.features import price_text
from ledger.admin.lists import (
    BooksAdmin,
    CreditTypeFilter,
    FeatureFilter,
    minute,
    owned_by,
    two_lines,
)
from ledger.admin.pages import ExplainingAdmin
from ledger.admin.reversal_form import ReverseForm
from ledger.figures import by_type, figure, signed
from ledger.models import Batch, CreditTransaction, FeaturePrice, Wallet
from ledger.queries.reversals import is_reversible
from ledger.queries.wallets import is_own_wallet


@admin.register(CreditTransaction)
class CreditTransactionAdmin(ExplainingAdmin, BooksAdmin):
    title = "Transactions"
    list_display = [
        "when",
        "wallet",
        "what",
        "credits",
        "balance",
        "used_for",
        "asked_by",
    ]
    list_display_links = ["when"]
    list_filter = [
        ("recorded_at", RangeDateFilter),
        ("kind", ChoicesDropdownFilter),
        CreditTypeFilter,
        FeatureFilter,
    ]
    list_select_related = ["wallet__user", "wallet__team", "actor"]
    search_fields = ["id", "reference_id", "wallet__user__email"]
    search_help_text = "Id, reference, e-mail or team"
    page_actions = (
        PageAction(
            name="reverse",
            label="Reverse…",
            form_class=ReverseForm,
            is_offered=is_reversible,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditTransaction]:
        return (
            super()
            .get_queryset(request)
            .select_related("wallet__user", "wallet__team", "actor", "reverses", "hold")
        )

    def get_ordering(self, request: HttpRequest) -> list[str]:
        # The ids of all wallets follow time; within one, an index has the numbers in order.
        return ["-number"] if "wallet__id__exact" in request.GET else ["-id"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "entries__grant" or super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            pass
        if "@" in term:
            return queryset.filter(wallet__in=Wallet.objects.filter(owned_by(term))), False
        by_reference = queryset.filter(reference_id=term)
        if by_reference.exists():
            return by_reference, False
        return queryset.filter(wallet__in=Wallet.objects.filter(owned_by(term))), False

    def explain(self, request: HttpRequest, instance: CreditTransaction) -> dict[str, Any]:
        prices = FeaturePrice.objects.select_related("feature").in_bulk(instance.price_ids or [])
        is_own = is_own_wallet(actor_of(request), instance.wallet)
        return {
            "entries": instance.entries.select_related("grant").order_by("position"),
            "debt_entries": instance.debt_entries.select_related("debt__grant"),
            "batch": batch_of(instance),
            "reversals": instance.reversals.order_by("number"),
            "charges": [
                {
                    "price": prices[price_id],
                    "says": price_text(prices[price_id]),
                    "quantity": quantity,
                }
                for price_id, quantity in zip(
                    instance.price_ids or [], instance.quantities or [], strict=True
                )
            ],
            "is_own": is_own,
        } | ({"page_actions": []} if is_own else {})

    @display(description="when (UTC)")
    def when(self, transaction: CreditTransaction) -> str:
        return minute(transaction.recorded_at)

    @display(description="kind")
    def what(self, transaction: CreditTransaction) -> SafeString:
        return two_lines(transaction.get_kind_display().capitalize(), f"no. {transaction.number}")

    @display(description="credits")
    def credits(self, transaction: CreditTransaction) -> SafeString:
        return two_lines(signed(transaction.amount), by_type(transaction))

    @display(description="balance after")
    def balance(self, transaction: CreditTransaction) -> str:
        return figure(transaction.balance_after)

    @display(description="feature, reference")
    def used_for(self, transaction: CreditTransaction) -> SafeString:
        words = [transaction.feature, transaction.description, transaction.reference_id]
        first, *rest = [word for word in words if word] or ["–"]
        return two_lines(first, rest[0] if rest else "")

    @display(description="by")
    def asked_by(self, transaction: CreditTransaction) -> str:
        return str(transaction.actor or transaction.caller)


def batch_of(transaction: CreditTransaction) -> Batch | None:
    """Return the batch that made ``transaction``: a caller of its own, whose reference names it."""
    if not transaction.caller.startswith("batch:"):
        return None
    return Batch.objects.filter(public_id=transaction.reference_id).first()
