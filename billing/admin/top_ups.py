from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from billing.choices import TopUpEnd, TopUpPause
from billing.models import AutoTopUp
from billing.queries.top_ups import bought_this_month, is_paused
from billing.services.top_ups import switch_off_for_user
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    ConfirmationForm,
    PageAction,
    RangeDateFilter,
    display,
)
from creditsite.money import format_money
from ledger.admin.lists import BooksAdmin, minute, two_lines
from ledger.admin.pages import ExplainingAdmin
from ledger.admin.wallets import add_to_wallets
from ledger.figures import figure
from ledger.models import Wallet

MOST_ROWS = 200
COLOURS = {"on": "success", "off": "info", "paused": "warning"}


class SwitchOffForm(ConfirmationForm):
    title = "Switch off"

    def changes(self) -> list[str]:
        auto = self.object
        return [
            f"{auto.user} is charged no more; they are told, and may agree anew.",
            "A top-up that is under way goes on. No money and no credits move.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        switch_off_for_user(
            auto_top_up=self.object, reason=self.cleaned_data["reason"], actor=actor, at=at
        )
        return "It is off."


def state_of(auto: AutoTopUp) -> str:
    """Return a word for it."""
    if not auto.is_enabled:
        return "off"
    return "paused" if is_paused(auto, timezone.now()) else "on"


def why(auto: AutoTopUp) -> str:
    """Say why nothing is charged; nothing where it is."""
    state = state_of(auto)
    if state == "paused" and auto.paused_why:
        until = f", until {minute(auto.paused_until)}" if auto.paused_until else ""
        return f"{TopUpPause(auto.paused_why).label}{until}"
    return str(TopUpEnd(auto.ended_why).label) if state == "off" and auto.ended_why else ""


@admin.register(AutoTopUp)
class AutoTopUpAdmin(ExplainingAdmin, BooksAdmin):
    """What users agreed to be charged by itself, and each charge, to look at and to end."""

    class Media:
        css = {"all": ["ledger/staff.css", "billing/payments.css"]}

    title = "Auto top-ups"
    list_display = ["who", "terms", "price", "changed", "state"]
    list_display_links = ["who"]
    list_filter = [
        "is_enabled",
        ("paused_why", ChoicesDropdownFilter),
        ("ended_why", ChoicesDropdownFilter),
        ("changed_at", RangeDateFilter),
    ]
    search_fields = ["=card_id", "user__email"]
    search_help_text = "E-mail"
    ordering = ["-changed_at", "-pk"]
    page_actions = (
        PageAction(
            name="switch-off",
            label="Switch off…",
            form_class=SwitchOffForm,
            is_offered=lambda auto: auto.is_enabled,
            is_primary=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AutoTopUp]:
        related = "user", "wallet__user", "wallet__team"
        return super().get_queryset(request).select_related(*related)

    def explain(self, request: HttpRequest, instance: AutoTopUp) -> dict[str, Any]:
        rows = instance.top_ups.select_related("payment").order_by("-number")
        return {
            "state": state_of(instance),
            "why": why(instance),
            "bought": bought_this_month(instance, timezone.now()),
            "rows": rows[:MOST_ROWS],
        }

    @display(description="user")
    def who(self, auto: AutoTopUp) -> str:
        return str(auto.user)

    @display(description="buys")
    def terms(self, auto: AutoTopUp) -> SafeString:
        return two_lines(
            f"{figure(auto.amount)} at {figure(auto.threshold)}",
            f"{figure(auto.monthly_limit)} a month at most",
        )

    @display(description="price agreed to")
    def price(self, auto: AutoTopUp) -> SafeString:
        agreed = format_money(auto.agreed_minor, auto.currency) if auto.agreed_at else "–"
        return two_lines(agreed, auto.card)

    @display(description="changed (UTC)")
    def changed(self, auto: AutoTopUp) -> str:
        return minute(auto.changed_at)

    @display(description="state", label=COLOURS)
    def state(self, auto: AutoTopUp) -> str:
        return state_of(auto)


def of_wallet(wallet: Wallet) -> str:
    """Lead from a wallet's page to its auto top-up, if there is one."""
    auto = AutoTopUp.objects.filter(wallet=wallet).select_related("user").first()
    if auto is None:
        return ""
    address = reverse("admin:billing_autotopup_change", args=[auto.pk])
    return format_html('<a href="{}">Auto top-up</a>: {}', address, state_of(auto))


add_to_wallets(line=of_wallet)
