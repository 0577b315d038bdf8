"""Payments: what became of one, and all of them."""

import re
from typing import cast
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone

from accounts.models import User
from billing.choices import PaymentStatus
from billing.models import Payment
from billing.queries.payments import payments_of, receipt_path
from billing.services.purchases import look_again, page_to_pay
from billing.web.paging import page_before
from creditsite.errors import CreditsiteError
from ledger.queries.balances import balance_of

# Looked at anew so often after paying; from then on Stripe itself is asked, in case no webhook
# comes, and at last the user is told that it takes longer.
ASKS_STRIPE_FROM, GIVES_UP_AFTER = 3, 20


def payments(request: HttpRequest) -> HttpResponse:
    """List the payments of whoever is signed in, newest first."""
    rows, older = page_before(request, payments_of(cast("User", request.user)), "pk")
    context = {"payments": [(state_of(each), each) for each in rows], "older": older}
    return render(request, "portal/payments.html", context)


def payment(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Show what became of a payment; just after paying, until it is credited."""
    user = cast("User", request.user)
    looks = looks_of(request)
    found = find(user, public_id)
    if request.method == "POST":
        return pay(request, found)
    if found.status == PaymentStatus.OPEN and looks >= ASKS_STRIPE_FROM:
        found = asked_at_stripe(user, found)
    is_waiting = found.status == PaymentStatus.OPEN and looks > 0
    context = {
        "payment": found,
        "state": state_of(found),
        "receipt": receipt_path(found) if found.status == PaymentStatus.CREDITED else "",
        "is_waiting": is_waiting,
        "looks_again": looks + 1 if is_waiting and looks < GIVES_UP_AFTER else 0,
        "balance": balance_of(found.wallet_id, timezone.now()) if found.wallet_id else None,
        "menu_page": "billing_payments",
    }
    return render(request, "portal/payment.html", context)


def pay(request: HttpRequest, found: Payment) -> HttpResponse:
    """Lead to the page on which a payment is made that was begun before."""
    path = request.path
    home = request.build_absolute_uri(path)
    try:
        page = page_to_pay(
            payment=found, success_url=f"{home}?paid=1", cancel_url=home, at=timezone.now()
        )
    except CreditsiteError as refusal:
        messages.error(request, str(refusal))
        return redirect(path)
    if page and page.url:
        return HttpResponseRedirect(page.url)
    messages.warning(request, "The page to pay it on is no longer open. Buy again.")
    return redirect(path)


def find(user: User, public_id: UUID) -> Payment:
    """
    Return a payment of ``user``.

    :raises Http404: there is none, or it is somebody else's.
    """
    found = payments_of(user).filter(public_id=public_id).first()
    if found is None:
        raise Http404
    return found


def looks_of(request: HttpRequest) -> int:
    """Return how often the page was shown since Stripe sent the user back; 0: it did not."""
    paid = request.GET.get("paid", "")
    return int(paid) if re.fullmatch(r"[0-9]{1,2}", paid) else 0


def asked_at_stripe(user: User, found: Payment) -> Payment:
    try:
        look_again(payment=found)
    except CreditsiteError:  # The webhook may still come.
        return found
    return find(user, found.public_id)


def state_of(payment: Payment) -> tuple[str, str]:
    """Return in a word how a payment stands, and whether that is good news."""
    if payment.is_disputed:
        return "disputed", "bad"
    if payment.returned_minor:
        whole = payment.returned_minor == payment.charged_minor
        return ("refunded" if whole else "partly refunded"), "idle"
    return {
        PaymentStatus.OPEN: ("not paid yet", "warn"),
        PaymentStatus.CREDITED: ("paid", "good"),
        PaymentStatus.SUSPENDED: ("being checked", "warn"),
        PaymentStatus.ENDED: ("never paid", "idle"),
    }[PaymentStatus(payment.status)]
