"""Reserving credits for a running job, and taking or giving them back when it ends."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from ledger import keys
from ledger.choices import TransactionKind
from ledger.errors import InvalidAmount
from ledger.models import Hold
from ledger.queries.wallets import Payers
from ledger.services import posting
from ledger.services.adjustments import refuse_own_wallet
from ledger.services.charges import Charge, refuse_withdrawn
from ledger.services.daily_caps import refuse_over_cap
from ledger.services.posting import LARGEST_AMOUNT, Header, Posting

DEFAULT_HOLD = timedelta(hours=1)
LONGEST_HOLD = timedelta(days=30)


def place_hold(
    *,
    payers: Payers,
    charge: Charge,
    caller: str,
    at: datetime,
    actor_id: int | None,
    expires_in: timedelta = DEFAULT_HOLD,
    idempotency_key: str | None = None,
    daily_cap: int | None = None,
    description: str = "",
    reference_id: str = "",
    project: str = "",
    metadata: dict[str, Any] | None = None,
) -> Posting:
    """
    Reserve ``charge`` of the first of ``payers`` that covers it, for ``expires_in``.

    :raises InvalidAmount: ``expires_in`` is not between a second and thirty days.
    :raises UnknownFeature: a feature of it is sold no longer, and the key is new.
    :raises DailyCapReached: ``caller`` would spend and hold more than ``daily_cap`` today.
    :raises InsufficientCredits: no payer covers the charge.
    :raises WalletPaused: the first payer is paused.
    :raises CreditsDisabled: credits are switched off.
    :raises WalletClosed: the first payer is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    if not timedelta(seconds=1) <= expires_in <= LONGEST_HOLD:
        raise InvalidAmount("A hold lasts between a second and thirty days.")
    key = keys.digest(caller, idempotency_key) if idempotency_key else keys.fresh(caller)
    refuse_withdrawn(charge, key)
    refuse_over_cap(caller=caller, cap=daily_cap, amount=charge.amount, key=key, at=at)
    return posting.place_hold(
        payers=payers.wallet_ids,
        amount=charge.amount,
        types=charge.types,
        expires_at=at + expires_in,
        header=Header(
            kind=TransactionKind.USAGE,
            at=at,
            caller=caller,
            key=key,
            fingerprint=charge.fingerprint(
                "hold",
                payers.subject,
                expires_in.total_seconds(),
                description,
                reference_id,
                project,
                metadata,
            ),
            actor_id=actor_id,
            feature=charge.feature,
            price_ids=charge.price_ids,
            quantities=charge.quantities,
            reference_id=reference_id,
            description=description,
            project=project,
            metadata=metadata,
        ),
    )


def capture_hold(
    *,
    hold_id: UUID,
    caller: str,
    at: datetime,
    actor_id: int | None,
    amount: int | None = None,
    by_staff: bool = False,
    idempotency_key: str | None = None,
) -> Posting:
    """
    Take ``amount`` credits of a hold, all when left out, and release the rest.

    :raises InvalidAmount: ``amount`` is not between 1 and 1,000,000,000.
    :raises HoldNotFound: there is no such hold.
    :raises NotYourHold: another caller placed it, and this is not ``by_staff``.
    :raises HoldNotOpen: it has ended or timed out.
    :raises ExceedsHold: ``amount`` is more than it holds.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    if amount is not None and not 1 <= amount <= LARGEST_AMOUNT:
        raise InvalidAmount(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    return _settle("capture", hold_id, amount, caller, at, actor_id, by_staff, idempotency_key)


def release_hold(
    *,
    hold_id: UUID,
    caller: str,
    at: datetime,
    actor_id: int | None,
    by_staff: bool = False,
    idempotency_key: str | None = None,
) -> Posting:
    """
    Give all credits of a hold back.

    :raises HoldNotFound: there is no such hold.
    :raises NotYourHold: another caller placed it, and this is not ``by_staff``.
    :raises HoldNotOpen: it has ended or timed out.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    return _settle("release", hold_id, 0, caller, at, actor_id, by_staff, idempotency_key)


@transaction.atomic
def end_hold_as_staff(
    *,
    hold: Hold,
    capture: int | None,
    reason: str,
    actor: User,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> Posting:
    """
    Capture ``capture`` credits of a hold that somebody else placed (``None``: all, 0: none).

    The rest is released. The movement stays that of whoever placed the hold; the record says who
    ended it, and why.

    :raises NotPermitted: ``actor`` may not adjust wallets.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises HoldNotOpen: it has ended or timed out.
    :raises ExceedsHold: ``capture`` is more than it holds.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    require(actor, "ledger.adjust_wallet")
    refuse_own_wallet(actor=actor, wallet=hold.wallet)
    act = "release" if capture == 0 else "capture"
    posted = _settle(act, hold.pk, capture, caller, at, hold.actor_id, True, idempotency_key)
    if posted.is_new:
        audit.record(
            f"ledger.hold.{act}d",
            actor=actor,
            target=hold,
            at=at,
            reason=reason,
            before={"held": hold.amount},
            after={"captured": -(posted.amount or 0)},
        )
    return posted


def _settle(
    act: str,
    hold_id: UUID,
    amount: int | None,
    caller: str,
    at: datetime,
    actor_id: int | None,
    by_staff: bool,
    idempotency_key: str | None,
) -> Posting:
    return posting.settle_hold(
        hold=hold_id,
        capture=amount,
        caller=None if by_staff else caller,
        header=Header(
            kind=TransactionKind.USAGE,
            at=at,
            caller=caller,
            key=keys.digest(caller, idempotency_key) if idempotency_key else keys.fresh(caller),
            fingerprint=keys.fingerprint(act, hold_id, amount),
            actor_id=actor_id,
        ),
    )
