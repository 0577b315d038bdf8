"""The receipt of a payment: a page, and a file to keep."""

from typing import cast
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import User
from billing.queries.receipts import Statement, statement_of
from billing.receipt_pdf import file_of
from billing.web.payments import find


def receipt(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Show the receipt of a payment of whoever is signed in."""
    context = {"statement": own(request, public_id), "menu_page": "billing_payments"}
    return render(request, "portal/receipt.html", context)


def pdf(request: HttpRequest, public_id: UUID) -> HttpResponse:
    return file_of(own(request, public_id))


def own(request: HttpRequest, public_id: UUID) -> Statement:
    """:raises Http404: they have no such payment, or it has no receipt."""
    statement = statement_of(find(cast("User", request.user), public_id))
    if statement is None:
        raise Http404
    return statement
