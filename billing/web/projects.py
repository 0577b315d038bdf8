"""What one's projects cost, month by month."""

from typing import cast

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode

from accounts.models import User
from billing.queries.projects import (
    INVOICE_COLUMNS,
    Invoice,
    Month,
    asked_month,
    invoice_of,
    invoice_rows,
    totals_of_month,
)
from creditsite.csvfiles import csv_lines
from ledger.queries.wallets import wallet_of

MOST_SHOWN = 200


def projects(request: HttpRequest) -> HttpResponse:
    """List what each project of whoever is signed in cost in a month."""
    month = month_of(request)
    wallet = wallet_of(cast("User", request.user))
    found = totals_of_month(month, wallet=wallet, most=MOST_SHOWN)
    context = {"month": month, "totals": [(each, query_of(each.project, month)) for each in found]}
    return render(request, "portal/projects.html", context)


def invoice(request: HttpRequest) -> HttpResponse:
    """Show what one project cost in a month, line by line."""
    found = asked(request)
    context = {
        "invoice": found,
        "month": found.month,
        "query": query_of(found.total.project, found.month),
        "menu_page": "billing_projects",
    }
    return render(request, "portal/project_invoice.html", context)


def invoice_file(request: HttpRequest) -> StreamingHttpResponse:
    found = asked(request)
    name = f"project-invoice-{found.month.first:%Y-%m}.csv"
    return StreamingHttpResponse(
        csv_lines(INVOICE_COLUMNS, invoice_rows(found)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def asked(request: HttpRequest) -> Invoice:
    """:raises Http404: the address names no project."""
    project = request.GET.get("project", "")
    if not project or "\0" in project:
        raise Http404
    return invoice_of(month_of(request), wallet_of(cast("User", request.user)), project)


def month_of(request: HttpRequest) -> Month:
    """:raises Http404: the address names no month that has begun."""
    month = asked_month(request.GET.get("month", ""), timezone.now())
    if month is None:
        raise Http404
    return month


def query_of(project: str, month: Month) -> str:
    return urlencode({"project": project, "month": f"{month.first:%Y-%m}"})
