"""Ending holds: capturing what was used, releasing what was not."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of, idempotency_key
from accounts.models import User
from creditsite.apikit.fields import CreditsField, StrictChar, StrictSerializer, UserIdField
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import InvalidRequest
from ledger import errors
from ledger.api.balances import BalanceDocument, balance_left
from ledger.api.holds import HoldDocument, hold_named, hold_seen_by
from ledger.api.replays import answer
from ledger.api.spending import TEXTS, MovementDocument
from ledger.api.wallets import USER_ID, calls_as_staff
from ledger.choices import TransactionKind
from ledger.models import Hold
from ledger.queries.statements import transaction_of
from ledger.services.holds import capture_hold, end_hold_as_staff, release_hold
from ledger.services.posting import Posting

REASON = "Required of staff who end a hold that somebody else placed."


class CaptureRequest(StrictSerializer):
    amount = CreditsField(required=False, help_text="All of it if left out.")
    user_id = UserIdField(required=False, help_text=USER_ID)
    reason = StrictChar(max_length=500, required=False, help_text=REASON)


class ReleaseRequest(StrictSerializer):
    user_id = UserIdField(required=False, help_text=USER_ID)
    reason = StrictChar(max_length=500, required=False, help_text=REASON)


class ReleasedDocument(serializers.Serializer):
    hold = HoldDocument()
    balance = BalanceDocument()


class CapturedDocument(MovementDocument):
    hold = HoldDocument()


ENDING_REFUSALS = [
    errors.NotYourHold,
    errors.OwnWallet,
    errors.HoldNotOpen,
    errors.IdempotencyKeyReused,
]


class CaptureView(ApiView):
    throttle_scope = "spend"

    @operation(
        "captureHold",
        body=CaptureRequest,
        answers={200: CapturedDocument},
        refusals=[*ENDING_REFUSALS, errors.ExceedsHold],
        takes_key=True,
    )
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Spend what a hold reserved, or a part of it, and release the rest."""
        body = body_of(request, CaptureRequest)
        hold, posted = end_hold(request, hold_id, body, capture=body.get("amount"))
        transaction = transaction_of(
            posted,
            hold.wallet,
            kind=TransactionKind.USAGE,
            hold_id=hold.pk,
            feature=hold.feature,
            actor_id=hold.actor_id,
            occurred_at=hold.ended_at,
            **{name: getattr(hold, name) for name in TEXTS},
        )
        return answer(
            CapturedDocument,
            {
                "hold": hold,
                "transaction": transaction,
                "balance": balance_left(posted, hold.wallet),
            },
            posted,
        )


class ReleaseView(ApiView):
    throttle_scope = "spend"

    @operation(
        "releaseHold",
        body=ReleaseRequest,
        answers={200: ReleasedDocument},
        refusals=ENDING_REFUSALS,
        takes_key=True,
    )
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Give back all that a hold reserved."""
        body = body_of(request, ReleaseRequest)
        hold, posted = end_hold(request, hold_id, body, capture=0)
        return answer(
            ReleasedDocument, {"hold": hold, "balance": balance_left(posted, hold.wallet)}, posted
        )


def end_hold(
    request: Request, hold_id: UUID, body: Mapping[str, Any], *, capture: int | None
) -> tuple[Hold, Posting]:
    """
    End a hold as the caller may: their own, or as staff anybody's; return it as it ended.

    :raises InvalidRequest: staff give no reason, or the key is none.
    :raises HoldNotFound: there is no such hold for the caller.
    """
    key = idempotency_key(request)
    hold = hold_seen_by(request, hold_id, body.get("user_id"), "ledger.adjust_wallet")
    how: dict[str, Any] = {
        "caller": caller_of(request),
        "at": timezone.now(),
        "idempotency_key": key,
    }
    if hold.caller != how["caller"] and calls_as_staff(request, "ledger.adjust_wallet"):
        if "reason" not in body:
            raise InvalidRequest("Say why you end a hold that somebody else placed: reason.")
        reason, actor = body["reason"], cast("User", request.user)
        posted = end_hold_as_staff(hold=hold, capture=capture, reason=reason, actor=actor, **how)
    elif capture == 0:
        posted = release_hold(hold_id=hold.pk, actor_id=hold.actor_id, **how)
    else:
        posted = capture_hold(hold_id=hold.pk, amount=capture, actor_id=hold.actor_id, **how)
    return hold_named(hold.pk), posted
