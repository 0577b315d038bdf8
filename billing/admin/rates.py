"""What credits cost by number: rates, discounts, and what they were."""

from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from accounts.models import User
from billing.admin.lines import number_text
from billing.admin.pages import SaleAdmin
from billing.admin.rate_forms import SetDiscountsForm, SetRateForm
from billing.models import CreditRate, Discounts
from billing.queries.rates import discounts_at, prices_at, tiers_of
from billing.quotes import Tier, percent, rate_at
from creditsite.adminkit import actor_of, ask, display
from ledger.admin.lists import minute
from ledger.models import CreditSettings
from ledger.queries.settings import settings_at

LIST = "admin:billing_creditrate_changelist"
MOST_VERSIONS = 20
ALL = Tier(1, 0)


@admin.register(CreditRate)
class CreditRateAdmin(SaleAdmin):
    new_form = SetRateForm
    list_display = ["currency_code", "costs", "when", "who"]
    list_select_related = ["changed_by"]
    list_before_template = "admin/billing/rates.html"
    ordering = ["-changed_at", "-pk"]
    sortable_by: ClassVar[list[str]] = []
    fields = ["currency", "price_per_credit", "changed_at", "changed_by"]

    @display(description="currency")
    def currency_code(self, rate: CreditRate) -> str:
        return rate.currency.upper()

    @display(description="a credit")
    def costs(self, rate: CreditRate) -> str:
        return str(rate)

    @display(description="from (UTC)")
    def when(self, rate: CreditRate) -> str:
        return minute(rate.changed_at)

    @display(description="by")
    def who(self, rate: CreditRate) -> str:
        return str(rate.changed_by or "the system")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.set_discounts_view)
        name = "billing_creditrate_set-discounts"
        return [path("set-discounts/", view, name=name), *super().get_urls()]

    def set_discounts_view(self, request: HttpRequest) -> HttpResponse:
        back = reverse(LIST)
        objects = [discounts_at(timezone.now())]
        page = ask(self, request, objects, SetDiscountsForm, act="set-discounts", back=back)
        return page or HttpResponseRedirect(back)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        now = timezone.now()
        prices, discounts, settings = prices_at(now), discounts_at(now), settings_at(now)
        actor: User = actor_of(request)
        context = {
            "title": "Rates and discounts",
            "currencies": [code.upper() for code in prices],
            "tiers": [
                {
                    "from": tier.from_credits,
                    "off": percent(tier.basis_points) if tier.basis_points else "–",
                    "rates": [
                        number_text(rate_at(price, tier.basis_points)) for price in prices.values()
                    ],
                }
                for tier in [ALL, *tiers_of(discounts)]
            ],
            "subscribers": percent(discounts.subscriber_basis_points),
            "discounts": discounts,
            "margin": margin_text(prices, settings),
            "settings": settings,
            "versions": history(),
            "may_set_discounts": self.may_act(request, "set-discounts"),
            "may_set_rates": self.has_add_permission(request),
            "may_see_settings": actor.may("ledger.view_creditsettings"),
        }
        return super().changelist_view(request, context | (extra_context or {}))


def margin_text(prices: dict[str, Decimal], settings: CreditSettings) -> str:
    """Return the margin of a credit in the currency of the recovery cost; empty in no other."""
    price = prices.get(settings.recovery_currency.lower())
    if price is None:
        return ""
    margin = (price - settings.recovery_cost) / price * 100
    return f"{margin.quantize(Decimal('0.1')):,} %".replace("-", "−")


def history() -> list[dict[str, Any]]:
    """Return the last versions of the discounts, the newest first."""
    versions = Discounts.objects.select_related("changed_by").order_by("-pk")[:MOST_VERSIONS]
    return [
        {
            "version": version,
            "says": [
                *(
                    f"{percent(tier.basis_points)} from {tier.from_credits:,} credits"
                    for tier in tiers_of(version)
                ),
                f"{percent(version.subscriber_basis_points)} for subscribers",
            ],
        }
        for version in versions
    ]
