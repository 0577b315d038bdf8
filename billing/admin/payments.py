from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.admin.credit_form import CreditForm
from billing.admin.refund_form import RefundForm
from billing.choices import PaymentStatus
from billing.models import Payment, Receipt, StripeEvent
from billing.queries.payments import standing_of
from billing.queries.receipts import statement_of
from billing.receipt_pdf import file_of
from billing.services.crediting import is_creditable
from creditsite.adminkit import ChoicesDropdownFilter, PageAction, RangeDateFilter, display
from creditsite.money import format_money
from ledger.admin.lists import BooksAdmin, minute, two_lines
from ledger.admin.pages import ExplainingAdmin
from ledger.figures import figure

STATUS_COLOURS = {"open": "info", "credited": "success", "suspended": "danger", "ended": "warning"}
SHORT = {"open": "open", "credited": "credited", "suspended": "held back", "ended": "never paid"}


def has_something_left(payment: Payment) -> bool:
    return payment.charged_minor > payment.returned_minor and not payment.is_disputed


@admin.register(Payment)
class PaymentAdmin(ExplainingAdmin, BooksAdmin):
    """Payments, to look at and to refund; what became of them at Stripe comes by itself."""

    class Media:
        css = {"all": ["ledger/staff.css", "billing/payments.css"]}

    title = "Payments"
    list_display = ["opened", "who", "what", "paid", "went_back", "state"]
    list_display_links = ["opened"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        "is_disputed",
        ("created_at", RangeDateFilter),
        ("paid_at", RangeDateFilter),
    ]
    list_select_related = ["user", "wallet__user", "wallet__team"]
    search_fields = ["=intent_id", "=session_id", "=invoice_id", "=customer_id", "user__email"]
    search_help_text = "E-mail, or an id of Stripe's"
    ordering = ["-created_at", "-pk"]
    page_actions = (
        PageAction(
            name="credit",
            label="Give credits…",
            form_class=CreditForm,
            is_offered=is_creditable,
        ),
        PageAction(
            name="refund",
            label="Refund…",
            form_class=RefundForm,
            is_offered=has_something_left,
            is_primary=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        related = "user", "wallet__user", "wallet__team", "grant", "redemption__promotion"
        return super().get_queryset(request).select_related(*related)

    def explain(self, request: HttpRequest, instance: Payment) -> dict[str, Any]:
        effects = list(instance.effects.select_related("transaction").order_by("at", "pk"))
        of_payment = instance.intent_id, instance.session_id, instance.invoice_id
        ids = {*of_payment, *(e.object_id for e in effects)} - {None}
        events = StripeEvent.objects.filter(object_id__in=ids).order_by("created_at", "pk")
        return {
            "standing": standing_of(instance, timezone.now()),
            "effects": effects,
            "refunds": instance.refunds.select_related("asked_by").order_by("pk"),
            "events": events[:100],
            "matters": instance.review_items.filter(resolved_at=None).order_by("pk"),
            "state": SHORT[instance.status],
            "receipt": Receipt.objects.filter(payment=instance).first(),
            "is_credited": instance.status == PaymentStatus.CREDITED,
        }

    def get_urls(self) -> list[URLPattern]:
        receipt = path(
            "<path:object_id>/receipt/",
            self.admin_site.admin_view(self.receipt_view),
            name="billing_payment_receipt",
        )
        return [receipt, *super().get_urls()]

    def receipt_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the receipt as a file, as the user has it."""
        payment = self.get_object(request, object_id)
        statement = statement_of(payment) if payment else None
        if statement is None:
            raise Http404
        return file_of(statement)

    @display(description="opened (UTC)")
    def opened(self, payment: Payment) -> str:
        return minute(payment.created_at)

    @display(description="by")
    def who(self, payment: Payment) -> str:
        return str(payment.user or payment.customer_id or "–")

    @display(description="for")
    def what(self, payment: Payment) -> SafeString:
        credits = f"{figure(payment.credits)} credits" if payment.credits else ""
        return two_lines(payment.description or "–", credits)

    @display(description="paid")
    def paid(self, payment: Payment) -> SafeString:
        asked = format_money(payment.net_minor + payment.tax_minor, payment.currency)
        if payment.paid_at is None:
            return two_lines("–", f"{asked} asked")
        return two_lines(format_money(payment.charged_minor, payment.currency), "")

    @display(description="went back")
    def went_back(self, payment: Payment) -> str:
        returned = payment.returned_minor
        return format_money(returned, payment.currency) if returned else "–"

    @display(description="state", label={SHORT[s]: c for s, c in STATUS_COLOURS.items()})
    def state(self, payment: Payment) -> str:
        return SHORT[payment.status]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        ids = Q(intent_id=term) | Q(session_id=term) | Q(customer_id=term)
        return queryset.filter(ids | Q(user__email__icontains=term)), False
