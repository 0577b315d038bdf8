"""Subscriptions and the months that they paid for, as staff look at them."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.subscription_forms import (
    CancelForm,
    ChangePlanForm,
    EndForm,
    KeepForm,
    PostDueForm,
    can_cancel,
    can_change,
    can_end,
    can_keep,
    priced,
)
from billing.choices import SliceStatus
from billing.models import Slice, StripeEvent, Subscription
from billing.queries.subscriptions import PRICES
from billing.services.slices import due_slices
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    PageAction,
    RangeDateFilter,
    actor_of,
    ask,
    display,
)
from creditsite.money import format_money
from ledger.admin.lists import BooksAdmin, minute, two_lines
from ledger.admin.pages import ExplainingAdmin
from ledger.figures import figure

COLOURS = {
    "begun, not paid yet": "info",
    "active": "success",
    "in a trial": "success",
    "payment failed": "danger",
    "not paid": "danger",
    "first payment missing": "warning",
    "paused": "warning",
    "cancelled": "warning",
}
SHORT = {
    "open": "begun, not paid yet",
    "incomplete": "first payment missing",
    "incomplete_expired": "never paid",
    "trialing": "in a trial",
    "past_due": "payment failed",
    "unpaid": "not paid",
    "canceled": "ended",
    "abandoned": "given up",
}
MOST_ROWS = 100


def state_of(subscription: Subscription) -> str:
    if subscription.is_on_going and subscription.cancels_at:
        return "cancelled"
    return SHORT.get(subscription.status, subscription.status)


@admin.register(Subscription)
class SubscriptionAdmin(ExplainingAdmin, BooksAdmin):
    """Subscriptions, to look at and to change or end for their owners."""

    title = "Subscriptions"
    list_display = ["begun", "who", "plan", "state", "until"]
    list_display_links = ["begun"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("created_at", RangeDateFilter),
        ("period_end", RangeDateFilter),
    ]
    list_select_related = ["user", "wallet__user", "wallet__team", *PRICES]
    search_fields = ["=subscription_id", "=customer_id", "user__email"]
    search_help_text = "E-mail, or an id of Stripe's"
    ordering = ["-created_at", "-pk"]
    page_actions = (
        PageAction(
            name="change-plan",
            label="Change plan…",
            form_class=ChangePlanForm,
            is_offered=can_change,
            is_primary=True,
        ),
        PageAction(name="keep", label="Keep…", form_class=KeepForm, is_offered=can_keep),
        PageAction(name="cancel", label="Cancel…", form_class=CancelForm, is_offered=can_cancel),
        PageAction(name="end", label="End now…", form_class=EndForm, is_offered=can_end),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        related = "user", "wallet__user", "wallet__team", *PRICES
        return super().get_queryset(request).select_related(*related)

    def explain(self, request: HttpRequest, instance: Subscription) -> dict[str, Any]:
        payments = list(
            instance.payments.order_by("-created_at", "-pk").prefetch_related("slices")[:MOST_ROWS]
        )
        ids = {instance.subscription_id, instance.session_id}
        ids |= {payment.invoice_id for payment in payments}
        events = StripeEvent.objects.filter(object_id__in=ids - {None})
        slices = instance.slices.select_related("grant", "payment", "version")
        is_own = instance.user_id == actor_of(request).pk
        changes = instance.changes.select_related("asked_by", "price__version")
        return {
            "state": state_of(instance),
            "price": priced(instance.price),
            "next_price": priced(instance.next_price) if instance.next_price else "",
            "effects": instance.effects.select_related("price__version").order_by("-pk")[
                :MOST_ROWS
            ],
            "changes": changes.order_by("-pk")[:MOST_ROWS],
            "payments": payments,
            "slices": slices.order_by("-starts_at", "-pk")[:MOST_ROWS],
            "events": events.order_by("-created_at", "-pk")[:MOST_ROWS],
            "is_own": is_own,
        } | ({"page_actions": []} if is_own else {})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        ids = Q(subscription_id=term) | Q(customer_id=term)
        return queryset.filter(ids | Q(user__email__icontains=term)), False

    @display(description="begun (UTC)")
    def begun(self, subscription: Subscription) -> str:
        return minute(subscription.created_at)

    @display(description="of")
    def who(self, subscription: Subscription) -> str:
        return str(subscription.user or subscription.customer_id or "–")

    @display(description="plan")
    def plan(self, subscription: Subscription) -> SafeString:
        follows = subscription.next_price
        return two_lines(priced(subscription.price), f"then {priced(follows)}" if follows else "")

    @display(description="state", label=COLOURS)
    def state(self, subscription: Subscription) -> str:
        return state_of(subscription)

    @display(description="paid until (UTC)")
    def until(self, subscription: Subscription) -> str:
        return minute(subscription.period_end)


@admin.register(Slice)
class SliceAdmin(BooksAdmin):
    """The months that are paid for: given, to come, and held back."""

    class Media:
        css = {"all": ["ledger/staff.css"]}

    title = "Months of plans"
    list_before_template = "admin/billing/slice/due.html"
    list_display = ["due", "who", "plan", "given", "money", "state"]
    list_display_links = ["due"]
    list_filter = [("status", ChoicesDropdownFilter), ("due_at", RangeDateFilter)]
    list_select_related = ["wallet__user", "wallet__team", "version__offer", "payment"]
    search_fields = ["wallet__user__email"]
    search_help_text = "E-mail"
    ordering = ["-pk"]
    fieldsets = [
        (None, {"fields": ["who", "plan", "month", "given", "voided", "money", "state"]}),
        ("Trace", {"fields": ["due", "posted", "its_payment", "its_grant"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Slice]:
        related = "wallet__user", "wallet__team", "version__offer", "payment", "grant"
        return super().get_queryset(request).select_related(*related)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.post_due_view)
        return [path("post-due/", view, name="billing_slice_post-due"), *super().get_urls()]

    def post_due_view(self, request: HttpRequest) -> HttpResponse:
        """Say what is due, and ask."""
        back = reverse("admin:billing_slice_changelist")
        page = ask(self, request, [], PostDueForm, act="post-due", back=back)
        return page or HttpResponseRedirect(back)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        due = due_slices(timezone.now()).values_list("pk", flat=True)[: MOST_ROWS + 1]
        context = {
            "due_count": len(due),
            "most_rows": MOST_ROWS,
            "may_post": self.may_act(request, "post-due"),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @display(description="due (UTC)")
    def due(self, month: Slice) -> str:
        return minute(month.due_at)

    @display(description="of")
    def who(self, month: Slice) -> str:
        return str(month.wallet)

    @display(description="plan")
    def plan(self, month: Slice) -> str:
        return f"{month.version.name} no. {month.version.number}"

    @display(description="month (UTC)")
    def month(self, month: Slice) -> str:
        return f"{minute(month.starts_at)} – {minute(month.ends_at)}"

    @display(description="credits")
    def given(self, month: Slice) -> str:
        back = f" − {figure(month.voided)} that went back" if month.voided else ""
        return f"{figure(month.credits)}{back}"

    @display(description="money")
    def money(self, month: Slice) -> str:
        return format_money(month.paid_minor, month.currency) if month.posted_at else "–"

    @display(
        description="state",
        label={"to be posted": "info", "posted": "success", "held back": "danger"},
    )
    def state(self, month: Slice) -> str:
        return {
            SliceStatus.DUE: "to be posted",
            SliceStatus.POSTED: "posted",
            SliceStatus.SUSPENDED: "held back",
        }[SliceStatus(month.status)]

    @display(description="posted (UTC)")
    def posted(self, month: Slice) -> str:
        return minute(month.posted_at)

    @display(description="payment")
    def its_payment(self, month: Slice) -> SafeString:
        return linked("admin:billing_payment_change", month.payment_id, month.payment)

    @display(description="grant")
    def its_grant(self, month: Slice) -> SafeString | str:
        return (
            linked("admin:ledger_grant_change", month.grant_id, month.grant) if month.grant else "–"
        )


def linked(page: str, pk: Any, text: object) -> SafeString:
    return format_html(
        '<a href="{}" class="text-primary-600 underline dark:text-primary-400">{}</a>',
        reverse(page, args=[pk]),
        text,
    )
