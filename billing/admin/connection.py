"""Whether we and Stripe hear each other."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from billing.models import WebhookTally
from billing.queries.connection import MOST, advice, connection_at
from creditsite.adminkit import ReadOnlyAdmin
from creditsite.links import site_link

MODES = {
    "live": "live: real money",
    "test": "test mode of Stripe: no real money",
    "local": "the local Stripe of this installation: no money",
}


@admin.register(WebhookTally)
class ConnectionAdmin(ReadOnlyAdmin):
    """One page, in place of a list."""

    class Media:
        css = {"all": ["ledger/staff.css"]}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.page_view)
        return [path("", view, name="billing_webhooktally_changelist")]

    def page_view(self, request: HttpRequest) -> HttpResponse:
        """Ask Stripe whose key we have, and show what came from there."""
        if request.method == "POST":
            return HttpResponseNotAllowed(["GET", "HEAD"])
        at = timezone.now()
        connection = connection_at(at)
        context = {
            **self.admin_site.each_context(request),
            "title": "Stripe connection",
            "opts": self.opts,
            "media": self.media,
            "connection": connection,
            "mode": MODES.get(connection.mode, ""),
            "advice": advice(connection, at),
            "address": site_link(reverse("stripe_webhook")) or reverse("stripe_webhook"),
            "most": MOST,
        }
        return TemplateResponse(request, "admin/billing/connection.html", context)
