"""Transactions: as lists, and one in full."""

from typing import Any
from uuid import UUID

import django_filters as filters
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import subject_of
from creditsite.apikit.fields import PeriodQuery, QueryInteger, StrictChar
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from ledger.api.fields import MetadataDocument
from ledger.api.filters import filtered
from ledger.api.grants import GrantDocument
from ledger.api.wallets import (
    UserQuery,
    WalletQuery,
    calls_as_staff,
    may_read,
    statement_wallet_in,
    wallet_for_staff,
)
from ledger.choices import CreditType, TransactionKind
from ledger.errors import TransactionNotFound
from ledger.models import CreditTransaction, Wallet
from ledger.queries.grants import grants_at
from ledger.queries.statements import shown, transaction_named, transactions_of


class EntryDocument(serializers.Serializer):
    grant_id = serializers.UUIDField()
    credit_type = serializers.ChoiceField(choices=CreditType.choices)
    amount = serializers.IntegerField(help_text="Below zero when taken.")


class OrNull(serializers.CharField):
    """Text whose absence is null."""

    def __init__(self, **kwargs) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_representation(self, value: str) -> Any:
        return value or None


class TransactionDocument(serializers.Serializer):
    id = serializers.UUIDField()
    user_id = serializers.IntegerField(
        source="wallet.user_id", allow_null=True, help_text="Whose wallet moved."
    )
    team_id = serializers.UUIDField(
        source="wallet.team.public_id", allow_null=True, help_text="The team whose wallet moved."
    )
    transaction_type = serializers.ChoiceField(choices=TransactionKind.choices, source="kind")
    amount = serializers.IntegerField(help_text="Below zero when taken.")
    balance_after = serializers.IntegerField(help_text="Of the wallet's books.")
    debt = serializers.IntegerField(help_text="Debt opened; below zero when repaid.")
    description = serializers.CharField(allow_blank=True)
    reference_id = OrNull()
    project = OrNull()
    metadata = MetadataDocument(allow_null=True)
    feature = OrNull(help_text="Its code; several are joined by +.")
    actor = serializers.IntegerField(
        source="actor_id", allow_null=True, help_text="The id of the user who did it, if any."
    )
    reverses = serializers.UUIDField(
        source="reverses_id", allow_null=True, help_text="The transaction that it puts back."
    )
    hold_id = serializers.UUIDField(allow_null=True, help_text="The hold that it captured.")
    entries = EntryDocument(many=True, source="lines")
    occurred_at = serializers.DateTimeField(help_text="The world's time.")
    created_at = serializers.DateTimeField(source="recorded_at")


class FullTransactionDocument(TransactionDocument):
    grants = serializers.SerializerMethodField(help_text="Those of the entries, as they are now.")

    @extend_schema_field(GrantDocument(many=True))
    def get_grants(self, transaction: CreditTransaction) -> Any:
        named = {line.grant_id for line in transaction.lines}
        grants = grants_at(timezone.now()).filter(pk__in=named).order_by("effective_at", "id")
        return GrantDocument(grants, many=True).data


class TransactionListQuery(ListQuery, PeriodQuery):
    type = serializers.ChoiceField(choices=TransactionKind.choices, required=False)
    credit_type = serializers.ChoiceField(choices=CreditType.choices, required=False)
    feature = StrictChar(max_length=60, required=False, help_text="One of the features charged.")
    reference_id = StrictChar(max_length=200, required=False)
    min_amount = QueryInteger(required=False, help_text="Of the signed amount.")
    max_amount = QueryInteger(required=False, help_text="Of the signed amount.")


class WalletTransactionListQuery(WalletQuery, TransactionListQuery):
    """A wallet and what to list of it."""


class TransactionFilter(filters.FilterSet):
    type = filters.CharFilter("kind")
    credit_type = filters.CharFilter(method="moves")
    feature = filters.CharFilter(method="charges")
    reference_id = filters.CharFilter("reference_id")
    min_amount = filters.NumberFilter("amount", "gte")
    max_amount = filters.NumberFilter("amount", "lte")

    def moves(self, rows: QuerySet, name: str, credit_type: str) -> QuerySet:
        return rows.exclude(**{credit_type: 0})

    def charges(self, rows: QuerySet, name: str, code: str) -> QuerySet:
        codes = Concat(Value("+"), "feature", Value("+"))
        return rows.alias(codes=codes).filter(codes__contains=f"+{code}+")


def transaction_page(view: ApiView, request: Request, wallet: Wallet) -> Response:
    query = view.query
    rows = transactions_of(wallet.pk, since=query.get("since"), until=query.get("until"))
    return page_response(
        request,
        shown(filtered(TransactionFilter, query, rows)),
        by=["number"],
        query=query,
        document=TransactionDocument,
    )


class TransactionListView(ApiView):
    query_class = WalletTransactionListQuery

    @operation("listTransactions", answers={200: page_of(TransactionDocument)}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """A wallet's transactions, newest first."""
        return transaction_page(self, request, statement_wallet_in(request, self.query))


class HistoryView(TransactionListView):
    @operation("listHistory", answers={200: page_of(TransactionDocument)}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """The same as transactions, under the name that older clients know."""
        return super().get(request)


class UserTransactionListView(ApiView):
    query_class = TransactionListQuery

    @operation("listTransactionsOfUser", answers={200: page_of(TransactionDocument)})
    def get(self, request: Request, user_id: int) -> Response:
        """A user's transactions, newest first, as they see them."""
        return transaction_page(self, request, wallet_for_staff({"user_id": user_id}))


class TransactionView(ApiView):
    query_class = UserQuery

    @operation("getTransaction", answers={200: FullTransactionDocument})
    def get(self, request: Request, transaction_id: UUID) -> Response:
        """A transaction with its entries and grants, for whose wallet it moved and who did it."""
        staff = calls_as_staff(request, "ledger.view_credittransaction")
        user = None if staff else subject_of(request, self.query.get("user_id"))
        transaction = transaction_named(transaction_id)
        if user and not (transaction.actor_id == user.pk or may_read(user, transaction.wallet)):
            raise TransactionNotFound
        return Response(FullTransactionDocument(transaction).data)
