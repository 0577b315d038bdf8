"""Holds: credits reserved for a running job, captured or released when it ends."""

from datetime import timedelta
from typing import cast
from uuid import UUID

import django_filters as filters
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import (
    caller_of,
    daily_cap_of,
    idempotency_key,
    is_service,
    subject_of,
)
from creditsite.apikit.fields import (
    StrictInteger,
)
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import NotFound
from ledger.api.charges import charge_in
from ledger.api.fields import MetadataDocument
from ledger.api.filters import filtered
from ledger.api.replays import answer
from ledger.api.spending import SPENDING_REFUSALS, TEXTS, DescribedChargeRequest
from ledger.api.transactions import OrNull
from ledger.api.wallets import (
    UserQuery,
    WalletQuery,
    calls_as_staff,
    may_read,
    spender_in,
    statement_wallet_in,
)
from ledger.choices import HoldStatus
from ledger.errors import HoldNotFound
from ledger.models import Hold
from ledger.services.holds import (
    DEFAULT_HOLD,
    LONGEST_HOLD,
    place_hold,
)


class HoldRequest(DescribedChargeRequest):
    expires_in = StrictInteger(
        min_value=1,
        max_value=int(LONGEST_HOLD.total_seconds()),
        default=int(DEFAULT_HOLD.total_seconds()),
        help_text="Seconds until it is released by itself.",
    )


class HoldDocument(serializers.Serializer):
    id = serializers.UUIDField()
    user_id = serializers.IntegerField(source="wallet.user_id", allow_null=True)
    team_id = serializers.UUIDField(source="wallet.team.public_id", allow_null=True)
    status = serializers.ChoiceField(choices=HoldStatus.choices)
    amount = serializers.IntegerField()
    captured = serializers.IntegerField()
    released = serializers.IntegerField()
    description = serializers.CharField(allow_blank=True)
    reference_id = OrNull()
    project = OrNull()
    metadata = MetadataDocument(allow_null=True)
    feature = OrNull()
    actor = serializers.IntegerField(source="actor_id", allow_null=True)
    created_at = serializers.DateTimeField(source="placed_at")
    expires_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class HoldListQuery(WalletQuery, ListQuery):
    status = serializers.ChoiceField(choices=HoldStatus.choices, required=False)


class HoldFilter(filters.FilterSet):
    status = filters.CharFilter("status")


class HoldListView(ApiView):
    query_class = HoldListQuery
    throttle_scope = "spend"

    @operation("listHolds", answers={200: page_of(HoldDocument)}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """The holds on a wallet, newest first."""
        rows = Hold.objects.filter(wallet=statement_wallet_in(request, self.query))
        return page_response(
            request,
            filtered(HoldFilter, self.query, rows.select_related("wallet__team")),
            by=["id"],
            query=self.query,
            document=HoldDocument,
        )

    @operation(
        "placeHold",
        body=HoldRequest,
        answers={201: HoldDocument},
        refusals=SPENDING_REFUSALS,
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Reserve credits for a running job. What is not captured in time is released."""
        at = timezone.now()
        body = body_of(request, HoldRequest)
        key = idempotency_key(request)
        charge = charge_in(body, at)
        spender = spender_in(request, body)
        expires_in = timedelta(seconds=body["expires_in"])
        texts = {name: body[name] for name in TEXTS if name in body}
        posted = place_hold(
            payers=spender.payers,
            charge=charge,
            caller=caller_of(request),
            at=at,
            actor_id=spender.user.pk,
            expires_in=expires_in,
            idempotency_key=key,
            daily_cap=daily_cap_of(request),
            **texts,
        )
        hold_id = cast("UUID", posted.hold_id)
        if posted.is_new:
            hold = Hold(
                id=hold_id,
                wallet=spender.wallet_of(posted),
                amount=charge.amount,
                feature=charge.feature,
                actor_id=spender.user.pk,
                placed_at=at,
                expires_at=at + expires_in,
                **texts,
            )
        else:
            hold = as_placed(hold_named(hold_id))
        return answer(HoldDocument, hold, posted, status=201)


class HoldView(ApiView):
    query_class = UserQuery

    @operation("getHold", answers={200: HoldDocument})
    def get(self, request: Request, hold_id: UUID) -> Response:
        """A hold, for whose wallet it is on and who placed it."""
        hold = hold_seen_by(request, hold_id, self.query.get("user_id"), "ledger.view_hold")
        return Response(HoldDocument(hold).data)


def hold_named(hold_id: UUID) -> Hold:
    """
    Return a hold as it is now.

    :raises HoldNotFound: there is none of that id.
    """
    hold = Hold.objects.select_related("wallet__team").filter(pk=hold_id).first()
    if hold is None:
        raise HoldNotFound
    return hold


def as_placed(hold: Hold) -> Hold:
    """Return ``hold`` as it was when it was placed, whatever became of it."""
    hold.status, hold.captured, hold.released, hold.ended_at = HoldStatus.OPEN, 0, 0, None
    return hold


def hold_seen_by(request: Request, hold_id: UUID, user_id: int | None, permission: str) -> Hold:
    """
    Return a hold for who placed it, whose wallet it is on, or staff with ``permission``.

    :raises HoldNotFound: there is no such hold for the caller.
    """
    hold = hold_named(hold_id)
    if hold.caller == caller_of(request) and user_id in (None, hold.actor_id):
        return hold
    if calls_as_staff(request, permission):
        return hold
    if is_service(request) and user_id is None:
        raise HoldNotFound
    user = subject_of(request, user_id)
    if hold.actor_id != user.pk and not may_read(user, hold.wallet):
        raise HoldNotFound
    return hold
