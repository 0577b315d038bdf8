"""Costs of projects: what was told, what became of it, and what projects cost month by month."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from billing.admin.pages import SaleAdmin
from billing.models import ProjectCost
from billing.queries.projects import (
    Month,
    asked_month,
    invoice_of,
    month_at,
    totals_of_month,
)
from billing.services.project_costs import next_refresh, void_costs
from billing.services.project_exports import export_costs, export_invoice, export_totals
from billing.services.project_files import COLUMNS, MOST_LINES, REQUIRED, upload_costs
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    ConfirmationForm,
    FileWidget,
    InfinitePaginator,
    RangeDateFilter,
    actor_of,
    confirm,
    display,
)
from creditsite.money import format_money
from creditsite.recent import is_late, late_message, sign_in_again
from ledger.admin.lists import minute, two_lines
from ledger.models import Wallet

COLOURS = {"waiting": "info", "debited": "success", "covered": "warning", "voided": "danger"}
SHORT = {"waiting": "waiting", "debited": "in credits", "covered": "covered", "voided": "voided"}
MOST_SHOWN = 500


class UploadForm(ConfirmationForm):
    """Enters the costs of a file; none of them is credits before the next refresh."""

    title, button = "Upload project costs", "Enter them"
    file = forms.FileField(
        max_length=200,
        help_text=f"CSV in UTF-8, up to {MOST_LINES:,} lines, with the columns"
        f" {', '.join(COLUMNS)};"
        f" {', '.join(COLUMNS[len(REQUIRED) :])} may be left out. id is your own name of the cost;"
        " cost is a plain decimal such as 19.99; period is 2026-01 or 2026-01-31.",
        widget=FileWidget({"accept": ".csv,text/csv"}),
    )

    def changes(self) -> list[str]:
        at = timezone.now()
        return [
            "Each line is a cost of a project of the user with that e-mail address: once for ever"
            " for each id, however often it is sent.",
            "If one line is wrong, nothing is entered, and this page says which.",
            f"They become credits at the next refresh, {minute(next_refresh(at))} UTC; until then"
            " you can void them. What its owner's credits do not cover becomes their debt.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        file = self.cleaned_data["file"]
        done = upload_costs(
            file=file,
            name=file.name,
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"{done.new:,} costs were entered; {done.repeated:,} were there before."


class VoidForm(ConfirmationForm):
    title, is_dangerous = "Void project costs", True

    def changes(self) -> list[str]:
        return [
            f"{format_money(cost.amount_minor, cost.account.currency)} for {cost.account},"
            f" {cost.period}"
            for cost in self.objects
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        voided = void_costs(
            costs=self.objects, reason=self.cleaned_data["reason"], actor=actor, at=at
        )
        return f"{voided:,} voided: they never become credits."


@admin.register(ProjectCost)
class ProjectCostAdmin(SaleAdmin):
    """Costs as they were told, and the invoices of projects."""

    new_form = UploadForm
    paginator = InfinitePaginator
    sortable_by: ClassVar[list[str]] = []
    list_display = ["told", "whose", "what", "money", "state", "credits"]
    list_display_links = ["told"]
    list_filter = [("status", ChoicesDropdownFilter), ("recorded_at", RangeDateFilter)]
    list_select_related = ["account__user", "debit"]
    list_before_template = "admin/billing/projects.html"
    search_fields = ["account__user__email", "=account__project"]
    search_help_text = "E-mail, or a project in full"
    ordering = ["-recorded_at", "-pk"]
    actions = ["void_selected"]
    fieldsets = [
        (None, {"fields": ["whose", "money", "period", "description", "reference_id"]}),
        ("What became of it", {"fields": ["status", "why", "due_at", "debit"]}),
        ("Trace", {"fields": ["recorded_at", "added_by", "public_id"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProjectCost]:
        related = "account__user", "debit__transaction", "added_by"
        return super().get_queryset(request).select_related(*related)

    @display(description="told (UTC)")
    def told(self, cost: ProjectCost) -> str:
        return minute(cost.recorded_at)

    @display(description="project, and whose")
    def whose(self, cost: ProjectCost) -> SafeString:
        return two_lines(cost.account.project, str(cost.account.user))

    @display(description="for")
    def what(self, cost: ProjectCost) -> SafeString:
        return two_lines(cost.period, cost.description)

    @display(description="cost")
    def money(self, cost: ProjectCost) -> str:
        return format_money(cost.amount_minor, cost.account.currency)

    @display(description="state", label={SHORT[s]: c for s, c in COLOURS.items()})
    def state(self, cost: ProjectCost) -> str:
        return SHORT[cost.status]

    @display(description="in a debit of")
    def credits(self, cost: ProjectCost) -> str:
        return f"{cost.debit.credits:,}" if cost.debit else "–"

    @admin.action(description="Void selected costs…")
    def void_selected(
        self, request: HttpRequest, queryset: QuerySet[ProjectCost]
    ) -> HttpResponse | None:
        return confirm(self, request, queryset.select_related("account__user"), VoidForm)

    # --- Invoices ---------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponseBase]] = {
            "invoices": self.invoices_view,
            "invoice": self.invoice_view,
            "export-costs": self.costs_file_view,
            "export-invoices": self.invoices_file_view,
            "export-invoice": self.invoice_file_view,
        }
        return [
            path(f"{name}/", self.admin_site.admin_view(view), name=f"billing_projectcost_{name}")
            for name, view in views.items()
        ] + super().get_urls()

    def invoices_view(self, request: HttpRequest) -> HttpResponse:
        """List what each project cost in a month of business."""
        month = month_of(request)
        found = totals_of_month(month, most=MOST_SHOWN + 1)
        return self.page(
            request,
            "invoices",
            "Project invoices",
            month,
            totals=[
                (each, urlencode(asked_of(each.wallet, each.project, month)))
                for each in found[:MOST_SHOWN]
            ],
            most=MOST_SHOWN if len(found) > MOST_SHOWN else 0,
        )

    def invoice_view(self, request: HttpRequest) -> HttpResponse:
        wallet, project, month = asked_invoice(request)
        return self.page(
            request,
            "invoice",
            f"Invoice of {project}",
            month,
            invoice=invoice_of(month, wallet, project),
            asked=urlencode(asked_of(wallet, project, month)),
            before=urlencode(asked_of(wallet, project, month_at(month.before, timezone.now()))),
            after=urlencode(asked_of(wallet, project, month_at(month.after, timezone.now()))),
        )

    def page(
        self, request: HttpRequest, name: str, title: str, month: Month, **context: Any
    ) -> HttpResponse:
        context |= {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.model._meta,
            "month": month,
            "may_export": self.may_act(request, "export-invoice"),
        }
        return TemplateResponse(request, f"admin/billing/projectcost/{name}.html", context)

    # --- Files ------------------------------------------------------------------------------------
    def costs_file_view(self, request: HttpRequest) -> HttpResponseBase:
        month = month_of(request)
        return self.file(
            request, "export-costs", f"project-costs-{month.first:%Y-%m}", export_costs
        )

    def invoices_file_view(self, request: HttpRequest) -> HttpResponseBase:
        month = month_of(request)
        name = f"project-invoices-{month.first:%Y-%m}"
        return self.file(request, "export-invoices", name, export_totals)

    def invoice_file_view(self, request: HttpRequest) -> HttpResponseBase:
        wallet, project, month = asked_invoice(request)
        name = f"project-invoice-{month.first:%Y-%m}"

        def lines(**given: Any) -> Iterator[str]:
            return export_invoice(wallet=wallet, project=project, **given)

        return self.file(request, "export-invoice", name, lines, "invoice")

    def file(
        self,
        request: HttpRequest,
        act: str,
        name: str,
        lines: Callable[..., Iterator[str]],
        page: str = "invoices",
    ) -> HttpResponseBase:
        """Send a file, if it was asked for by the button; else show the page that has it."""
        late = is_late(request, self.permission_of_act(request, act))
        if late and request.method == "GET":
            return sign_in_again(request)
        if late or request.method != "POST":
            if late:
                self.message_user(request, late_message(), messages.WARNING)
            address = reverse(f"admin:billing_projectcost_{page}")
            return HttpResponseRedirect(f"{address}?{request.GET.urlencode()}")
        return StreamingHttpResponse(
            lines(month=month_of(request), actor=actor_of(request), at=timezone.now()),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
        )


def month_of(request: HttpRequest) -> Month:
    """:raises Http404: the address names no month that has begun."""
    month = asked_month(request.GET.get("month", ""), timezone.now())
    if month is None:
        raise Http404
    return month


def asked_invoice(request: HttpRequest) -> tuple[Wallet, str, Month]:
    """:raises Http404: the address names no wallet, or no project."""
    wallet_id, project = request.GET.get("wallet", ""), request.GET.get("project", "")
    if not re.fullmatch(r"[0-9]{1,18}", wallet_id) or not project or "\0" in project:
        raise Http404
    wallet = Wallet.objects.with_owner().filter(pk=int(wallet_id)).first()
    if wallet is None:
        raise Http404
    return wallet, project, month_of(request)


def asked_of(wallet: Wallet, project: str, month: Month) -> dict[str, Any]:
    return {"wallet": wallet.pk, "project": project, "month": f"{month.first:%Y-%m}"}
