"""All wallets together, for staff."""

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView
from ledger.queries.liability import Money
from ledger.queries.system import SystemSummary, system_summary


class MoneyDocument(serializers.Serializer):
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()


class TotalsDocument(serializers.Serializer):
    award = serializers.IntegerField()
    purchase = serializers.IntegerField()
    partner = serializers.IntegerField()
    current_credits = serializers.IntegerField(source="current")
    available = serializers.IntegerField()
    held = serializers.IntegerField()
    debt = serializers.IntegerField()


class WalletCountsDocument(serializers.Serializer):
    active = serializers.IntegerField()
    paused = serializers.IntegerField()
    closed = serializers.IntegerField()


class BalanceClassDocument(serializers.Serializer):
    at_least = serializers.IntegerField()
    at_most = serializers.IntegerField(allow_null=True)
    wallets = serializers.IntegerField()
    credits = serializers.IntegerField()


class MonthDocument(serializers.Serializer):
    month = serializers.RegexField(r"^[0-9]{4}-[0-9]{2}$", help_text="In UTC.")
    award = serializers.IntegerField()
    purchase = serializers.IntegerField()
    partner = serializers.IntegerField()


class RevenueDocument(serializers.Serializer):
    recognised = MoneyDocument(many=True, help_text="Of credits used or expired, net of returns.")
    released_by_staff = MoneyDocument(many=True, help_text="Of credits that staff took away.")


class LiabilityDocument(serializers.Serializer):
    purchased_credits = serializers.IntegerField(help_text="Unspent.")
    unfunded_credits = serializers.IntegerField(help_text="Those of them that nobody paid for.")
    deferred = MoneyDocument(many=True, help_text="Paid for credits not used yet.")


class SystemSummaryDocument(serializers.Serializer):
    wallets = WalletCountsDocument()
    totals = TotalsDocument()
    distribution = BalanceClassDocument(many=True, help_text="Wallets by their current credits.")
    monthly_consumption = serializers.SerializerMethodField()
    revenue = serializers.SerializerMethodField()
    liability = serializers.SerializerMethodField()

    @extend_schema_field(MonthDocument(many=True))
    def get_monthly_consumption(self, summary: SystemSummary) -> list[dict[str, Any]]:
        return [{"month": f"{month:%Y-%m}", **used} for month, used in summary.consumption.items()]

    @extend_schema_field(RevenueDocument)
    def get_revenue(self, summary: SystemSummary) -> dict[str, Any]:
        return {
            "recognised": money_documents(summary.money, "recognised"),
            "released_by_staff": money_documents(summary.money, "released"),
        }

    @extend_schema_field(LiabilityDocument)
    def get_liability(self, summary: SystemSummary) -> dict[str, Any]:
        return {
            "purchased_credits": summary.unspent,
            "unfunded_credits": summary.unfunded,
            "deferred": money_documents(summary.money, "deferred"),
        }


def money_documents(money: Sequence[Money], name: str) -> list[dict[str, Any]]:
    return [{"amount_minor": getattr(each, name), "currency": each.currency} for each in money]


class SystemSummaryView(ApiView):
    @operation("getSystemSummary", answers={200: SystemSummaryDocument})
    def get(self, request: Request) -> Response:
        """All wallets together: credits, how they are spread and used, revenue and liability."""
        return Response(SystemSummaryDocument(system_summary(timezone.now())).data)
