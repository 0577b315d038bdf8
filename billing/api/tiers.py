"""Tiers: plans that staff put wallets on, without a subscription."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.approvals import WaitingDocument, waits
from accounts.api.callers import caller_of, idempotency_key
from accounts.errors import ApprovalEnded
from accounts.models import Approval
from billing import errors
from billing.models import Tier
from billing.queries.tiers import next_due_of
from billing.services.tier_allotments import allot_now
from billing.services.tiers import assign_tier, initialize_wallet
from creditsite.apikit.fields import CreditsField, StrictChar
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of, document_of
from creditsite.errors import NotFound
from ledger.api.adjustments import WalletRequest
from ledger.api.balances import BalanceDocument, balance_asked, balance_left
from ledger.api.replays import answer
from ledger.api.spending import MovementDocument
from ledger.api.transactions import TransactionDocument
from ledger.api.wallets import wallet_for_staff
from ledger.errors import BalanceTooLarge, IdempotencyKeyReused, OwnWallet, WalletClosed
from ledger.models import CreditTransaction, Wallet
from ledger.queries.statements import transaction_named
from ledger.services.posting import Posting

# What older clients call a tier, where a plan has another code.
OLD_NAMES = {"enterprise": "enterprise-20k"}
REFUSALS = [NotFound, OwnWallet, WalletClosed, ApprovalEnded]


class TierField(StrictChar):
    """The code of a plan."""

    def __init__(self) -> None:
        help_text = "The code of a plan; `enterprise` is that of 20,000 credits, `enterprise-20k`."
        super().__init__(max_length=40, help_text=help_text)

    def to_internal_value(self, data: Any) -> str:
        code = super().to_internal_value(data)
        return OLD_NAMES.get(code, code)


class TierRequest(WalletRequest):
    tier = TierField()


class InitializeRequest(TierRequest):
    initial_balance = CreditsField(
        min_value=0, default=0, help_text="Awarded credits to begin with."
    )


class TierDocument(serializers.Serializer):
    user_id = serializers.IntegerField(source="wallet.user_id", allow_null=True)
    team_id = serializers.UUIDField(source="wallet.team.public_id", allow_null=True)
    tier = serializers.CharField(source="version.offer.code")
    name = serializers.CharField(source="version.name")
    credits = serializers.IntegerField(source="version.credits", help_text="Every month.")
    features = serializers.ListField(source="version.features", child=serializers.CharField())
    since = serializers.DateTimeField(source="starts_at")
    next_allocation = serializers.DateTimeField(
        source="next_at", help_text="When its next credits come, unless they are asked for before."
    )


class InitializedDocument(serializers.Serializer):
    tier = TierDocument()
    transaction = TransactionDocument(allow_null=True, help_text="Of the initial balance.")
    balance = BalanceDocument()


class InitializeView(ApiView):
    @operation(
        "initializeCredits",
        body=InitializeRequest,
        answers={201: InitializedDocument, 202: WaitingDocument},
        refusals=[
            *REFUSALS,
            errors.HasCredits,
            errors.NotForSale,
            BalanceTooLarge,
            IdempotencyKeyReused,
        ],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Put a wallet without credits on a tier, and give it some to begin with."""
        body = body_of(request, InitializeRequest)
        act = act_of(request, body)
        amount = body["initial_balance"]
        done = initialize_wallet(
            **act, plan=body["tier"], initial_balance=amount, reason=f"tier {body['tier']}"
        )
        if isinstance(done, Approval):
            return waits(done)
        posted, wallet = done.posted, act["wallet"]
        document = {
            "tier": shown(done.tier, wallet, act["at"]),
            "transaction": posted and transaction_booked(posted),
            "balance": balance_left(posted, wallet) if posted else balance_asked(wallet, act["at"]),
        }
        if posted:
            return answer(InitializedDocument, document, posted, status=201)
        return Response(document_of(InitializedDocument, document), 201)


class TierView(ApiView):
    @operation(
        "setTier",
        body=TierRequest,
        answers={200: TierDocument, 202: WaitingDocument},
        refusals=[*REFUSALS, errors.NotForSale, IdempotencyKeyReused],
        takes_key=True,
    )
    def put(self, request: Request) -> Response:
        """Put a wallet on a tier. It moves nothing; credits come with the next month."""
        body = body_of(request, TierRequest)
        act = act_of(request, body)
        done = assign_tier(**act, plan=body["tier"], reason=f"tier {body['tier']}")
        if isinstance(done, Approval):
            return waits(done)
        return Response(document_of(TierDocument, shown(done, act["wallet"], act["at"])))


class MonthlyAllocationView(ApiView):
    @operation(
        "allocateMonth",
        body=WalletRequest,
        answers={200: MovementDocument, 202: WaitingDocument},
        refusals=[*REFUSALS, errors.NotOnTier, errors.AlreadyAllotted, IdempotencyKeyReused],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Give a wallet the credits of its tier for this month before they are due, once."""
        act = act_of(request, body_of(request, WalletRequest))
        posted = allot_now(**act)
        if isinstance(posted, Approval):
            return waits(posted)
        movement = {
            "transaction": transaction_booked(posted),
            "balance": balance_left(posted, act["wallet"]),
        }
        return answer(MovementDocument, movement, posted)


def act_of(request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return who acts on which wallet, as the services take it."""
    # A PUT is once by its nature, and needs no key.
    needs_key = request.method == "POST" or "HTTP_IDEMPOTENCY_KEY" in request.META
    key = idempotency_key(request) if needs_key else None
    return {
        "wallet": wallet_for_staff(body),
        "actor": request.user,
        "caller": caller_of(request),
        "at": timezone.now(),
        "idempotency_key": key,
    }


def transaction_booked(posted: Posting) -> CreditTransaction:
    return transaction_named(cast("UUID", posted.transaction_id))


def shown(tier: Tier, wallet: Wallet, at: datetime) -> Tier:
    """Return a tier as its document has it."""
    tier.wallet = wallet
    tier.next_at = next_due_of(tier, at)  # type: ignore[attr-defined]
    return tier
