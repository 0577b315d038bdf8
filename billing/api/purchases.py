"""Buying credits: what a purchase would cost, and codes that give credits by themselves."""

from typing import Any, cast
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of, idempotency_key, subject_of
from billing import errors
from billing.api.fields import CurrencyField, money
from billing.quotes import Quote
from billing.services.quotes import quote_purchase
from billing.services.redemptions import redeem_code
from creditsite.apikit.fields import CreditsField, StrictChar, StrictSerializer, UserIdField
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import NotFound
from ledger.api.balances import balance_left
from ledger.api.features import PlainDecimal
from ledger.api.replays import answer
from ledger.api.spending import MovementDocument
from ledger.api.system import MoneyDocument
from ledger.api.wallets import USER_ID
from ledger.errors import CreditsDisabled, IdempotencyKeyReused, WalletClosed
from ledger.queries.statements import transaction_named
from ledger.queries.wallets import wallet_of


class PurchaseRequest(StrictSerializer):
    amount = CreditsField(required=False, help_text="So many credits, at the price of one.")
    package = StrictChar(max_length=40, required=False, help_text="Or the code of a package.")
    promotion_code = StrictChar(max_length=40, required=False, help_text="In whatever case.")
    currency = CurrencyField("that of the settings, or a package's only one,")
    user_id = UserIdField(required=False, help_text=USER_ID)

    rules = {"oneOf": [{"required": ["amount"]}, {"required": ["package"]}]}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("amount" in attrs) == ("package" in attrs):
            raise serializers.ValidationError({"amount": ["Send either amount or package."]})
        return attrs


class DiscountDocument(serializers.Serializer):
    reason = serializers.CharField()
    money = MoneyDocument()


class QuoteDocument(serializers.Serializer):
    """`total` is `subtotal` less the `discounts`, to the minor unit."""

    credits = serializers.IntegerField()
    bonus_credits = serializers.IntegerField(help_text="Awarded on top, by the promotion.")
    subtotal = MoneyDocument()
    discounts = DiscountDocument(many=True)
    total = MoneyDocument()
    rate = PlainDecimal(help_text="What a credit comes to, bonus credits left aside.")


class ValidateView(ApiView):
    throttle_scope = "codes"

    @operation(
        "validatePurchase",
        body=PurchaseRequest,
        answers={200: QuoteDocument},
        refusals=[NotFound, errors.NotForSale, errors.PromotionRefused, CreditsDisabled],
    )
    def post(self, request: Request) -> Response:
        """What a purchase would cost now, with every discount. Nothing is bought or reserved."""
        body = body_of(request, PurchaseRequest)
        user = subject_of(request, body.pop("user_id", None))
        purchase = quote_purchase(user=user, at=timezone.now(), **body)
        return Response(QuoteDocument(document_of_quote(purchase.quote)).data)


def document_of_quote(quote: Quote) -> dict[str, Any]:
    """Return a quote as documents have it."""
    return {
        "credits": quote.credits,
        "bonus_credits": quote.bonus_credits,
        "subtotal": money(quote.subtotal_minor, quote.currency),
        "discounts": [
            {"reason": each.reason, "money": money(each.amount_minor, quote.currency)}
            for each in quote.discounts
        ],
        "total": money(quote.total_minor, quote.currency),
        "rate": quote.rate,
    }


class RedeemRequest(StrictSerializer):
    code = StrictChar(max_length=40, help_text="In whatever case.")
    user_id = UserIdField(required=False, help_text=USER_ID)


class RedeemView(ApiView):
    throttle_scope = "codes"

    @operation(
        "redeemCode",
        body=RedeemRequest,
        answers={200: MovementDocument},
        refusals=[NotFound, errors.PromotionRefused, WalletClosed, IdempotencyKeyReused],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Take the credits that a code gives by itself: once for each user."""
        at = timezone.now()
        body = body_of(request, RedeemRequest)
        key = idempotency_key(request)
        user = subject_of(request, body.get("user_id"))
        posted = redeem_code(
            code=body["code"], user=user, caller=caller_of(request), at=at, idempotency_key=key
        )
        movement = {
            "transaction": transaction_named(cast("UUID", posted.transaction_id)),
            "balance": balance_left(posted, wallet_of(user)),
        }
        return answer(MovementDocument, movement, posted)
