"""What a credit costs."""

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import subject_of
from billing.api.fields import CurrencyField
from billing.queries.rates import rate_in
from billing.queries.subscriptions import is_subscriber
from billing.quotes import percent, rate_at
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from ledger.api.features import PlainDecimal
from ledger.api.wallets import UserQuery


class RateQuery(UserQuery):
    currency = CurrencyField()


class VolumeDiscountDocument(serializers.Serializer):
    from_credits = serializers.IntegerField(help_text="For so many credits at once, and more.")
    discount = serializers.CharField(help_text="Such as `5 %`.")
    price_per_credit = PlainDecimal()


class RateDocument(serializers.Serializer):
    price_per_credit = PlainDecimal(help_text="In units of the currency, without tax.")
    currency = serializers.CharField(help_text="By ISO 4217, in lower case.")
    your_rate = PlainDecimal(help_text="What one costs the user: subscribers pay less.")
    volume_discounts = VolumeDiscountDocument(many=True)


class RateView(ApiView):
    query_class = RateQuery

    @operation("getRate", answers={200: RateDocument}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """What a credit costs that is bought by number, and what is off for more of them."""
        user = subject_of(request, self.query.get("user_id"))
        rate = rate_in(self.query.get("currency", ""), timezone.now())
        off = rate.subscriber_basis_points if is_subscriber(user) else 0
        document = {
            "price_per_credit": rate.unit_price,
            "currency": rate.currency,
            "your_rate": rate_at(rate.unit_price, off).normalize(),
            "volume_discounts": [
                {
                    "from_credits": tier.from_credits,
                    "discount": percent(tier.basis_points),
                    "price_per_credit": rate.price_from(tier),
                }
                for tier in rate.tiers
            ],
        }
        return Response(RateDocument(document).data)
