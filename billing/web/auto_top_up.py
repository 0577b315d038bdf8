"""Auto top-up: what one agrees to, the card that is charged, and what was charged."""

from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone

from accounts.models import User
from billing.choices import TopUpEnd, TopUpPause, TopUpStatus
from billing.errors import CardNeeded
from billing.models import AutoTopUp, TopUp
from billing.queries.top_ups import bought_this_month, is_paused
from billing.quotes import Quote
from billing.services.quotes import quote_purchase
from billing.services.top_up_mail import WHY_ENDED
from billing.services.top_up_own import pay_top_up
from billing.services.top_ups import (
    MOST_CREDITS,
    MOST_IN_A_MONTH,
    agree,
    auto_top_up_of,
    save_card,
    switch_off,
    take_card,
)
from creditsite.errors import CreditsiteError
from creditsite.formfields import AsciiIntegerField
from creditsite.money import format_money
from ledger.queries.balances import balance_of

MOST_ROWS = 30
WORDS = {
    TopUpStatus.CHARGING: ("under way", "idle"),
    TopUpStatus.PAID: ("paid", "good"),
    TopUpStatus.DECLINED: ("declined", "bad"),
    TopUpStatus.AUTHENTICATION: ("your bank asked for you", "warn"),
    TopUpStatus.DROPPED: ("not charged", "idle"),
    TopUpStatus.DISPUTED: ("disputed", "bad"),
}
WHY_PAUSED = {
    TopUpPause.DECLINED: "Your card was declined.",
    TopUpPause.MONTH: "Your monthly limit is reached.",
    TopUpPause.BURST: "There were many top-ups in a day.",
}


class TermsForm(forms.Form):
    threshold = AsciiIntegerField(
        min_value=0,
        max_value=MOST_CREDITS,
        label="When I have so many credits left, or fewer",
    )
    amount = AsciiIntegerField(min_value=1, max_value=MOST_CREDITS, label="Buy so many credits")
    monthly_limit = AsciiIntegerField(
        min_value=1, max_value=MOST_IN_A_MONTH, label="But no more in a month than"
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("amount", 0) > given.get("monthly_limit", MOST_IN_A_MONTH):
            self.add_error("monthly_limit", "This is less than one top-up buys.")
        return given


def auto_top_up(request: HttpRequest) -> HttpResponse:
    """Show what was agreed to and charged; a POST agrees, ends it, or leads to Stripe's page."""
    user = cast("User", request.user)
    if request.method == "POST":
        act = ACTS.get(request.POST.get("act", ""))
        if act is None:
            return page_of(request, user, TermsForm(request.POST))
        try:
            return act(request, user)
        except CardNeeded as needed:
            return HttpResponseRedirect(needed.checkout_url)
        except CreditsiteError as refusal:
            messages.error(request, str(refusal))
            return redirect("billing_auto_top_up")
    return page_of(request, user, None)


def page_of(
    request: HttpRequest, user: User, form: TermsForm | None, quote: Quote | None = None
) -> HttpResponse:
    at = timezone.now()
    auto = with_new_card(request, user)
    bought = bought_this_month(auto, at) if auto.pk else 0
    rows = TopUp.objects.filter(auto_top_up__user=user).select_related("payment")
    context = {
        "auto": auto,
        "form": form or TermsForm(initial=terms_of(auto)),
        "quote": quote,
        "balance": balance_of(auto.wallet_id, at),
        "bought": bought,
        "asks": auto.paused_why == TopUpPause.AUTHENTICATION,
        "paused": WHY_PAUSED.get(TopUpPause(auto.paused_why)) if is_waiting(auto) else None,
        "why_off": WHY_ENDED.get(TopUpEnd(auto.ended_why)) if auto.ended_why else None,
        "rows": [(words_of(row), row) for row in rows.order_by("-number")[:MOST_ROWS]],
    }
    return render(request, "portal/auto_top_up.html", context)


def with_new_card(request: HttpRequest, user: User) -> AutoTopUp:
    """Return what the user agreed to, with the card that they may have saved a moment ago."""
    auto = auto_top_up_of(user, at=timezone.now())
    if auto.card_session_id and "card" in request.GET:
        try:
            take_card(auto.card_session_id, at=timezone.now())
        except CreditsiteError:
            messages.warning(request, "We wait for word that your card is saved. Look again soon.")
        auto.refresh_from_db()
    return auto


def is_waiting(auto: AutoTopUp) -> bool:
    has_reason = auto.paused_why not in {"", TopUpPause.AUTHENTICATION}
    return auto.is_enabled and has_reason and is_paused(auto, timezone.now())


def words_of(top_up: TopUp) -> tuple[str, str]:
    """Say what became of one, and how it looks."""
    return WORDS[TopUpStatus(top_up.status)]


def terms_of(auto: AutoTopUp) -> dict[str, int]:
    if not auto.amount:
        return {}
    return {name: getattr(auto, name) for name in TermsForm.base_fields}


# --- Acts -----------------------------------------------------------------------------------------
def agree_to(request: HttpRequest, user: User) -> HttpResponse:
    """Show the price first, if it is not the one that they have seen; then agree."""
    form, at = TermsForm(request.POST), timezone.now()
    if not form.is_valid():
        return page_of(request, user, form)
    terms, auto = form.cleaned_data, auto_top_up_of(user, at=at)
    quote = quote_purchase(user=user, amount=terms["amount"], currency=auto.currency, at=at).quote
    if not has_seen(request, auto, quote):
        return page_of(request, user, form, quote)
    auto = agree(user=user, actor=user, at=at, return_url=home(request), **terms)
    price = format_money(auto.agreed_minor, auto.currency)
    messages.success(request, f"Auto top-up is on: {auto.amount:,} credits for {price}, or less.")
    return redirect("billing_auto_top_up")


def has_seen(request: HttpRequest, auto: AutoTopUp, quote: Quote) -> bool:
    """Return whether the page has told what a top-up costs, now or when they agreed last."""
    seen = (quote.credits, quote.total_minor)
    is_as_before = auto.is_enabled and (auto.amount, auto.agreed_minor) == seen
    return is_as_before or request.POST.get("price") == f"{quote.credits}:{quote.total_minor}"


def stop(request: HttpRequest, user: User) -> HttpResponse:
    switch_off(user=user, actor=user, at=timezone.now())
    messages.success(request, "Auto top-up is off.")
    return redirect("billing_auto_top_up")


def use_another_card(request: HttpRequest, user: User) -> HttpResponse:
    url = save_card(user=user, return_url=home(request), at=timezone.now())
    return HttpResponseRedirect(url)


def pay(request: HttpRequest, user: User) -> HttpResponse:
    url = pay_top_up(
        user=user, success_url=home(request), cancel_url=home(request), at=timezone.now()
    )
    return HttpResponseRedirect(url)


def home(request: HttpRequest) -> str:
    return request.build_absolute_uri(f"{request.path}?card=1")


ACTS: dict[str, Callable[[HttpRequest, User], HttpResponse]] = {
    "agree": agree_to,
    "stop": stop,
    "card": use_another_card,
    "pay": pay,
}
