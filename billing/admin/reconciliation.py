"""Whether Stripe and the books agree: what differs, what to do about it, and the runs that look."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from billing.choices import BREAK_REMEDIES, BreakKind
from billing.models import Break, Reconciliation
from billing.queries.reconciliation import rows_of
from billing.services.breaks import explain_break, is_settleable
from billing.services.reconciliation import LONGEST_DAYS, ask_for_run, open_breaks, settle_break
from creditsite.adminkit import (
    AsciiIntegerField,
    ChoicesDropdownFilter,
    ConfirmationForm,
    DropdownFilter,
    PageAction,
    RangeDateFilter,
    action,
    ask,
    confirm,
    display,
)
from ledger.admin.lists import BooksAdmin, minute, two_lines
from ledger.admin.pages import ExplainingAdmin

LATEST_RUNS = 5
STATES = {"open": "danger", "explained": "warning", "gone": "success"}
RUN_STATES = {"waiting": "info", "running": "info", "done": "success", "failed": "danger"}


def state_of(item: Break) -> str:
    if item.gone_at:
        return "gone"
    return "explained" if item.explained_at else "open"


# --- Acts -----------------------------------------------------------------------------------------
class RunForm(ConfirmationForm):
    title, button = "Compare Stripe with the books", "Compare"
    days = AsciiIntegerField(
        min_value=1, max_value=LONGEST_DAYS, help_text="So many days back, by when it was paid."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["days"].initial = settings.RECONCILIATION_DAYS

    def changes(self) -> list[str]:
        return ["It runs in the background, and moves neither money nor credits."]

    def apply(self, *, actor: User, at: datetime) -> str:
        ask_for_run(
            days=self.cleaned_data["days"],
            reason=self.cleaned_data["reason"],
            actor=actor,
            at=at,
        )
        return "It is under way. Look again in a minute."


class SettleForm(ConfirmationForm):
    title, button, is_atomic = "Settle now", "Settle", False

    def changes(self) -> list[str]:
        item = self.object
        about = item.intent_id or item.object_id
        return [
            f"{item.get_kind_display()}: {item.stripe_says} Here: {item.books_say}",
            f"{about} is read at Stripe, and the books are brought to it: credits may be given,"
            " taken back, frozen or held back for review.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        settle_break(item=self.object, reason=reason, actor=actor, clock=timezone.now)
        self.object.refresh_from_db()
        if self.object.gone_at:
            return "It is settled, and Stripe and the books agree."
        return "It was settled, and still differs: see what to do."


class ExplainForm(ConfirmationForm):
    title = "Mark as explained"

    def changes(self) -> list[str]:
        return [
            *(f"{each.get_kind_display()}: {each.object_id}" for each in self.objects),
            "It counts no longer, until either side says something else.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        for item in self.objects:
            explain_break(item=item, reason=self.cleaned_data["reason"], actor=actor, at=at)
        return f"Explained: {len(self.objects)}."


class StateFilter(DropdownFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        match self.value():
            case "open":
                return queryset.filter(gone_at=None, explained_at=None)
            case "explained":
                return queryset.filter(gone_at=None, explained_at__isnull=False)
            case "gone":
                return queryset.filter(gone_at__isnull=False)
        return queryset


@admin.register(Break)
class BreakAdmin(BooksAdmin):
    """What differs, what is still open first."""

    class Media:
        css = {"all": ["ledger/staff.css", "billing/payments.css"]}

    title = "Reconciliation"
    list_before_template = "admin/billing/reconciliation.html"
    list_display = ["what", "sides", "of", "seen", "state"]
    list_display_links = ["what"]
    list_filter = [
        StateFilter,
        ("kind", ChoicesDropdownFilter),
        ("first_seen_at", RangeDateFilter),
    ]
    list_select_related = ["payment__user"]
    search_fields = ["=object_id", "=intent_id", "payment__user__email"]
    search_help_text = "E-mail, or an id of Stripe's"
    actions = ["explain_selected"]
    page_actions = (
        PageAction(
            name="settle",
            label="Settle now…",
            form_class=SettleForm,
            is_offered=is_settleable,
            is_primary=True,
        ),
        PageAction(
            name="explain",
            label="Mark as explained…",
            form_class=ExplainForm,
            is_offered=lambda item: state_of(item) == "open",
        ),
    )
    fieldsets = [
        (None, {"fields": ["kind", "stripe_says", "books_say", "what_to_do"]}),
        ("Trace", {"fields": ["its_payment", "object_id", "intent_id"]}),
        ("Seen", {"fields": ["first_seen_at", "last_seen_at", "gone_at"]}),
        ("Explained", {"fields": ["explained_at", "explained_by", "explanation"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Break]:
        return super().get_queryset(request).select_related("payment__user", "explained_by")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [F("gone_at").desc(nulls_first=True), "-first_seen_at", "-pk"]

    def get_urls(self) -> list[URLPattern]:
        run = path("run/", self.admin_site.admin_view(self.run_view), name="billing_break_run")
        return [run, *super().get_urls()]

    def run_view(self, request: HttpRequest) -> HttpResponse:
        back = reverse("admin:billing_break_changelist")
        return ask(self, request, [], RunForm, act="run", back=back) or HttpResponseRedirect(back)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        runs = list(Reconciliation.objects.order_by("-asked_at", "-pk")[:LATEST_RUNS])
        context = {
            "runs": runs,
            "open_breaks": open_breaks().count(),
            "may_run": self.may_act(request, "run"),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @display(description="what differs")
    def what(self, item: Break) -> SafeString:
        return two_lines(item.get_kind_display(), item.object_id)

    @display(description="what both say")
    def sides(self, item: Break) -> SafeString:
        return two_lines(f"Stripe: {item.stripe_says}", f"Books: {item.books_say}")

    @display(description="of")
    def of(self, item: Break) -> str:
        return str(item.payment.user or "–") if item.payment else "–"

    @display(description="seen (UTC)")
    def seen(self, item: Break) -> SafeString:
        return two_lines(minute(item.first_seen_at), f"last {minute(item.last_seen_at)}")

    @display(description="state", label=STATES)
    def state(self, item: Break) -> str:
        return state_of(item)

    @display(description="what to do")
    def what_to_do(self, item: Break) -> str:
        return BREAK_REMEDIES[BreakKind(item.kind)]

    @display(description="payment")
    def its_payment(self, item: Break) -> str | SafeString:
        if item.payment is None:
            return "–"
        address = reverse("admin:billing_payment_change", args=[item.payment_id])
        return format_html('<a href="{}" class="underline">{}</a>', address, item.payment)

    @action(description="Mark selected as explained…")
    def explain_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=ExplainForm)


@admin.register(Reconciliation)
class ReconciliationAdmin(ExplainingAdmin, BooksAdmin):
    """The runs, and on the page of each how the money ties, day by day."""

    class Media:
        css = {"all": ["ledger/staff.css", "billing/payments.css"]}

    title = "Reconciliations"
    list_before_template = None
    list_display = ["asked", "period", "looked_at", "found", "state"]
    list_display_links = ["asked"]
    list_filter = [("status", ChoicesDropdownFilter), ("asked_at", RangeDateFilter)]
    ordering = ["-asked_at", "-pk"]

    def explain(self, request: HttpRequest, instance: Reconciliation) -> dict[str, Any]:
        return {"rows": rows_of(instance.figures)}

    @display(description="asked for (UTC)")
    def asked(self, run: Reconciliation) -> SafeString:
        return two_lines(minute(run.asked_at), "by night" if run.is_nightly else "")

    @display(description="of")
    def period(self, run: Reconciliation) -> str:
        return str(run)

    @display(description="payments")
    def looked_at(self, run: Reconciliation) -> str:
        return f"{run.payments:,}"

    @display(description="differ")
    def found(self, run: Reconciliation) -> SafeString:
        return two_lines(f"{run.breaks:,}", f"{run.new_breaks:,} new" if run.new_breaks else "")

    @display(description="state", label=RUN_STATES)
    def state(self, run: Reconciliation) -> tuple[str, str]:
        return run.status, run.get_status_display()
