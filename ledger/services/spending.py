"""Spending: one engine call, and nothing beside it."""

from datetime import datetime
from typing import Any

from ledger import keys
from ledger.choices import TransactionKind
from ledger.queries.wallets import Payers
from ledger.services import posting
from ledger.services.charges import Charge, refuse_withdrawn
from ledger.services.daily_caps import refuse_over_cap
from ledger.services.posting import Header, Posting


def spend_credits(
    *,
    payers: Payers,
    charge: Charge,
    caller: str,
    at: datetime,
    actor_id: int | None,
    idempotency_key: str | None = None,
    daily_cap: int | None = None,
    occurred_at: datetime | None = None,
    description: str = "",
    reference_id: str = "",
    project: str = "",
    metadata: dict[str, Any] | None = None,
) -> Posting:
    """
    Take ``charge`` from the first of ``payers`` that covers all of it, in one database call.

    The same key of the same ``caller`` with the same request has one effect, for ever: the first
    posting is returned with ``is_new`` false and the wallet as it is today.

    :raises UnknownFeature: a feature of it is sold no longer, and the key is new.
    :raises DailyCapReached: ``caller`` would spend more than ``daily_cap`` today.
    :raises InsufficientCredits: no payer covers the charge.
    :raises WalletPaused: the first payer is paused.
    :raises CreditsDisabled: credits are switched off.
    :raises WalletClosed: the first payer is closed.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    key = keys.digest(caller, idempotency_key) if idempotency_key else keys.fresh(caller)
    refuse_withdrawn(charge, key)
    refuse_over_cap(caller=caller, cap=daily_cap, amount=charge.amount, key=key, at=at)
    return posting.draw(
        payers=payers.wallet_ids,
        amount=charge.amount,
        types=charge.types,
        header=Header(
            kind=TransactionKind.USAGE,
            at=at,
            caller=caller,
            key=key,
            fingerprint=charge.fingerprint(
                "spend", payers.subject, description, reference_id, project, metadata, occurred_at
            ),
            actor_id=actor_id,
            occurred_at=occurred_at,
            feature=charge.feature,
            price_ids=charge.price_ids,
            quantities=charge.quantities,
            reference_id=reference_id,
            description=description,
            project=project,
            metadata=metadata,
        ),
    )
