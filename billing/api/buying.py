"""Buying: a payment is begun here and made at Stripe, or confirmed here once it was made."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of, idempotency_key, subject_of
from accounts.models import User
from billing import errors
from billing.api.fields import AddressField, CurrencyField, refuse_others_in_the_clear
from billing.api.payments import PaymentDocument
from billing.choices import PaymentStatus
from billing.gateway import PaymentDeclined, PaymentsUnavailable
from billing.models import Payment
from billing.queries.payments import payments_of
from billing.services import purchases
from billing.services.purchases import Wanted
from creditsite.apikit.fields import CreditsField, StrictChar, StrictSerializer, UserIdField
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import NotFound
from creditsite.links import site_link
from ledger.api.transactions import TransactionDocument
from ledger.api.wallets import USER_ID
from ledger.errors import CreditsDisabled, IdempotencyKeyReused, WalletClosed
from ledger.queries.statements import transaction_named

CHECKOUT, INTENT = "checkout", "intent"
PAID = "stripe_payment_intent_id"
# What goes with a payment that was made already; all else was settled when it was begun.
WITH_PAID = {PAID, "amount", "description", "user_id"}
RETURNS = "`{CHECKOUT_SESSION_ID}` in it becomes Stripe's id. The payment's page, if left out."


class BuyRequest(StrictSerializer):
    """Either what to buy, or the intent of a purchase that was begun here and has been paid."""

    amount = CreditsField(required=False, help_text="So many credits, at the price of one.")
    package = StrictChar(max_length=40, required=False, help_text="Or the code of a package.")
    promotion_code = StrictChar(max_length=40, required=False, help_text="In whatever case.")
    currency = CurrencyField("that of the settings, or a package's only one,")
    description = StrictChar(max_length=250, required=False, help_text="For their statement.")
    payment_method = serializers.ChoiceField(
        choices=[CHECKOUT, INTENT],
        required=False,
        help_text="`checkout` is Stripe's page, `intent` what your own page confirms with"
        " Stripe.js. `checkout` if left out.",
    )
    success_url = AddressField(help_text=f"Where the page leads when it is paid. {RETURNS}")
    cancel_url = AddressField(help_text="Where its way back leads. The same, if left out.")
    stripe_payment_intent_id = StrictChar(
        max_length=255,
        required=False,
        help_text="Of a purchase that was begun here, to have its credits at once; with it goes"
        " nothing but `amount`, which is compared, and `description`, which stays as it was.",
    )
    user_id = UserIdField(required=False, help_text=USER_ID)

    rules = {"anyOf": [{"required": [name]} for name in ("amount", "package", PAID)]}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if PAID in attrs:
            if besides := sorted(attrs.keys() - WITH_PAID):
                message = f"This does not go with {PAID}."
                raise serializers.ValidationError({name: [message] for name in besides})
        elif ("amount" in attrs) == ("package" in attrs):
            raise serializers.ValidationError({"amount": ["Send either amount or package."]})
        return attrs


class BegunDocument(serializers.Serializer):
    """One of the two is null, and both once it is paid or has ended."""

    payment = PaymentDocument()
    checkout_url = serializers.URLField(
        allow_null=True, help_text="Lead the user there; it is good for half an hour at least."
    )
    client_secret = serializers.CharField(
        allow_null=True, help_text="For Stripe.js on the user's own device."
    )


class PaidDocument(serializers.Serializer):
    payment = PaymentDocument()
    transaction = TransactionDocument()


class PurchaseView(ApiView):
    throttle_scope = "codes"

    @operation(
        "purchaseCredits",
        body=BuyRequest,
        answers={201: BegunDocument, 200: PaidDocument},
        refusals=[
            NotFound,
            errors.NotForSale,
            errors.PromotionRefused,
            errors.NothingToPay,
            errors.TooLittle,
            errors.NotPaid,
            errors.HeldBack,
            errors.OtherPurchase,
            PaymentDeclined,
            PaymentsUnavailable,
            CreditsDisabled,
            WalletClosed,
            IdempotencyKeyReused,
        ],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """
        Begin a purchase at the price of now: 201, and where to pay it. With the intent of one that
        has been paid: 200, and the transaction that gave its credits.
        """
        body = body_of(request, BuyRequest)
        key = idempotency_key(request)
        user = subject_of(request, body.get("user_id"))
        if PAID in body:
            return confirmed(user, body)
        return begun(request, user, body, key)


def begun(request: Request, user: User, body: dict[str, Any], key: str | None) -> Response:
    at = timezone.now()
    way = body.get("payment_method", CHECKOUT)
    addresses = body.get("success_url", ""), body.get("cancel_url", "")
    refuse_others_in_the_clear(request, *addresses)
    if way == INTENT:
        purchases.refuse_untaxed()
    opened = purchases.open_purchase(
        user=user,
        wanted=Wanted(**{name: body[name] for name in Wanted._fields if name in body}),
        caller=caller_of(request),
        at=at,
        description=body.get("description", ""),
        idempotency_key=key,
        asked_besides=(way, *addresses),
    )
    payment, url, secret = opened.payment, None, None
    if way == INTENT:
        intent = purchases.intent_to_confirm(payment=payment, at=at)
        secret = intent.client_secret if intent else None
    else:
        home = page_address(request, payment)
        page = purchases.page_to_pay(
            payment=payment,
            success_url=addresses[0] or f"{home}?paid=1",
            cancel_url=addresses[1] or home,
            at=at,
        )
        url = page.url if page else None
    document = {
        "payment": payments_of(user).get(pk=payment.pk),
        "checkout_url": url,
        "client_secret": secret,
    }
    headers = {} if opened.is_new else {"Idempotent-Replayed": "true"}
    return Response(BegunDocument(document).data, 201, headers=headers)


def confirmed(user: User, body: dict[str, Any]) -> Response:
    known = Payment.objects.filter(user=user, intent_id=body[PAID], status=PaymentStatus.CREDITED)
    was_credited = known.exists()
    payment = purchases.confirm_purchase(
        user=user, intent_id=body[PAID], amount=body.get("amount"), clock=timezone.now
    )
    document = {
        "payment": payments_of(user).get(pk=payment.pk),
        "transaction": transaction_named(purchases.transaction_of(payment)),
    }
    headers = {"Idempotent-Replayed": "true"} if was_credited else {}
    return Response(PaidDocument(document).data, headers=headers)


def page_address(request: Request, payment: Payment) -> str:
    """Return the whole address of a payment's page."""
    path = reverse("billing_payment", args=[payment.public_id])
    return site_link(path) or request.build_absolute_uri(path)
