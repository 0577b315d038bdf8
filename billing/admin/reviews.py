from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from billing.choices import REMEDIES, ReviewKind
from billing.models import ReviewItem
from billing.services.reviews import resolve_review, write_off_debt
from creditsite.adminkit import (
    AsciiIntegerField,
    ChoicesDropdownFilter,
    ConfirmationForm,
    DropdownFilter,
    PageAction,
    RangeDateFilter,
    display,
)
from ledger.admin.lists import BooksAdmin, minute, two_lines
from ledger.queries.settings import settings_at
from ledger.services.posting import LARGEST_AMOUNT


class ResolveForm(ConfirmationForm):
    title = "Resolve"

    def changes(self) -> list[str]:
        item = self.object
        return [f"{item.get_kind_display()}: {item.summary}", "No money and no credits move."]

    def apply(self, *, actor: User, at: datetime) -> str:
        resolve_review(item=self.object, reason=self.cleaned_data["reason"], actor=actor, at=at)
        return "It is resolved."


class WriteOffForm(ConfirmationForm):
    title = "Write off debt"
    is_dangerous = True
    amount = AsciiIntegerField(min_value=1, max_value=LARGEST_AMOUNT, help_text="Whole credits.")

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        self.wallet = objects[0].payment.wallet
        super().__init__(data, objects=objects, **kwargs)
        self.fields["amount"].initial = self.wallet.debt

    @property
    def phrase(self) -> str:
        typed = str(self.data.get("amount", "")) if self.is_bound else str(self.wallet.debt)
        amount = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 12 else 0
        limit = settings_at(timezone.now()).typed_confirmation_from
        return f"WRITE OFF {amount}" if amount >= limit else ""

    def changes(self) -> list[str]:
        return [
            f"{self.wallet} owes {self.wallet.debt:,} credits.",
            "What is written off is owed no longer, and is no revenue.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        amount = self.cleaned_data["amount"]
        done = write_off_debt(
            wallet=self.wallet,
            amount=amount,
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"{amount:,} credits that {self.wallet} owed are written off."


class OpenFilter(DropdownFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("resolved", "Resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in {"open", "resolved"}:
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() == "open")


def is_a_debt(item: ReviewItem) -> bool:
    wallet = item.payment.wallet
    return item.kind == ReviewKind.DEBT and wallet is not None and wallet.debt > 0


@admin.register(ReviewItem)
class ReviewItemAdmin(BooksAdmin):
    """What a person should look at, and what they did about it."""

    class Media:
        css = {"all": ["ledger/staff.css", "billing/payments.css"]}

    title = "To review"
    list_before_template = None
    list_display = ["opened", "matter", "of", "state"]
    list_display_links = ["opened", "matter"]
    list_filter = [OpenFilter, ("kind", ChoicesDropdownFilter), ("opened_at", RangeDateFilter)]
    list_select_related = ["payment__user", "payment__wallet__user", "payment__wallet__team"]
    search_fields = ["=object_id", "=payment__intent_id", "payment__user__email"]
    search_help_text = "E-mail, or an id of Stripe's"
    ordering = ["-opened_at", "-pk"]
    page_actions = (
        PageAction(
            name="write-off",
            label="Write off debt…",
            form_class=WriteOffForm,
            is_offered=is_a_debt,
        ),
        PageAction(
            name="resolve",
            label="Resolve…",
            form_class=ResolveForm,
            is_offered=lambda item: item.resolved_at is None,
            is_primary=True,
        ),
    )
    fieldsets = [
        (None, {"fields": ["kind", "summary", "what_to_do", "its_payment", "object_id"]}),
        ("Resolution", {"fields": ["opened_at", "resolved_at", "resolved_by", "resolution"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReviewItem]:
        related = "payment__user", "payment__wallet__user", "payment__wallet__team", "resolved_by"
        return super().get_queryset(request).select_related(*related)

    @display(description="opened (UTC)")
    def opened(self, item: ReviewItem) -> str:
        return minute(item.opened_at)

    @display(description="matter")
    def matter(self, item: ReviewItem) -> SafeString:
        return two_lines(item.get_kind_display(), item.summary)

    @display(description="of")
    def of(self, item: ReviewItem) -> str:
        return str(item.payment.user or item.payment.customer_id or "–")

    @display(description="state", label={"open": "warning", "resolved": "success"})
    def state(self, item: ReviewItem) -> str:
        return "resolved" if item.resolved_at else "open"

    @display(description="what to do")
    def what_to_do(self, item: ReviewItem) -> str:
        return REMEDIES[ReviewKind(item.kind)]

    @display(description="payment")
    def its_payment(self, item: ReviewItem) -> SafeString:
        address = reverse("admin:billing_payment_change", args=[item.payment_id])
        return format_html('<a href="{}" class="underline">{}</a>', address, item.payment)
