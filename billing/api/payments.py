"""Payments, as whoever made them sees them."""

from typing import Any
from uuid import UUID

import django_filters as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import subject_of
from billing.api.fields import money
from billing.choices import PaymentStatus
from billing.errors import PaymentNotFound
from billing.models import Payment
from billing.queries.payments import payments_of, receipt_path
from creditsite.apikit.fields import PeriodQuery
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from creditsite.links import site_link
from ledger.api.filters import filtered
from ledger.api.system import MoneyDocument
from ledger.api.transactions import OrNull
from ledger.api.wallets import UserQuery


class PaymentDocument(serializers.Serializer):
    """
    A payment. `total` = `net` + `tax` is what is to be paid, or what was; `returned` of it went
    back. `open` waits to be paid, `credited` has given its credits, `suspended` is looked at by
    staff first, `ended` was never paid.
    """

    id = serializers.UUIDField(source="public_id")
    user_id = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=PaymentStatus.choices)
    description = serializers.CharField(allow_blank=True)
    package = OrNull(source="price.version.offer.code", default=None, help_text="Its code.")
    credits = serializers.IntegerField(help_text="That it buys.")
    bonus_credits = serializers.IntegerField(
        source="redemption.credits", default=0, help_text="Awarded on top when it is paid."
    )
    promotion_code = OrNull(source="redemption.promotion.code", default=None)
    net = serializers.SerializerMethodField()
    tax = serializers.SerializerMethodField()
    total = serializers.SerializerMethodField()
    returned = serializers.SerializerMethodField(help_text="By refunds and lost chargebacks.")
    is_disputed = serializers.BooleanField(help_text="While a chargeback is decided.")
    created_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)
    receipt_url = serializers.SerializerMethodField(
        help_text="A page for the user, who signs in there; null until it is paid."
    )

    @extend_schema_field(MoneyDocument)
    def get_net(self, payment: Payment) -> Any:
        return money(payment.net_minor, payment.currency)

    @extend_schema_field(MoneyDocument)
    def get_tax(self, payment: Payment) -> Any:
        return money(payment.tax_minor, payment.currency)

    @extend_schema_field(MoneyDocument)
    def get_total(self, payment: Payment) -> Any:
        asked = payment.net_minor + payment.tax_minor
        return money(payment.charged_minor if payment.paid_at else asked, payment.currency)

    @extend_schema_field(MoneyDocument)
    def get_returned(self, payment: Payment) -> Any:
        return money(payment.returned_minor, payment.currency)

    @extend_schema_field({"type": ["string", "null"], "format": "uri"})
    def get_receipt_url(self, payment: Payment) -> str | None:
        if payment.status != PaymentStatus.CREDITED:
            return None
        return site_link(receipt_path(payment)) or None


class PaymentListQuery(UserQuery, ListQuery, PeriodQuery):
    status = serializers.ChoiceField(choices=PaymentStatus.choices, required=False)


class PaymentFilter(filters.FilterSet):
    status = filters.CharFilter("status")
    since = filters.IsoDateTimeFilter("created_at", "gte")
    until = filters.IsoDateTimeFilter("created_at", "lt")


class PaymentListView(ApiView):
    query_class = PaymentListQuery

    @operation("listPayments", answers={200: page_of(PaymentDocument)}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """Payments of a user, newest first; those that nobody made, too."""
        user = subject_of(request, self.query.get("user_id"))
        return page_response(
            request,
            filtered(PaymentFilter, self.query, payments_of(user)),
            by=["created_at", "id"],
            query=self.query,
            document=PaymentDocument,
        )


class PaymentView(ApiView):
    query_class = UserQuery

    @operation("getPayment", answers={200: PaymentDocument}, refusals=[NotFound])
    def get(self, request: Request, payment_id: UUID) -> Response:
        """One payment, to ask what became of it."""
        user = subject_of(request, self.query.get("user_id"))
        payment = payments_of(user).filter(public_id=payment_id).first()
        if payment is None:
            raise PaymentNotFound
        return Response(PaymentDocument(payment).data)
