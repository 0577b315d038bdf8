"""What staff do to a wallet: add, remove, pause, resume."""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.approvals import WaitingDocument, waits
from accounts.api.callers import caller_of, idempotency_key
from accounts.errors import ApprovalEnded
from accounts.models import Approval
from creditsite.apikit.fields import (
    CreditsField,
    StrictChar,
    StrictDateTime,
    StrictSerializer,
    StrictUUID,
    UserIdField,
)
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import Conflict, NotFound
from ledger import errors
from ledger.api.balances import BalanceDocument, balance_asked, balance_left
from ledger.api.replays import answer
from ledger.api.spending import MovementDocument
from ledger.api.wallets import wallet_for_staff
from ledger.choices import CreditType, TransactionKind
from ledger.models import Wallet
from ledger.queries.statements import transaction_of
from ledger.services.adjustments import (
    add_credits,
    pause_wallet,
    remove_credits,
    resume_wallet,
)
from ledger.services.bookings import KIND_OF_GRANT
from ledger.services.posting import Posting

# What POST /api/credits/add calls them, and what they are.
TYPES_OF_ENTRY = {"allocation": CreditType.AWARD, "purchase": CreditType.PURCHASE}


class WalletRequest(StrictSerializer):
    user_id = UserIdField(required=False, help_text="Whose wallet.")
    team_id = StrictUUID(required=False, help_text="Instead of user_id: the team whose pool.")

    rules = {"oneOf": [{"required": ["user_id"]}, {"required": ["team_id"]}]}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("user_id" in attrs) == ("team_id" in attrs):
            raise serializers.ValidationError({"user_id": ["Send either user_id or team_id."]})
        return attrs


class StaffRequest(WalletRequest):
    reason = StrictChar(max_length=500, help_text="Kept in the record, and shown to the user.")


class AddRequest(StaffRequest):
    amount = CreditsField()
    credit_type = serializers.ChoiceField(choices=CreditType.choices, default=CreditType.AWARD)
    expires_at = StrictDateTime(required=False)


class EntryRequest(WalletRequest):
    amount = CreditsField()
    type = serializers.ChoiceField(
        choices=list(TYPES_OF_ENTRY),
        help_text="An allocation is an award; a purchase is unfunded: no payment stands behind it.",
    )
    description = StrictChar(
        max_length=500, help_text="The reason: kept in the record, and shown to the user."
    )


class RemoveRequest(StaffRequest):
    amount = CreditsField()
    credit_type = serializers.ChoiceField(
        choices=CreditType.choices,
        required=False,
        help_text="All, in burn-down order, if left out.",
    )


MOVING_REFUSALS = [
    errors.OwnWallet,
    errors.WalletClosed,
    errors.IdempotencyKeyReused,
    ApprovalEnded,
    NotFound,
]


class AddView(ApiView):
    @operation(
        "addCredits",
        body=AddRequest,
        answers={200: MovementDocument, 202: WaitingDocument},
        refusals=[*MOVING_REFUSALS, errors.BalanceTooLarge],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Give credits. Purchased ones are entered as unfunded: no payment stands behind them."""
        return added(request, body_of(request, AddRequest))


class EntryView(ApiView):
    @operation(
        "enterCredits",
        body=EntryRequest,
        answers={200: MovementDocument, 202: WaitingDocument},
        refusals=[*MOVING_REFUSALS, errors.BalanceTooLarge],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Enter an allocation or a purchase by hand: as addCredits does, under older names."""
        body = body_of(request, EntryRequest)
        credit_type = TYPES_OF_ENTRY[body["type"]]
        return added(request, {**body, "credit_type": credit_type, "reason": body["description"]})


class RemoveView(ApiView):
    @operation(
        "removeCredits",
        body=RemoveRequest,
        answers={200: MovementDocument, 202: WaitingDocument},
        refusals=[*MOVING_REFUSALS, errors.InsufficientCredits],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Take credits. What holds pin leaves when they end; the transaction is what left now."""
        body = body_of(request, RemoveRequest)
        credit_type = CreditType(body["credit_type"]) if "credit_type" in body else None
        act = act_of(request, body)
        posted = remove_credits(**act, amount=body["amount"], credit_type=credit_type)
        return moved(act, posted, TransactionKind.ADJUSTMENT)


class PauseView(ApiView):
    @operation(
        "pauseWallet",
        body=StaffRequest,
        answers={200: BalanceDocument},
        refusals=[errors.OwnWallet, Conflict, NotFound],
    )
    def post(self, request: Request) -> Response:
        """Stop spends and new holds of a wallet. Captures and releases go on."""
        return change_status(request, pause_wallet)


class ResumeView(ApiView):
    @operation(
        "resumeWallet",
        body=StaffRequest,
        answers={200: BalanceDocument},
        refusals=[errors.OwnWallet, Conflict, NotFound],
    )
    def post(self, request: Request) -> Response:
        """Let a paused wallet spend again."""
        return change_status(request, resume_wallet)


def act_of(request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return who does what to which wallet, as the services take it."""
    key = idempotency_key(request)
    return {
        "wallet": wallet_for_staff(body),
        "reason": body["reason"],
        "actor": request.user,
        "caller": caller_of(request),
        "at": timezone.now(),
        "idempotency_key": key,
    }


def added(request: Request, body: Mapping[str, Any]) -> Response:
    credit_type = CreditType(body["credit_type"])
    act = act_of(request, body)
    posted = add_credits(
        **act,
        amount=body["amount"],
        credit_type=credit_type,
        expires_at=body.get("expires_at"),
    )
    return moved(act, posted, KIND_OF_GRANT[credit_type])


def moved(act: Mapping[str, Any], posted: Posting | Approval, kind: TransactionKind) -> Response:
    if isinstance(posted, Approval):
        return waits(posted)
    wallet: Wallet = act["wallet"]
    transaction = transaction_of(
        posted,
        wallet,
        kind=kind,
        description=act["reason"],
        actor_id=act["actor"].pk,
        occurred_at=act["at"],
    )
    movement = {"transaction": transaction, "balance": balance_left(posted, wallet)}
    return answer(MovementDocument, movement, posted)


def change_status(request: Request, change: Callable[..., None]) -> Response:
    body = body_of(request, StaffRequest)
    wallet, at = wallet_for_staff(body), timezone.now()
    change(wallet=wallet, reason=body["reason"], actor=request.user, at=at)
    return Response(BalanceDocument(balance_asked(wallet, at)).data)
