"""Summaries of a wallet, for its owner and for staff."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from creditsite.apikit.fields import PeriodQuery
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from ledger.api.grants import GrantDocument
from ledger.api.wallets import WalletPeriodQuery, statement_wallet_in, wallet_for_staff
from ledger.models import Wallet
from ledger.queries.summaries import Summary, summary_of

PERIOD = timedelta(days=30)
LONGEST_PERIOD = timedelta(days=366)


class ByTypeDocument(serializers.Serializer):
    award = serializers.IntegerField()
    purchase = serializers.IntegerField()
    partner = serializers.IntegerField()
    total = serializers.IntegerField()


class FeatureSpendDocument(serializers.Serializer):
    feature = serializers.CharField(allow_null=True, help_text="Null: credits without a feature.")
    credits = serializers.IntegerField()
    count = serializers.IntegerField(help_text="Charges.")


class DaySpendDocument(serializers.Serializer):
    date = serializers.DateField(help_text="In UTC.")
    credits = serializers.IntegerField()


class SummaryDocument(serializers.Serializer):
    """`granted` − `spent` − `expired` + `refunded` + `other` is the change of each type."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    granted = ByTypeDocument()
    spent = ByTypeDocument()
    expired = ByTypeDocument()
    refunded = ByTypeDocument(help_text="Given back: by disputes and reversals.")
    other = ByTypeDocument(help_text="Corrections by staff, clawbacks, debts; net.")
    spend_by_feature = serializers.SerializerMethodField()
    spend_by_day = serializers.SerializerMethodField()
    grants = GrantDocument(many=True, help_text="Current ones, those that expire first first.")
    available = serializers.IntegerField()
    burn_rate = serializers.DecimalField(
        max_digits=20, decimal_places=2, help_text="Credits spent a day in the period."
    )
    days_left = serializers.IntegerField(
        allow_null=True, help_text="How long the available credits last at that rate."
    )

    @extend_schema_field(FeatureSpendDocument(many=True))
    def get_spend_by_feature(self, summary: Summary) -> list[dict[str, Any]]:
        spent = sorted(summary.by_feature.items(), key=lambda item: (-item[1][0], item[0]))
        return [
            {"feature": code or None, "credits": credits, "count": count}
            for code, (credits, count) in spent
        ]

    @extend_schema_field(DaySpendDocument(many=True))
    def get_spend_by_day(self, summary: Summary) -> list[dict[str, Any]]:
        return [{"date": day, "credits": credits} for day, credits in summary.by_day.items()]


def summarise(wallet: Wallet, query: dict[str, Any]) -> Response:
    at = timezone.now()
    until = query.get("until", max(at, query.get("since", at)))
    since = query.get("since", until - PERIOD)
    if until - since > LONGEST_PERIOD:
        raise serializers.ValidationError({"from": ["At most 366 days are summed up at a time."]})
    summary = summary_of(wallet.pk, since=since, until=until, at=at)
    return Response(SummaryDocument(summary).data)


class SummaryView(ApiView):
    query_class = WalletPeriodQuery

    @operation("getSummary", answers={200: SummaryDocument}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """What came in and where it went, in the last 30 days if no period is named."""
        return summarise(statement_wallet_in(request, self.query), self.query)


class UserSummaryView(ApiView):
    query_class = PeriodQuery

    @operation("getSummaryOfUser", answers={200: SummaryDocument})
    def get(self, request: Request, user_id: int) -> Response:
        """What came in and where it went for a user, as they see it."""
        return summarise(wallet_for_staff({"user_id": user_id}), self.query)
