"""All that a person's account page shows of credits and money, in one answer."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import subject_of
from accounts.models import User
from billing.api.payments import PaymentDocument
from billing.queries.payments import payments_of
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from creditsite.site.balances import AccountDocument, account_document
from ledger.api.transactions import TransactionDocument
from ledger.api.wallets import UserQuery
from ledger.choices import TransactionKind
from ledger.queries.balances import balance_of
from ledger.queries.statements import shown, transactions_of
from ledger.queries.wallets import pool_of, wallet_of

RECENT = 5
USAGE_SINCE = timedelta(days=30)


class RoleAllotmentDocument(serializers.Serializer):
    role = serializers.CharField(source="code", help_text="Its code.")
    name = serializers.CharField()
    credits = serializers.IntegerField(
        source="allotment", help_text="Awarded once to who has the role."
    )


class TeamPoolDocument(serializers.Serializer):
    team_id = serializers.UUIDField()
    name = serializers.CharField()
    is_owner = serializers.BooleanField(help_text="Whether the pool is the user's own wallet.")
    available = serializers.IntegerField(help_text="Of the pool, for all who share it.")


class OverviewDocument(serializers.Serializer):
    balance = AccountDocument()
    tier = serializers.CharField(allow_null=True)
    role_allotment = RoleAllotmentDocument(allow_null=True)
    subscription = serializers.CharField(allow_null=True)
    recent_payments = PaymentDocument(many=True)
    recent_usage = TransactionDocument(many=True)
    team_pools = TeamPoolDocument(many=True)


class OverviewView(ApiView):
    query_class = UserQuery

    @operation("getBillingOverview", answers={200: OverviewDocument}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """
        Balance, plan, what the role brought, the last payments and what was used last (of the last
        thirty days), and the pools that the user may spend from or lets others spend from.
        """
        user = subject_of(request, self.query.get("user_id"))
        return Response(overview_of(user, timezone.now()))


def overview_of(user: User, at: datetime) -> dict[str, Any]:
    wallet = wallet_of(user)
    account = account_document(balance_of(wallet.pk, at))
    usage = transactions_of(wallet.pk, since=at - USAGE_SINCE).filter(kind=TransactionKind.USAGE)
    payments = payments_of(user).order_by("-created_at", "-pk")[:RECENT]
    used = shown(usage.order_by("-number")[:RECENT])
    return {
        "balance": account,
        "tier": account["tier"],
        "role_allotment": RoleAllotmentDocument(user.role).data if user.role else None,
        "subscription": account["subscription"],
        "recent_payments": PaymentDocument(payments, many=True).data,
        "recent_usage": TransactionDocument(used, many=True).data,
        "team_pools": TeamPoolDocument(team_pools_of(user, at), many=True).data,
    }


def team_pools_of(user: User, at: datetime) -> list[dict[str, Any]]:
    seats = user.memberships.select_related("team__owner").order_by("pk")
    owned = getattr(user, "owned_team", None)
    teams = [*([owned] if owned else []), *(seat.team for seat in seats)]
    return [
        {
            "team_id": team.public_id,
            "name": team.name,
            "is_owner": team == owned,
            "available": balance_of(pool_of(team).pk, at).available,
        }
        for team in teams
    ]
