"""Plans: what they bring and cost, the one that somebody is on, and how they change or end it."""

from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.models import User
from billing import gateway
from billing.choices import ChangeKind, Interval, OfferKind, SliceStatus, SubscriptionStatus
from billing.models import OfferPrice, Slice, Subscription, SubscriptionChange
from billing.queries.offers import effective_rate, sold
from billing.queries.plans import plan_price
from billing.queries.rates import base_currency
from billing.queries.subscriptions import subscription_of
from billing.queries.tiers import next_due_of, tier_of
from billing.services import subscription_changes
from billing.services.subscribing import portal_url, subscribe
from billing.services.subscriptions import settle_subscription
from creditsite.errors import CreditsiteError, Unavailable
from creditsite.formfields import TextField
from creditsite.money import is_currency
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of

PAGE = "billing_plans"
COLOURS = {
    SubscriptionStatus.ACTIVE: ("active", "good"),
    SubscriptionStatus.TRIALING: ("trial", "good"),
    SubscriptionStatus.PAST_DUE: ("payment failed", "bad"),
    SubscriptionStatus.UNPAID: ("not paid", "bad"),
    SubscriptionStatus.INCOMPLETE: ("payment missing", "warn"),
    SubscriptionStatus.PAUSED: ("paused", "warn"),
}
NEEDS_A_CARD = {
    SubscriptionStatus.PAST_DUE,
    SubscriptionStatus.UNPAID,
    SubscriptionStatus.INCOMPLETE,
}
DONE = {
    ChangeKind.UPGRADE: "You are on {name} now. Your credits are on their way.",
    ChangeKind.DOWNGRADE: "Your plan changes to {name} with the next period.",
    ChangeKind.STAY: "You stay on {name}.",
    ChangeKind.CANCEL: "Your subscription is cancelled. It goes on until it ends.",
    ChangeKind.KEEP: "Your subscription goes on.",
}


class RequestForm(forms.Form):
    """What every button sends, so that pressing it twice is once."""

    request_id = forms.UUIDField()

    @property
    def key(self) -> str:
        return f"portal:{self.cleaned_data['request_id']}"


class PlanForm(RequestForm):
    """Which plan, and how it is paid."""

    plan = TextField(max_length=40)
    interval = forms.ChoiceField(choices=Interval.choices)
    currency = TextField(max_length=3, required=False)

    def price(self, current: OfferPrice | None = None) -> OfferPrice:
        """
        :raises CreditsiteError: there is no such price.
        """
        given = self.cleaned_data
        return plan_price(
            plan=given["plan"],
            interval=given["interval"],
            currency=current.currency if current else given["currency"],
            at=timezone.now(),
            current=current,
        )


class AskedForm(PlanForm):
    """A plan that one asks about: nothing is sent yet."""

    request_id = None  # type: ignore[assignment]


# --- Looking --------------------------------------------------------------------------------------
def plans(request: HttpRequest) -> HttpResponse:
    """Show the plans, and the one that whoever is signed in is on."""
    wallet = wallet_of(user_of(request))
    has_subscribed = "subscribed" in request.GET
    if has_subscribed:
        look_at_page_of(wallet)
    subscription = subscription_of(wallet)
    return render(
        request,
        "portal/plans.html",
        {
            **standing(wallet, subscription),
            **shop(request, subscription),
            "request_id": uuid4(),
            "has_subscribed": has_subscribed,
            "calculates_tax": settings.STRIPE_AUTOMATIC_TAX,
        },
    )


def look_at_page_of(wallet: Wallet) -> None:
    """Ask Stripe what became of the page that somebody comes back from: its event may be late."""
    begun = Subscription.objects.filter(wallet=wallet, status=SubscriptionStatus.OPEN)
    page = begun.exclude(session_id=None).first()
    if page is None:
        return
    try:
        session = gateway.retrieve_checkout(page.session_id or "")
        if session.subscription:
            settle_subscription(session.subscription)
    except CreditsiteError:
        pass  # The event will tell.


def standing(wallet: Wallet, subscription: Subscription | None) -> dict[str, Any]:
    """Return how a wallet stands: its subscription, or its tier, and when credits come next."""
    now = timezone.now()
    due = Slice.objects.filter(wallet=wallet, status=SliceStatus.DUE, due_at__gt=now)
    shown: dict[str, Any] = {
        "subscription": subscription,
        "next_slice": due.order_by("due_at").first(),
    }
    if subscription:
        status = SubscriptionStatus(subscription.status)
        return shown | {
            "state": ("cancelled", "warn") if subscription.cancels_at else COLOURS[status],
            "needs_card": status in NEEDS_A_CARD,
            "may_change": status == SubscriptionStatus.ACTIVE
            and subscription.price is not None
            and subscription.cancels_at is None,
        }
    tier = tier_of(wallet)
    return shown | {"tier": tier, "next_of_tier": next_due_of(tier, now) if tier else None}


def shop(request: HttpRequest, subscription: Subscription | None) -> dict[str, Any]:
    """Return the plans that can be had in the currency and by the interval that are looked at."""
    offers = [each for each in sold() if each.offer.kind == OfferKind.PLAN]
    paid = subscription.price if subscription else None
    asked = request.GET.get("interval", paid.interval if paid else Interval.MONTH)
    interval = asked if asked in Interval.values else Interval.MONTH
    currency = paid.currency if paid else currency_asked(request)
    found = [
        {"code": each.offer.code, "version": each.version, "price": price}
        | {"rate": effective_rate(price).normalize(), "is_current": price == paid}
        for each in offers
        for price in each.prices
        if (price.currency, price.interval) == (currency, interval)
    ]
    currencies = sorted({price.currency for each in offers for price in each.prices})
    return {
        "plans": sorted(found, key=lambda plan: plan["price"].amount_minor),
        "interval": interval,
        "intervals": [(Interval.MONTH, "Monthly"), (Interval.YEAR, "Yearly")],
        "currency": currency,
        "currencies": [currency] if paid else currencies,
    }


def currency_asked(request: HttpRequest) -> str:
    asked = request.GET.get("currency", "")
    return asked if is_currency(asked) else base_currency(timezone.now())


# --- Acting ---------------------------------------------------------------------------------------
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Lead to Stripe's page, on which the plan is paid."""
    form, user = PlanForm(request.POST), user_of(request)
    if not form.is_valid():
        return back(request, "Choose a plan.")
    home = request.build_absolute_uri(reverse(PAGE))
    try:
        session = subscribe(
            user=user,
            wallet=wallet_of(user),
            price=form.price(),
            success_url=f"{home}?subscribed=1",
            cancel_url=home,
            caller=f"user:{user.pk}",
            idempotency_key=form.key,
            at=timezone.now(),
            calculates_tax=settings.STRIPE_AUTOMATIC_TAX,
        )
    except CreditsiteError as refusal:
        return back(request, refusal)
    return HttpResponseRedirect(session.url) if session.url else redirect(PAGE)


def change(request: HttpRequest) -> HttpResponse:
    """Show what another plan costs and brings, and when; change to it once that is confirmed."""
    user = user_of(request)
    subscription = subscription_of(wallet_of(user))
    form = PlanForm(request.POST) if request.method == "POST" else AskedForm(request.GET)
    if subscription is None or not form.is_valid():
        return back(request, "Choose a plan.")
    try:
        price = form.price(subscription.price)
        if request.method == "POST":
            done = subscription_changes.change_plan(
                subscription=subscription,
                price=price,
                actor=user,
                caller=f"user:{user.pk}",
                idempotency_key=form.key,
            )
            return changed(request, done, price)
        preview = subscription_changes.preview_change(
            subscription=subscription, price=price, at=timezone.now()
        )
    except CreditsiteError as refusal:
        return back(request, refusal)
    context = {"subscription": subscription, "price": price, "preview": preview}
    return render(
        request, "portal/plan_change.html", context | {"menu_page": PAGE, "request_id": uuid4()}
    )


def cancel(request: HttpRequest) -> HttpResponse:
    """Say what cancelling means, and cancel once that is confirmed."""
    if request.method == "POST":
        return act(request, subscription_changes.cancel_at_period_end)
    subscription = subscription_of(wallet_of(user_of(request)))
    if subscription is None or subscription.cancels_at:
        return redirect(PAGE)
    context = {"subscription": subscription, "menu_page": PAGE, "request_id": uuid4()}
    return render(request, "portal/plan_cancel.html", context)


@require_POST
def keep(request: HttpRequest) -> HttpResponse:
    """Take a cancellation back."""
    return act(request, subscription_changes.keep_subscription)


@require_POST
def portal(request: HttpRequest) -> HttpResponse:
    """Lead to Stripe's page about cards and invoices."""
    form = RequestForm(request.POST)
    if not form.is_valid():
        return redirect(PAGE)
    home = request.build_absolute_uri(reverse(PAGE))
    try:
        url = portal_url(
            user=user_of(request), return_url=home, idempotency_key=form.key, at=timezone.now()
        )
    except CreditsiteError as refusal:
        return back(request, refusal)
    return HttpResponseRedirect(url)


def act(request: HttpRequest, do: Callable[..., SubscriptionChange]) -> HttpResponse:
    form, user = RequestForm(request.POST), user_of(request)
    subscription = subscription_of(wallet_of(user))
    if subscription is None or not form.is_valid():
        return redirect(PAGE)
    try:
        done = do(
            subscription=subscription,
            actor=user,
            caller=f"user:{user.pk}",
            idempotency_key=form.key,
        )
    except CreditsiteError as refusal:
        return back(request, refusal)
    return changed(request, done, subscription.price)


def changed(
    request: HttpRequest, done: SubscriptionChange, price: OfferPrice | None
) -> HttpResponse:
    name = price.version.name if price else "your plan"
    messages.success(request, DONE[ChangeKind(done.kind)].format(name=name))
    return redirect(PAGE)


def back(request: HttpRequest, refusal: CreditsiteError | str) -> HttpResponse:
    again = " Try again in a moment." if isinstance(refusal, Unavailable) else ""
    messages.error(request, f"{refusal}{again}")
    return redirect(PAGE)


def user_of(request: HttpRequest) -> User:
    return cast("User", request.user)
