"""The catalogue."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import CurrencyField, money
from billing.choices import Interval, OfferKind
from billing.queries.offers import effective_rate, sold
from creditsite.apikit.fields import QuerySerializer
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView
from ledger.api.features import PlainDecimal
from ledger.api.system import MoneyDocument


class PackageQuery(QuerySerializer):
    currency = CurrencyField("all")


class PackageDocument(serializers.Serializer):
    code = serializers.CharField()
    kind = serializers.ChoiceField(choices=OfferKind.choices)
    name = serializers.CharField()
    credits = serializers.IntegerField(help_text="Of a plan, every month.")
    price = MoneyDocument()
    interval = serializers.ChoiceField(
        choices=Interval.choices, allow_null=True, help_text="How often it is paid; null: once."
    )
    features = serializers.ListField(child=serializers.CharField())
    effective_rate = PlainDecimal(help_text="What a credit comes to.")


class PackageListDocument(serializers.Serializer):
    """The whole catalogue, in the order of staff: there is no other page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = PackageDocument(many=True)


class PackageListView(ApiView):
    query_class = PackageQuery

    @operation("listPackages", answers={200: PackageListDocument})
    def get(self, request: Request) -> Response:
        """Packages and plans on sale, one for each price; with `currency`, those in it."""
        currency = self.query.get("currency")
        rows = [
            {
                "code": offer.code,
                "kind": offer.kind,
                "name": version.name,
                "credits": version.credits,
                "price": money(price.amount_minor, price.currency),
                "interval": price.interval or None,
                "features": version.features,
                "effective_rate": effective_rate(price),
            }
            for offer, version, prices in sold()
            for price in prices
            if currency in (None, price.currency)
        ]
        return Response(PackageListDocument({"next": None, "previous": None, "results": rows}).data)
