"""Being charged for more credits whenever one's own have fallen low."""

from typing import Any, cast

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import subject_of
from accounts.models import User
from billing import errors
from billing.api.fields import AddressField, CurrencyField, money, refuse_others_in_the_clear
from billing.gateway import PaymentsUnavailable
from billing.models import AutoTopUp
from billing.queries.top_ups import bought_this_month, is_paused
from billing.services.top_ups import (
    MOST_CREDITS,
    MOST_IN_A_MONTH,
    agree,
    auto_top_up_of,
    switch_off,
)
from creditsite.apikit.fields import CreditsField, StrictBoolean, StrictSerializer, UserIdField
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import NotFound
from ledger.api.system import MoneyDocument
from ledger.api.wallets import USER_ID, UserQuery
from ledger.errors import CreditsDisabled, WalletClosed

AS_IT_WAS = "As it was, if left out."


class AutoTopUpRequest(StrictSerializer):
    enabled = StrictBoolean(help_text="True agrees to be charged; it takes a saved card.")
    threshold = CreditsField(
        min_value=0,
        max_value=MOST_CREDITS,
        required=False,
        help_text=f"At or below so many credits that are left to spend. {AS_IT_WAS}",
    )
    amount = CreditsField(
        max_value=MOST_CREDITS,
        required=False,
        help_text=f"Credits that are bought at a time. {AS_IT_WAS}",
    )
    monthly_limit = CreditsField(
        max_value=MOST_IN_A_MONTH,
        required=False,
        help_text=f"The most credits that are bought in a month of business. {AS_IT_WAS}",
    )
    currency = CurrencyField("as it was, or that of the settings,")
    return_url = AddressField(help_text="Where the page to save a card leads back to.")
    user_id = UserIdField(required=False, help_text=USER_ID)


class CardDocument(serializers.Serializer):
    brand = serializers.CharField()
    last4 = serializers.CharField()
    expires = serializers.CharField(help_text="Year and month.")


class AutoTopUpDocument(serializers.Serializer):
    enabled = serializers.BooleanField()
    threshold = serializers.IntegerField()
    amount = serializers.IntegerField()
    monthly_limit = serializers.IntegerField()
    bought_this_month = serializers.IntegerField(help_text="Of the monthly limit.")
    price = MoneyDocument(
        allow_null=True, help_text="Of one top-up, without tax, as agreed to: never more."
    )
    card = CardDocument(allow_null=True)
    why_off = serializers.CharField(
        allow_null=True,
        help_text="`user`, `staff`, `declined`, `card`, `disputed` or `price`, if it was ended.",
    )
    why_paused = serializers.CharField(
        allow_null=True,
        help_text="`declined`, `authentication`, `month` or `burst`, while nothing is charged.",
    )
    paused_until = serializers.DateTimeField(allow_null=True)


class AutoTopUpView(ApiView):
    query_class = UserQuery

    @operation("getAutoTopUp", answers={200: AutoTopUpDocument}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """What the user agreed to be charged, and how much of it they were this month."""
        user = subject_of(request, self.query.get("user_id"))
        return answer(auto_top_up_of(user, at=timezone.now()))

    @operation(
        "setAutoTopUp",
        body=AutoTopUpRequest,
        answers={200: AutoTopUpDocument},
        refusals=[
            NotFound,
            errors.CardNeeded,
            errors.NothingToPay,
            WalletClosed,
            CreditsDisabled,
            PaymentsUnavailable,
        ],
    )
    def put(self, request: Request) -> Response:
        """
        Agree to be charged at these terms, or end it.

        Without a saved card it is refused as `card_needed`, with the `checkout_url` of a page to
        save one; when that is done, send the same again.
        """
        body = body_of(request, AutoTopUpRequest)
        back = body.pop("return_url", "")
        refuse_others_in_the_clear(request, back)
        user = subject_of(request, body.pop("user_id", None))
        actor, at = cast("User", request.user), timezone.now()
        if body.pop("enabled"):
            home = request.build_absolute_uri(reverse("billing_auto_top_up"))
            return answer(agree(user=user, actor=actor, at=at, return_url=back or home, **body))
        return answer(switch_off(user=user, actor=actor, at=at, **body))


def answer(auto: AutoTopUp) -> Response:
    return Response(AutoTopUpDocument(document_of(auto)).data)


def document_of(auto: AutoTopUp) -> dict[str, Any]:
    at = timezone.now()
    paused = auto.is_enabled and is_paused(auto, at)
    card = {"brand": auto.card_brand, "last4": auto.card_last4, "expires": auto.card_expires}
    return {
        "enabled": auto.is_enabled,
        "threshold": auto.threshold,
        "amount": auto.amount,
        "monthly_limit": auto.monthly_limit,
        "bought_this_month": bought_this_month(auto, at) if auto.pk else 0,
        "price": money(auto.agreed_minor, auto.currency) if auto.agreed_at else None,
        "card": card if auto.card_id else None,
        "why_off": auto.ended_why or None,
        "why_paused": auto.paused_why if paused else None,
        "paused_until": auto.paused_until if paused else None,
    }
