"""Buying credits: choosing, the price, and the way to Stripe's page."""

from typing import Any, cast
from uuid import uuid4

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.api.throttles import CALLS
from accounts.models import User
from billing.choices import OfferKind
from billing.queries.offers import Sold, effective_rate, sold
from billing.queries.rates import base_currency, prices_at
from billing.services.purchases import Wanted, open_purchase, page_to_pay
from billing.services.quotes import quote_purchase
from creditsite.errors import CreditsiteError, TooMuch
from creditsite.formfields import AsciiIntegerField, TextField
from creditsite.money import is_currency
from ledger.services.posting import LARGEST_AMOUNT

BY_NUMBER = "credits"


class BuyForm(forms.Form):
    """What somebody wants to buy: a package by its code, or so many credits."""

    what = TextField(max_length=40, required=False)
    amount = AsciiIntegerField(min_value=1, max_value=LARGEST_AMOUNT, required=False)
    code = TextField(max_length=40, required=False, label="Promotion code")
    currency = TextField(max_length=3, required=False)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("what") == BY_NUMBER and not given.get("amount") and not self.errors:
            self.add_error("amount", "Enter how many credits you want.")
        return given

    def wanted(self) -> Wanted:
        given = self.cleaned_data
        is_package = given["what"] != BY_NUMBER
        return Wanted(
            amount=None if is_package else given["amount"],
            package=given["what"] if is_package else "",
            currency=given["currency"],
            promotion_code=given["code"],
        )


class PayForm(BuyForm):
    request_id = forms.UUIDField()


def buy(request: HttpRequest) -> HttpResponse:
    """Show what is sold and what the choice costs; a POST leads to the page to pay on."""
    if request.method == "POST":
        form = PayForm(request.POST)
        asked = asked_for(form)
        if form.is_valid():
            try:
                return begin(request, form)
            except CreditsiteError as refusal:
                asked["refusal"] = str(refusal)
    else:
        asked = quoted(request)
    return render(request, "portal/buy.html", asked | shop(asked["currency"]))


@require_GET
def quote(request: HttpRequest) -> HttpResponse:
    """Show the price alone: for the page, while one chooses."""
    return render(request, "portal/quote.html", quoted(request))


def begin(request: HttpRequest, form: PayForm) -> HttpResponse:
    """
    Open the purchase, once for each page, and lead to where it is paid.

    :raises CreditsiteError: it cannot be bought, or Stripe does not answer.
    """
    at, user = timezone.now(), cast("User", request.user)
    opened = open_purchase(
        user=user,
        wanted=form.wanted(),
        caller=f"user:{user.pk}",
        at=at,
        idempotency_key=f"portal:{form.cleaned_data['request_id']}",
    )
    path = reverse("billing_payment", args=[opened.payment.public_id])
    home = request.build_absolute_uri(path)
    page = page_to_pay(payment=opened.payment, success_url=f"{home}?paid=1", cancel_url=home, at=at)
    return HttpResponseRedirect(page.url) if page and page.url else redirect(path)


def quoted(request: HttpRequest) -> dict[str, Any]:
    """Return what is asked for and what it costs, or why it cannot be bought."""
    form = BuyForm(request.GET or None)
    asked = asked_for(form)
    if not form.is_valid() or not form.cleaned_data["what"]:
        return asked
    user = cast("User", request.user)
    try:
        refuse_many_codes(user, asked["code"])
        purchase = quote_purchase(user=user, at=timezone.now(), **form.wanted()._asdict())
    except CreditsiteError as refusal:
        return asked | {"refusal": str(refusal)}
    return asked | {"quote": purchase.quote, "request_id": uuid4()}


def refuse_many_codes(user: User, code: str) -> None:
    """:raises TooMuch: they try more codes in a minute than anybody has."""
    wait = CALLS["codes"].seconds_to_wait(f"user:{user.pk}") if code else None
    if wait:
        raise TooMuch("You have tried many codes. Wait a minute.", retry_after_seconds=wait)


def asked_for(form: BuyForm) -> dict[str, Any]:
    """Return what to show again of what was chosen."""
    form.is_valid()
    given = getattr(form, "cleaned_data", {})
    currency = given.get("currency", "")
    return {
        "form": form,
        "what": given.get("what", ""),
        "amount": given.get("amount") or "",
        "code": given.get("code", ""),
        "currency": currency if is_currency(currency) else base_currency(timezone.now()),
        "calculates_tax": settings.STRIPE_AUTOMATIC_TAX,
    }


def shop(currency: str) -> dict[str, Any]:
    """Return what is sold in ``currency``, and in which others something is."""
    at = timezone.now()
    packages = [each for each in sold() if each.offer.kind == OfferKind.PACKAGE]
    by_number = prices_at(at)
    currencies = {price.currency for each in packages for price in each.prices} | set(by_number)
    return {
        "packages": [shown for each in packages if (shown := in_currency(each, currency))],
        "unit_price": by_number.get(currency),
        "currencies": sorted(currencies),
        "BY_NUMBER": BY_NUMBER,
    }


def in_currency(offer: Sold, currency: str) -> dict[str, Any] | None:
    for price in offer.prices:
        if price.currency == currency:
            return {
                "code": offer.offer.code,
                "version": offer.version,
                "price": price,
                "rate": effective_rate(price).normalize(),
                "says_credits": f"{offer.version.credits:,} credits" not in offer.version.name,
            }
    return None
