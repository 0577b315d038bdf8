"""
A spend by the ORM, for comparison: lock, check, update, insert, as applications usually do it.

It writes the same four rows with the same contents as the engine, and holds the wallet's lock from
the first of them on. What it leaves out is what the engine does beside: several payers, holds,
overruns, refusals by status.
"""

import hashlib
import json
from decimal import Decimal
from uuid import uuid4

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from ledger import keys
from ledger.choices import TransactionKind
from ledger.errors import InsufficientCredits
from ledger.models import CreditTransaction, Entry, Wallet
from ledger.services.charges import charge_for

# Never-expiring grants have no instant, which PostgreSQL puts last by itself.
BURN_DOWN = ["priority", "expires_at", "credit_type", "effective_at", "id"]


@transaction.atomic
def spend_by_orm(wallet_id: int) -> None:
    """
    Take the price of a report from the wallet.

    :raises InsufficientCredits: its first spendable grant has less.
    """
    at = timezone.now()
    charge = charge_for({"report": Decimal(1)}, at=at)
    key = keys.digest(f"user:{wallet_id}", str(uuid4()))
    wallet = Wallet.objects.select_for_update(no_key=True).get(pk=wallet_id)
    if CreditTransaction.objects.filter(key=key).exists():
        return
    spendable = wallet.grants.filter(
        Q(expires_at=None) | Q(expires_at__gt=at), is_open=True, is_frozen=False
    )
    grant = spendable.filter(remaining__gt=F("held")).order_by(*BURN_DOWN).first()
    available = grant.remaining - grant.held if grant else 0
    if grant is None or available < charge.amount:
        raise InsufficientCredits(needed=charge.amount, available=available)

    grant.remaining -= charge.amount
    grant.consumed += charge.amount
    grant.save(update_fields=["remaining", "consumed"])
    by_type = {"award": 0, "partner": 0, "purchase": 0, grant.credit_type: charge.amount}
    for credit_type, amount in by_type.items():
        setattr(wallet, credit_type, getattr(wallet, credit_type) - amount)
    wallet.version += 1
    wallet.changed_at = max(wallet.changed_at or at, at)
    wallet.save(update_fields=[*by_type, "version", "changed_at"])
    salt, description = uuid4(), "A report"
    text = json.dumps(["", description, "", None])
    booked = CreditTransaction.objects.create(
        wallet=wallet,
        number=wallet.version,
        kind=TransactionKind.USAGE,
        amount=-charge.amount,
        **{credit_type: -amount for credit_type, amount in by_type.items()},
        balance_after=wallet.balance,
        key=key,
        fingerprint=charge.fingerprint("spend", wallet_id, description),
        actor_id=wallet_id,
        caller=f"user:{wallet_id}",
        feature=charge.feature,
        price_ids=charge.price_ids,
        quantities=charge.quantities,
        occurred_at=at,
        recorded_at=wallet.changed_at,
        description=description,
        text_salt=salt,
        text_digest=hashlib.sha256(salt.bytes + text.encode()).digest(),
    )
    Entry.objects.create(
        transaction=booked,
        position=1,
        grant=grant,
        wallet=wallet,
        credit_type=grant.credit_type,
        amount=-charge.amount,
    )
