"""Users and what they have, for staff."""

import django_filters as filters
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.fields import QueryInteger, StrictChar
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView
from ledger.api.filters import filtered
from ledger.choices import WalletStatus
from ledger.queries.users import users_with_balances


class UserStatusDocument(serializers.Serializer):
    user_id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    name = serializers.CharField(allow_blank=True)
    role = serializers.CharField(source="role.code", allow_null=True)
    is_active = serializers.BooleanField()
    credit_status = serializers.ChoiceField(choices=WalletStatus.choices)
    current_credits = serializers.IntegerField(source="current")
    available = serializers.IntegerField()
    held = serializers.IntegerField()
    awards = serializers.IntegerField(source="award")
    purchases = serializers.IntegerField(source="purchase")
    partner = serializers.IntegerField()
    debt = serializers.IntegerField()
    last_updated = serializers.DateTimeField(source="changed_at", allow_null=True)


class UserStatusQuery(ListQuery):
    status = serializers.ChoiceField(choices=WalletStatus.choices, required=False)
    min_balance = QueryInteger(required=False, help_text="Of the current credits.")
    max_balance = QueryInteger(required=False, help_text="Of the current credits.")
    email = StrictChar(max_length=254, required=False, help_text="Or a part of it.")


class UserStatusFilter(filters.FilterSet):
    status = filters.CharFilter("credit_status")
    min_balance = filters.NumberFilter("current", "gte")
    max_balance = filters.NumberFilter("current", "lte")
    email = filters.CharFilter("email", "icontains")


class UserStatusView(ApiView):
    query_class = UserStatusQuery

    @operation("listUserStatus", answers={200: page_of(UserStatusDocument)})
    def get(self, request: Request) -> Response:
        """Users with the status and balances of their wallets, newest first."""
        rows = users_with_balances(timezone.now())
        return page_response(
            request,
            filtered(UserStatusFilter, self.query, rows),
            by=["id"],
            query=self.query,
            document=UserStatusDocument,
        )
