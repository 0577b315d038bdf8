"""The price list."""

from decimal import Decimal

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView
from ledger.queries.prices import prices_at


class PlainDecimal(serializers.DecimalField):
    """A decimal as text, without an exponent or idle zeros."""

    def __init__(self, **kwargs) -> None:
        super().__init__(max_digits=18, decimal_places=6, **kwargs)

    def to_representation(self, value: Decimal) -> str:
        return f"{value.normalize():f}"


class FeatureDocument(serializers.Serializer):
    code = serializers.CharField(source="feature.code")
    name = serializers.CharField(source="feature.name")
    unit = serializers.CharField(source="feature.unit", help_text="What a quantity of one is.")
    unit_price = PlainDecimal(help_text="Credits for `per` units, or for a use if `is_flat`.")
    per = serializers.IntegerField(help_text="Units that the price is for, as 1,000 tokens.")
    is_flat = serializers.BooleanField(help_text="The price of a use, whatever the quantity.")
    requires_purchased = serializers.BooleanField(
        source="feature.requires_purchased", help_text="Takes purchased credits only."
    )


class FeatureListView(ApiView):
    query_class = ListQuery

    @operation("listFeatures", answers={200: page_of(FeatureDocument)})
    def get(self, request: Request) -> Response:
        """The features that can be charged, with their prices in force now."""
        return page_response(
            request,
            prices_at(timezone.now()),
            by=["feature_id"],
            query=self.query,
            document=FeatureDocument,
        )
