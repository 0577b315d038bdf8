"""Grants: the lots that a wallet's credits came in."""

import django_filters as filters
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from ledger.api.filters import filtered
from ledger.api.wallets import WalletQuery, statement_wallet_in
from ledger.choices import CreditType, GrantSource
from ledger.queries.grants import GrantStatus, grants_at


class GrantDocument(serializers.Serializer):
    id = serializers.UUIDField()
    credit_type = serializers.ChoiceField(choices=CreditType.choices)
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a name of the API
        choices=GrantSource.choices
    )
    status = serializers.ChoiceField(choices=GrantStatus.choices)
    amount = serializers.IntegerField()
    remaining = serializers.IntegerField(source="left", help_text="Once expired, what holds pin.")
    held = serializers.IntegerField()
    effective_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class GrantListQuery(WalletQuery, ListQuery):
    status = serializers.ChoiceField(choices=GrantStatus.choices, required=False)


class GrantFilter(filters.FilterSet):
    status = filters.CharFilter("status")


class GrantListView(ApiView):
    query_class = GrantListQuery

    @operation("listGrants", answers={200: page_of(GrantDocument)}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """A wallet's grants, newest first."""
        wallet = statement_wallet_in(request, self.query)
        rows = grants_at(timezone.now()).filter(wallet=wallet)
        return page_response(
            request,
            filtered(GrantFilter, self.query, rows),
            by=["effective_at", "id"],
            query=self.query,
            document=GrantDocument,
        )
