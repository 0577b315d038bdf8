"""What staff do about subscriptions of others, and about the months that are due."""

from datetime import datetime
from typing import Protocol

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.models import OfferPrice, Subscription, SubscriptionChange
from billing.services.slices import post_due_slices
from billing.services.subscription_changes import MANAGE, change_plan
from billing.services.tier_allotments import allot_due_tiers
from ledger.errors import OwnWallet

POST = "billing.post_slice"


class Change(Protocol):
    """Ends a subscription, now or later, or keeps it."""

    def __call__(
        self,
        *,
        subscription: Subscription,
        actor: User | None,
        caller: str,
        idempotency_key: str,
        reason: str = "",
    ) -> SubscriptionChange: ...


def change_for_user(
    change: Change,
    *,
    subscription: Subscription,
    reason: str,
    actor: User,
    idempotency_key: str,
) -> SubscriptionChange:
    """
    End or keep somebody else's subscription, with a reason; refusals as of ``change``.

    :raises NotPermitted: ``actor`` may not manage subscriptions.
    :raises OwnWallet: it is their own.
    """
    refuse_own_subscription(actor, subscription)
    return change(
        subscription=subscription,
        actor=actor,
        caller=f"user:{actor.pk}",
        idempotency_key=idempotency_key,
        reason=reason,
    )


def change_plan_for_user(
    *,
    subscription: Subscription,
    price: OfferPrice,
    reason: str,
    actor: User,
    idempotency_key: str,
) -> SubscriptionChange:
    """
    Put somebody else's subscription on another plan; refusals as of ``change_plan``.

    :raises NotPermitted: ``actor`` may not manage subscriptions.
    :raises OwnWallet: it is their own.
    """
    refuse_own_subscription(actor, subscription)
    return change_plan(
        subscription=subscription,
        price=price,
        actor=actor,
        caller=f"user:{actor.pk}",
        idempotency_key=idempotency_key,
        reason=reason,
    )


def refuse_own_subscription(actor: User, subscription: Subscription) -> None:
    """
    Refuse who may not manage subscriptions, or would manage their own: that is for its page.

    :raises NotPermitted: they may not.
    :raises OwnWallet: it is theirs.
    """
    require(actor, MANAGE)
    if subscription.user_id == actor.pk:
        raise OwnWallet


def post_due(*, reason: str, actor: User | None, at: datetime) -> tuple[int, int]:
    """
    Give at once what is due of months that are paid for and of tiers; return how many of each.

    :raises NotPermitted: ``actor`` may not post months.
    """
    require(actor, POST)
    slices, tiers = post_due_slices(clock=lambda: at), allot_due_tiers(at=at)
    with transaction.atomic():
        audit.record(
            "billing.slices.posted",
            actor=actor,
            target="months that were due",
            at=at,
            reason=reason,
            after={"months": slices, "months_of_tiers": tiers},
        )
    return slices, tiers
