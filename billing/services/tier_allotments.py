"""
The credits of tiers: awards, once a month for each wallet.

They come on the monthly day of the settings, by the scheduler; or before, when staff ask for them.
Where a subscription is paid for or runs, its slices come instead.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID

import structlog
from django.db import transaction

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind
from billing.errors import AlreadyAllotted, NotOnTier
from billing.models import Tier, TierAllotment
from billing.queries.plans import why_superseded
from billing.queries.tiers import Fallen, due_after, fallen_due, tier_of
from billing.services.rollover import expires_at, let_excess_expire
from billing.services.tiers import was_booked
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind, WalletStatus
from ledger.models import Entry, Wallet
from ledger.periods import months_after, period_of
from ledger.queries.settings import settings_at
from ledger.queries.wallets import is_own_wallet
from ledger.services import posting
from ledger.services.adjustments import refuse_own_wallet
from ledger.services.allotments import CALLER
from ledger.services.awards import expiry_of
from ledger.services.bookings import Asked
from ledger.services.posting import Header, Posting
from ledger.services.second_person import approval_waiting, booked_or_asked

ALLOT = "billing.allot_tier"
CHUNK = 500
Payload = Mapping[str, Any]

log = structlog.get_logger(__name__)


def register() -> None:
    """Let :mod:`accounts.services.approvals` know allotments of many credits."""
    approval_kind(
        ALLOT,
        permission=ALLOT,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: is_own_wallet(user, _tier(payload).wallet),
    )


# --- Before they are due --------------------------------------------------------------------------
@transaction.atomic
def allot_now(
    *,
    wallet: Wallet,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> Posting | Approval:
    """
    Give ``wallet`` what its tier brings for the month that it is, before that is due.

    Of many credits, return the approval that it waits for.

    :raises NotPermitted: ``actor`` may not give credits of tiers.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises NotOnTier: the wallet is on no tier.
    :raises AlreadyAllotted: it has had this month's, or a subscription brings them.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, ALLOT)
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("monthly allocation", wallet.pk)
    asked = Asked(actor, "", caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    posting.lock_wallet(wallet.pk)
    tier = tier_of(wallet)
    if tier is None and not was_booked(asked):
        raise NotOnTier
    period = period_of(at, settings_at(at).time_zone)
    asked = asked._replace(reason=words_of(tier, period) if tier else "")
    return booked_or_asked(
        lambda: _book(wallet, tier, period, asked),
        moved=tier.version.credits if tier else 0,
        kind=ALLOT,
        payload={"tier": tier.pk if tier else None, "period": f"{period:%Y-%m-%d}"},
        wallet=wallet,
        asked=asked,
    )


def _book(wallet: Wallet, tier: Tier | None, period: date, asked: Asked) -> Posting:
    """:raises AlreadyAllotted: the month was given, or a subscription brings it."""
    header = asked.header(TransactionKind.ALLOCATION)
    if tier is None or was_booked(asked):
        return posting.post_grant(  # Which answers what was done then.
            wallet=wallet.pk,
            amount=1,
            credit_type=CreditType.AWARD,
            source=GrantSource.PLAN,
            header=header,
        )
    if TierAllotment.objects.filter(wallet=wallet, period=period).exists():
        raise AlreadyAllotted("it has had them")
    if why := why_superseded(wallet.pk, period, asked.at):
        raise AlreadyAllotted(why)
    posted = _post(tier, period, header, asked.at)
    told = {"tier": tier.version.offer.code, "period": f"{period:%Y-%m}", "amount": posted.amount}
    asked.record("billing.tier.allotted", wallet, before={}, after=told)
    return posted


def execute(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    tier = _tier(payload)
    refuse_own_wallet(actor=approval.maker, wallet=tier.wallet)
    posting.lock_wallet(tier.wallet_id)
    tier.refresh_from_db(fields=["ends_at"])
    if tier.ends_at is not None:
        raise NotOnTier
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    posted = _book(tier.wallet, tier, date.fromisoformat(payload["period"]), asked)
    return {"transactions": [str(posted.transaction_id)]}


def describe(payload: Payload) -> str:
    tier = _tier(payload)
    return (
        f"Give {tier.wallet} {tier.version.credits:,} awarded credits of the tier"
        f" {tier.version.offer.code} for {payload['period'][:7]}"
    )


def _tier(payload: Payload) -> Tier:
    rows = Tier.objects.select_related("version__offer", "wallet__user", "wallet__team")
    return rows.get(pk=payload["tier"])


# --- When they are due ----------------------------------------------------------------------------
def allot_due_tiers(*, at: datetime) -> int:
    """
    Give what tiers bring for the months that have fallen due by ``at``; return how many were given.

    What was missed of the last twelve months is made up for. However many do so at once, each month
    is given once. A tier that fails is logged, left for the next time, and keeps no other from its
    credits.
    """
    fallen = fallen_due(at)
    given, last = 0, 0
    due = Tier.objects.filter(next_period__lte=fallen[-1].period).order_by("pk")
    while ids := list(due.filter(pk__gt=last).values_list("pk", flat=True)[:CHUNK]):
        for last in ids:
            try:
                given += _allot_due(last, fallen, at)
            except Exception:
                log.exception("billing.tier_failed", tier=last)
    return given


@transaction.atomic
def _allot_due(tier_id: int, fallen: list[Fallen], at: datetime) -> int:
    wallet_id = Tier.objects.values_list("wallet", flat=True).get(pk=tier_id)
    posting.lock_wallet(wallet_id)
    tier = Tier.objects.select_related("version__offer", "wallet").get(pk=tier_id)
    if tier.next_period is None:
        return 0
    months = [each for each in fallen if each.period >= tier.next_period]
    given = sum(_is_due(tier, each, at) and _give(tier, each.period, at) for each in months)
    is_over = tier.ends_at is not None and tier.ends_at <= at
    tier.next_period = None if is_over else months_after(fallen[-1].period, 1)
    tier.save(update_fields=["next_period"])
    return given


def _is_due(tier: Tier, month: Fallen, at: datetime) -> bool:
    """Return whether a month that fell due is to be given to the locked wallet of ``tier``."""
    was_on = tier.starts_at < month.at and (tier.ends_at is None or month.at < tier.ends_at)
    return (
        was_on
        and tier.wallet.status != WalletStatus.CLOSED
        and not TierAllotment.objects.filter(wallet=tier.wallet_id, period=month.period).exists()
        and not why_superseded(tier.wallet_id, month.period, month.at)
    )


def _give(tier: Tier, period: date, at: datetime) -> bool:
    key = keys.digest(CALLER, f"tier:{tier.wallet_id}:{period:%Y-%m}")
    header = Header(
        kind=TransactionKind.ALLOCATION,
        at=at,
        caller=CALLER,
        key=key,
        fingerprint=key,
        description=words_of(tier, period),
    )
    return _post(tier, period, header, at).is_new


def _post(tier: Tier, period: date, header: Header, at: datetime) -> Posting:
    """Give a month's credits; of those of earlier months stays what the plan lets stay."""
    before = Entry.objects.filter(transaction__tier_allotment__wallet=tier.wallet_id)
    let_excess_expire(
        wallet=tier.wallet_id,
        version=tier.version,
        grants=list(before.filter(grant__is_open=True).values_list("grant", flat=True)),
        at=at,
    )
    ends = (
        expires_at(tier.version, due_after(period, at), at),
        expiry_of(settings_at(at).award_expiry_days, at),
    )
    posted = posting.post_grant(
        wallet=tier.wallet_id,
        amount=tier.version.credits,
        credit_type=CreditType.AWARD,
        source=GrantSource.PLAN,
        expires_at=min((end for end in ends if end), default=None),
        header=header,
    )
    TierAllotment.objects.create(
        wallet_id=tier.wallet_id,
        period=period,
        tier=tier,
        transaction_id=cast("UUID", posted.transaction_id),
        allotted_at=at,
    )
    return posted


def words_of(tier: Tier, period: date) -> str:
    return f"{tier.version.name} for {period:%Y-%m}"
