"""What agents and partners earn, and who they are."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.admin.pages import SaleAdmin
from billing.admin.share_forms import (
    AssignFeatureForm,
    EndOwnershipForm,
    ExportMonthsForm,
    PayForm,
    as_file,
    is_payable,
)
from billing.models import ShareStatement, ShareTerm
from billing.queries.shares import lines_of, standing_of, tie_out, with_standing
from billing.services.share_exports import export_statement
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    DropdownFilter,
    InfinitePaginator,
    PageAction,
    RangeDateFilter,
    actor_of,
    ask,
    display,
)
from creditsite.money import format_money
from creditsite.recent import is_late, sign_in_again
from ledger.admin.lists import BooksAdmin, minute, two_lines
from ledger.admin.pages import ExplainingAdmin

MOST_LINES = 200
LIST = "admin:billing_sharestatement_changelist"
COLOURS = {
    "to be paid": "warning",
    "paid out": "success",
    "carried forward": "info",
    "open": "info",
}


class StateFilter(DropdownFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Not paid out"), ("paid", "Paid out"), ("forward", "Carried forward")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        match self.value():
            case "open":
                return queryset.filter(payout=None, next=None)
            case "paid":
                return queryset.filter(payout__isnull=False)
            case "forward":
                return queryset.filter(payout=None, next__isnull=False)
        return queryset


@admin.register(ShareStatement)
class ShareStatementAdmin(ExplainingAdmin, BooksAdmin):
    """Statements, to look at, to take away and to mark as paid out; they are made by themselves."""

    title = "Revenue share"
    list_before_template = "admin/billing/share_list.html"
    list_display = ["of_month", "who", "opening", "earned", "total", "state"]
    list_display_links = ["of_month", "who"]
    list_filter = [
        StateFilter,
        ("kind", ChoicesDropdownFilter),
        ("month", RangeDateFilter),
    ]
    search_fields = ["payee__email"]
    search_help_text = "E-mail"
    ordering = ["-month", "-pk"]
    page_actions = (
        PageAction(
            name="pay",
            label="Mark as paid out…",
            form_class=PayForm,
            is_offered=is_payable,
            is_primary=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ShareStatement]:
        return with_standing(super().get_queryset(request))

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "billing_sharestatement_{}"
        return [
            path("export-month/", wrap(self.export_month_view), name=name.format("export-month")),
            path("<path:object_id>/export/", wrap(self.export_view), name=name.format("export")),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"may_export": self.may_act(request, "export-month")}
        return super().changelist_view(request, context | (extra_context or {}))

    def export_month_view(self, request: HttpRequest) -> HttpResponse:
        """Send all statements of a period as a file."""
        back = reverse(LIST)
        page = ask(self, request, [], ExportMonthsForm, act="export-month", back=back)
        return page or HttpResponseRedirect(back)

    def export_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Send a statement as a file, to who signed in recently."""
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        statement = self.get_object(request, object_id)
        if statement is None:
            raise Http404
        if is_late(request, self.permission_of_act(request, "export")):
            return sign_in_again(request)
        lines = export_statement(statement=statement, actor=actor_of(request), at=timezone.now())
        return as_file(lines, f"revenue-share-{statement.month:%Y-%m}-{statement.pk}")

    def explain(self, request: HttpRequest, instance: ShareStatement) -> dict[str, Any]:
        lines = list(lines_of(instance)[: MOST_LINES + 1])
        parts = {"agent": ("agents", "without_agent"), "partner": ("partners", "without_partner")}
        shared, rest = parts[instance.kind]
        figures = [
            line for line in tie_out(instance.month) if line["currency"] == instance.currency
        ]
        return {
            "standing": standing_of(instance),
            "payout": getattr(instance, "payout", None),
            "lines": lines[:MOST_LINES],
            "has_more": len(lines) > MOST_LINES,
            "most_lines": MOST_LINES,
            "tie": [line | {"shared": line[shared], "rest": line[rest]} for line in figures],
            "may_export": self.may_act(request, "export"),
            "export_address": self.page_url(instance, "export"),
        }

    @display(description="month", ordering="month")
    def of_month(self, statement: ShareStatement) -> str:
        return f"{statement.month:%Y-%m}"

    @display(description="who earned")
    def who(self, statement: ShareStatement) -> SafeString:
        return two_lines(str(statement.payee), statement.kind)

    @display(description="carried forward")
    def opening(self, statement: ShareStatement) -> str:
        return money_or_dash(statement.opening_minor, statement.currency)

    @display(description="earned")
    def earned(self, statement: ShareStatement) -> str:
        return format_money(statement.earned_minor, statement.currency)

    @display(description="in all")
    def total(self, statement: ShareStatement) -> str:
        return format_money(statement.total_minor, statement.currency)

    @display(description="state", label=COLOURS)
    def state(self, statement: ShareStatement) -> str:
        return standing_of(statement).state


def money_or_dash(minor: int, currency: str) -> str:
    return format_money(minor, currency) if minor else "–"


class TermFilter(DropdownFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "In force"), ("over", "Ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in {"now", "over"}:
            return queryset
        return queryset.filter(until__isnull=self.value() == "now")


@admin.register(ShareTerm)
class ShareTermAdmin(SaleAdmin):
    """Who earns since when. Agents are made on the page of a user; owners of features here."""

    new_form = AssignFeatureForm
    list_display = ["who", "of", "begins", "ends"]
    list_display_links = ["who"]
    list_filter = [TermFilter, ("since", RangeDateFilter)]
    list_select_related = ["payee", "feature"]
    search_fields = ["payee__email", "feature__code"]
    search_help_text = "E-mail, or the code of a feature"
    paginator = InfinitePaginator
    ordering = ["-since", "-pk"]
    sortable_by: ClassVar[list[str]] = []
    fields = ["payee", "of", "begins", "ends"]
    readonly_fields = fields
    shows_acts_itself = False
    page_actions = (
        PageAction(
            name="end",
            label="End ownership…",
            form_class=EndOwnershipForm,
            is_offered=lambda term: term.feature_id is not None and term.until is None,
        ),
    )

    @display(description="who earns")
    def who(self, term: ShareTerm) -> str:
        return str(term.payee)

    @display(description="of what is spent")
    def of(self, term: ShareTerm) -> str:
        if term.feature is None:
            return "by users they referred"
        return f"on {term.feature.code}, by others"

    @display(description="from (UTC)")
    def begins(self, term: ShareTerm) -> str:
        return minute(term.since)

    @display(description="until (UTC)")
    def ends(self, term: ShareTerm) -> str:
        return minute(term.until)
