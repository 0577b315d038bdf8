from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.lines import price_text, rate_text
from billing.admin.offer_forms import EditForm, NewOfferForm, RestoreForm, RetireForm
from billing.admin.pages import SaleAdmin
from billing.models import Offer, OfferPrice, OfferVersion
from billing.queries.offers import effective_rate, margin_of, sold
from creditsite.adminkit import ChoicesDropdownFilter, PageAction, display
from ledger.admin.lists import LatestFirst, two_lines
from ledger.models import CreditSettings
from ledger.queries.settings import settings_at


class OfferList(LatestFirst):
    """Knows of each offer on the page how it is sold."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        settings = settings_at(timezone.now())
        sales = {sale.offer.pk: sale for sale in sold(self.result_list)}
        for offer in self.result_list:
            offer.sale, offer.settings = sales[offer.pk], settings


def lines(rows: list[str]) -> SafeString:
    """Return a cell of one line for each of ``rows``."""
    blocks = format_html_join("", '<span class="block">{}</span>', ((row,) for row in rows))
    return format_html("<span>{}</span>", blocks)


def margin_text(price: OfferPrice, settings: CreditSettings) -> str:
    margin = margin_of(price, settings.recovery_cost, settings.recovery_currency)
    return "–" if margin is None else f"{margin:,} %".replace("-", "−")


@admin.register(Offer)
class OfferAdmin(SaleAdmin):
    """What is sold. An offer is never deleted: who bought it has it."""

    new_form = NewOfferForm
    list_display = ["offer", "sold_as", "includes", "costs", "each", "margin", "state"]
    list_filter = [("kind", ChoicesDropdownFilter), "is_active"]
    search_fields = ["code"]
    ordering = ["position", "code"]
    sortable_by: ClassVar[list[str]] = []
    page_actions = (
        PageAction(name="edit", label="New version…", form_class=EditForm, is_primary=True),
        PageAction(
            name="retire",
            label="Take off sale…",
            form_class=RetireForm,
            is_offered=lambda offer: offer.is_active,
        ),
        PageAction(
            name="restore",
            label="Put on sale again…",
            form_class=RestoreForm,
            is_offered=lambda offer: not offer.is_active,
        ),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OfferList

    @display(description="offer")
    def offer(self, offer: Any) -> SafeString:
        return two_lines(offer.sale.version.name, offer.code)

    @display(description="kind")
    def sold_as(self, offer: Any) -> str:
        return offer.kind

    @display(description="credits")
    def includes(self, offer: Any) -> str:
        return f"{offer.sale.version.credits:,}"

    @display(description="price")
    def costs(self, offer: Any) -> SafeString:
        prices = offer.sale.prices
        return lines([price_text(p.amount_minor, p.currency, p.interval) for p in prices])

    @display(description="a credit")
    def each(self, offer: Any) -> SafeString:
        return lines([rate_text(effective_rate(p), p.currency) for p in offer.sale.prices])

    @display(description="margin")
    def margin(self, offer: Any) -> SafeString:
        return lines([margin_text(price, offer.settings) for price in offer.sale.prices])

    @display(description="state", label={"on sale": "success", "off sale": "warning"})
    def state(self, offer: Any) -> str:
        return "on sale" if offer.is_active else "off sale"

    def explain(self, request: HttpRequest, instance: Offer) -> dict[str, Any]:
        settings = settings_at(timezone.now())
        versions = (
            OfferVersion.objects.filter(offer=instance)
            .select_related("created_by")
            .prefetch_related("prices")
            .order_by("-number")
        )
        rows = [
            {
                "version": version,
                "prices": [
                    {
                        "says": price_text(price.amount_minor, price.currency, price.interval),
                        "rate": rate_text(effective_rate(price), price.currency),
                        "margin": margin_text(price, settings),
                    }
                    for price in sorted(
                        version.prices.all(), key=lambda p: (p.currency, p.interval)
                    )
                ],
            }
            for version in versions[:50]
        ]
        return {"rows": rows, "newest": rows[0], "settings": settings}
