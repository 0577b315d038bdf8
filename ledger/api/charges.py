"""What is charged: credits, or quantities of features at their prices; and asking what it would."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.fields import (
    CreditsField,
    QuantityField,
    StrictChar,
    StrictSerializer,
    StrictUUID,
    UserIdField,
)
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import NotFound
from ledger.api.fields import MAX_CODE_LENGTH, QuantitiesField
from ledger.api.wallets import USER_ID, spender_in
from ledger.queries.burn_down import Forecast, forecast
from ledger.services.charges import Charge, charge_for, charge_of, refuse_withdrawn

WAYS = ({"amount"}, {"feature", "quantity"}, {"quantities"})


class ChargeRequest(StrictSerializer):
    amount = CreditsField(required=False)
    feature = StrictChar(max_length=MAX_CODE_LENGTH, required=False, help_text="Its code.")
    quantity = QuantityField(required=False, help_text="Of the feature, in its unit.")
    quantities = QuantitiesField(required=False)
    user_id = UserIdField(required=False, help_text=USER_ID)
    team_id = StrictUUID(required=False, help_text="A team of theirs whose pool pays.")

    rules = {
        "oneOf": [{"required": sorted(way)} for way in WAYS],
        "dependentRequired": {"feature": ["quantity"], "quantity": ["feature"]},
    }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.keys() & set().union(*WAYS) not in WAYS:
            raise serializers.ValidationError(
                {"amount": ["Send either amount, or feature and quantity, or quantities."]}
            )
        return attrs


def charge_in(body: Mapping[str, Any], at: datetime) -> Charge:
    """
    Return what a :class:`ChargeRequest` asks for, at the prices in force at ``at``.

    :raises UnknownFeature: a code names no feature, or one that had no price then.
    :raises InvalidAmount: the sum is not between 1 and 1,000,000,000 credits.
    """
    if "amount" in body:
        return charge_of(body["amount"])
    return charge_for(body.get("quantities") or {body["feature"]: body["quantity"]}, at=at)


class WouldUseDocument(serializers.Serializer):
    award = serializers.IntegerField()
    purchase = serializers.IntegerField()
    partner = serializers.IntegerField()


class ForecastDocument(serializers.Serializer):
    allowed = serializers.SerializerMethodField()
    needed = serializers.IntegerField()
    available = serializers.IntegerField(help_text="Of the types that this charge may take.")
    would_use = WouldUseDocument()
    code = serializers.CharField(
        allow_null=True, help_text="What the spend would be refused with, if not allowed."
    )

    def get_allowed(self, forecast: Forecast) -> bool:
        return forecast.code is None


class CheckView(ApiView):
    @operation(
        "checkCredits", body=ChargeRequest, answers={200: ForecastDocument}, refusals=[NotFound]
    )
    def post(self, request: Request) -> Response:
        """Whether a spend would pass now, and what it would use. Nothing is reserved by asking."""
        at = timezone.now()
        body = body_of(request, ChargeRequest)
        charge = charge_in(body, at)
        refuse_withdrawn(charge)
        payers = spender_in(request, body).payers
        answer = forecast(
            wallet_ids=payers.wallet_ids, amount=charge.amount, types=charge.types, at=at
        )
        return Response(ForecastDocument(answer).data)
