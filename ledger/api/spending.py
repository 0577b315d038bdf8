"""Spending: one request, one charge, taken whole or not at all."""

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of, daily_cap_of, idempotency_key
from creditsite.apikit.fields import StrictChar
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import NotFound
from ledger import errors
from ledger.api.balances import BalanceDocument, balance_left
from ledger.api.charges import ChargeRequest, charge_in
from ledger.api.fields import MetadataField
from ledger.api.replays import answer
from ledger.api.transactions import TransactionDocument
from ledger.api.wallets import spender_in
from ledger.choices import TransactionKind
from ledger.queries.statements import transaction_of
from ledger.services.spending import spend_credits

TEXTS = ("description", "reference_id", "project", "metadata")
SPENDING_REFUSALS = [
    errors.InsufficientCredits,
    errors.WalletPaused,
    errors.CreditsDisabled,
    errors.WalletClosed,
    errors.IdempotencyKeyReused,
    errors.DailyCapReached,
    NotFound,
]


class DescribedChargeRequest(ChargeRequest):
    description = StrictChar(max_length=500, help_text="What for, in words for the user.")
    reference_id = StrictChar(max_length=200, required=False, help_text="Your own id of it.")
    project = StrictChar(max_length=200, required=False)
    metadata = MetadataField(required=False)


class MovementDocument(serializers.Serializer):
    transaction = TransactionDocument()
    balance = BalanceDocument()


class DeductView(ApiView):
    throttle_scope = "spend"

    @operation(
        "deductCredits",
        body=DescribedChargeRequest,
        answers={200: MovementDocument},
        refusals=SPENDING_REFUSALS,
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """
        Spend credits: of the team named, else of the user, else of a team they have a seat in.

        Whoever of them covers the whole amount pays; a charge is never split.
        """
        at = timezone.now()
        body = body_of(request, DescribedChargeRequest)
        key = idempotency_key(request)
        charge = charge_in(body, at)
        spender = spender_in(request, body)
        texts = {name: body[name] for name in TEXTS if name in body}
        posted = spend_credits(
            payers=spender.payers,
            charge=charge,
            caller=caller_of(request),
            at=at,
            actor_id=spender.user.pk,
            idempotency_key=key,
            daily_cap=daily_cap_of(request),
            **texts,
        )
        wallet = spender.wallet_of(posted)
        transaction = transaction_of(
            posted,
            wallet,
            kind=TransactionKind.USAGE,
            feature=charge.feature,
            actor_id=spender.user.pk,
            occurred_at=at,
            **texts,
        )
        return answer(
            MovementDocument,
            {"transaction": transaction, "balance": balance_left(posted, wallet)},
            posted,
        )
