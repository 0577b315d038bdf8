"""
Plans that wallets are on without Stripe. To put one on a tier moves nothing: its credits come every
month, see ``tier_allotments``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.db import transaction

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from billing.errors import HasCredits, NotOnTier
from billing.models import OfferVersion, Tier
from billing.queries.tiers import latest_tier_of, plan_version, tier_of
from ledger import errors, keys
from ledger.choices import CreditType, WalletStatus
from ledger.models import CreditTransaction, Wallet
from ledger.periods import period_of
from ledger.queries.balances import balance_of
from ledger.queries.settings import settings_at
from ledger.queries.wallets import is_own_wallet
from ledger.services import posting
from ledger.services.adjustments import refuse_own_wallet
from ledger.services.bookings import Asked, book_addition
from ledger.services.posting import Posting
from ledger.services.second_person import approval_waiting

ASSIGN = "billing.assign_tier"
INITIALIZE = "billing.initialize_wallet"
Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Initialized:
    """What became of a wallet that was initialized; no posting where no credits were named."""

    tier: Tier
    posted: Posting | None


def register() -> None:
    """Let :mod:`accounts.services.approvals` know tiers of many credits."""
    for kind, execute in {ASSIGN: execute_assignment, INITIALIZE: execute_initialization}.items():
        approval_kind(
            kind,
            permission=ASSIGN,
            execute=execute,
            describe=describe,
            concerns=lambda payload, user: is_own_wallet(user, _wallet(payload)),
            state=state,
        )


@transaction.atomic
def assign_tier(
    *,
    wallet: Wallet,
    plan: str,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> Tier | Approval:
    """
    Put ``wallet`` on the plan of that code, as it is sold now, instead of the tier it is on.

    One that brings many credits a month waits for a second person: return the approval. Who is on
    that version of the plan already stays as they are.

    :raises NotPermitted: ``actor`` may not assign tiers.
    :raises PlanNotFound: there is no such plan.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises NotForSale: the plan is not sold any more.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, ASSIGN)
    version = plan_version(plan)
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("tier", reason, wallet.pk, plan)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    current = tier_of(wallet)
    if current and current.version_id == version.pk:
        return current
    if actor is None or not takes_two(version, at):
        return _put_on(wallet, version, asked)
    return _ask(ASSIGN, wallet, version, 0, asked)


@transaction.atomic
def end_tier(*, wallet: Wallet, reason: str, actor: User | None, at: datetime) -> None:
    """
    Take ``wallet`` off its tier; credits that it was given stay.

    :raises NotPermitted: ``actor`` may not assign tiers.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises NotOnTier: it is on none.
    """
    require(actor, ASSIGN)
    refuse_own_wallet(actor=actor, wallet=wallet)
    posting.lock_wallet(wallet.pk)
    asked = Asked(actor, reason, "", None, keys.fingerprint("end tier", wallet.pk), at)
    tier = _end_current(wallet, asked)
    if tier is None:
        raise NotOnTier
    asked.record("billing.tier.ended", wallet, before=facts(tier), after={"tier": None})


@transaction.atomic
def initialize_wallet(
    *,
    wallet: Wallet,
    plan: str,
    initial_balance: int,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> Initialized | Approval:
    """
    Put a wallet without credits on a plan, and give it ``initial_balance`` awarded ones.

    Many credits, at once or every month, wait for a second person: return the approval.

    :raises NotPermitted: ``actor`` may not assign tiers or not adjust wallets.
    :raises PlanNotFound: there is no such plan.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises NotForSale: the plan is not sold any more.
    :raises HasCredits: the wallet has credits already.
    :raises BalanceTooLarge: that is more than staff may bring a wallet to.
    :raises WalletClosed: the wallet is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, ASSIGN)
    require(actor, "ledger.adjust_wallet")
    version = plan_version(plan)
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("initialize", reason, wallet.pk, plan, initial_balance)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    with transaction.atomic():
        done = _initialize(wallet, version, initial_balance, asked)
        is_repeat = done.posted is not None and not done.posted.is_new
        many = initial_balance > settings_at(at).approval_adjustment_above
        is_for_two = actor is not None and not is_repeat and (many or takes_two(version, at))
        transaction.set_rollback(is_for_two)
    return _ask(INITIALIZE, wallet, version, initial_balance, asked) if is_for_two else done


def takes_two(version: OfferVersion, at: datetime) -> bool:
    """Return whether a plan brings so many credits that a tier of it waits for a second person."""
    return version.credits > settings_at(at).approval_adjustment_above


def _initialize(wallet: Wallet, version: OfferVersion, amount: int, asked: Asked) -> Initialized:
    posting.lock_wallet(wallet.pk)
    is_repeat = bool(amount) and was_booked(asked)
    if not is_repeat and balance_of(wallet.pk, asked.at).current:
        raise HasCredits
    posted = None
    if amount:
        posted = book_addition(
            wallet=wallet,
            amount=amount,
            credit_type=CreditType.AWARD,
            expires_at=None,
            asked=asked,
        )
    tier = latest_tier_of(wallet) if is_repeat else tier_of(wallet)
    if tier is None or not (is_repeat or tier.version_id == version.pk):
        tier = _put_on(wallet, version, asked)
    return Initialized(tier, posted)


def was_booked(asked: Asked) -> bool:
    """Return whether the books know the key of a request."""
    if asked.idempotency_key is None:
        return False
    key = keys.digest(asked.caller, asked.idempotency_key)
    return CreditTransaction.objects.filter(key=key).exists()


def _put_on(wallet: Wallet, version: OfferVersion, asked: Asked) -> Tier:
    posting.lock_wallet(wallet.pk)
    if Wallet.objects.get(pk=wallet.pk).status == WalletStatus.CLOSED:
        raise errors.WalletClosed
    before = _end_current(wallet, asked)
    starts_at = max(asked.at, before.starts_at) if before else asked.at
    tier = Tier.objects.create(
        wallet=wallet,
        version=version,
        starts_at=starts_at,
        assigned_by=asked.actor,
        next_period=period_of(asked.at, settings_at(asked.at).time_zone),
    )
    asked.record("billing.tier.assigned", wallet, before=facts(before), after=facts(tier))
    return tier


def _end_current(wallet: Wallet, asked: Asked) -> Tier | None:
    """End the tier that a locked wallet is on, and return it."""
    tier = tier_of(wallet)
    if tier:
        tier.ends_at, tier.ended_by = max(asked.at, tier.starts_at), asked.actor
        tier.save(update_fields=["ends_at", "ended_by"])
    return tier


def facts(tier: Tier | None) -> dict[str, object]:
    """Return a tier as the record keeps it."""
    if tier is None:
        return {"tier": None}
    version = tier.version
    return {"tier": version.offer.code, "version": version.number, "credits": version.credits}


# --- With a second person -------------------------------------------------------------------------
def _ask(kind: str, wallet: Wallet, version: OfferVersion, amount: int, asked: Asked) -> Approval:
    return request_approval(
        kind=kind,
        payload={"wallet": wallet.pk, "version": version.pk, "amount": amount},
        maker=cast("User", asked.actor),
        reason=asked.reason,
        at=asked.at,
        about=wallet.user,
        caller=asked.caller,
        idempotency_key=asked.idempotency_key,
        fingerprint=asked.fingerprint,
    )


def execute_assignment(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    wallet = _wallet(payload)
    refuse_own_wallet(actor=approval.maker, wallet=wallet)
    return {"tier": _put_on(wallet, _version(payload), _asked(approval, at)).pk}


def execute_initialization(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    wallet = _wallet(payload)
    refuse_own_wallet(actor=approval.maker, wallet=wallet)
    require(approval.maker, "ledger.adjust_wallet")
    done = _initialize(wallet, _version(payload), payload["amount"], _asked(approval, at))
    transactions = [str(done.posted.transaction_id)] if done.posted else []
    return {"tier": done.tier.pk, "transactions": transactions}


def describe(payload: Payload) -> str:
    version = _version(payload)
    sentence = (
        f"Put {_wallet(payload)} on the tier {version.offer.code}: {version.credits:,} awarded"
        " credits every month"
    )
    return f"{sentence}, and {payload['amount']:,} at once" if payload["amount"] else sentence


def state(payload: Payload, at: datetime) -> list[str]:
    wallet = _wallet(payload)
    tier = tier_of(wallet)
    on = f"the tier {tier.version.offer.code}" if tier else "no tier"
    return [f"{wallet} is on {on}, and has {balance_of(wallet.pk, at).current:,} credits."]


def _asked(approval: Approval, at: datetime) -> Asked:
    return Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )


def _wallet(payload: Payload) -> Wallet:
    return Wallet.objects.with_owner().get(pk=payload["wallet"])


def _version(payload: Payload) -> OfferVersion:
    return OfferVersion.objects.select_related("offer").get(pk=payload["version"])
