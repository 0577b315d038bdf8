"""What stays of the credits of a plan when the next month's come: nothing, some, or all."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from billing.models import OfferVersion
from ledger import keys
from ledger.choices import TransactionKind
from ledger.models import Grant, Wallet
from ledger.queries.settings import settings_at
from ledger.services import posting
from ledger.services.allotments import CALLER
from ledger.services.posting import Header


def expires_at(version: OfferVersion, ends_at: datetime, at: datetime) -> datetime | None:
    """
    Return when credits for a month that ends at ``ends_at`` expire, given ``at``.

    Where nothing stays, with the month; who is given them after it has the days of grace.
    """
    if version.rollover_cap != 0:
        return None
    return ends_at if ends_at > at else at + timedelta(days=settings_at(at).grace_days)


def let_excess_expire(
    *, wallet: int, version: OfferVersion, grants: Sequence[UUID], at: datetime
) -> None:
    """
    Let what is left of ``grants`` expire above the cap of ``version``, the oldest first.

    They are of earlier months. What is held, or frozen by a chargeback, is left alone. Call it
    inside of the transaction that gives the next month's credits.
    """
    if not version.rollover_cap or not grants:
        return
    posting.lock_wallet(wallet)
    # No key is used twice: each movement makes another version of the wallet, which is locked.
    version_of_wallet = Wallet.objects.values_list("version", flat=True).get(pk=wallet)
    left = [
        (grant, grant.remaining - grant.held)
        for grant in Grant.objects.filter(
            pk__in=grants, is_open=True, is_frozen=False, voided_at=None
        ).order_by("effective_at", "pk")
        if grant.expires_at is None or grant.expires_at > at
    ]
    excess = sum(free for _, free in left) - version.rollover_cap
    for grant, free in left:
        amount = min(free, excess)
        if amount > 0:
            key = keys.digest(CALLER, f"rollover:{grant.pk}:{version_of_wallet}")
            header = Header(
                kind=TransactionKind.EXPIRY, at=at, caller=CALLER, key=key, fingerprint=key
            )
            posting.draw(
                payers=[wallet], amount=amount, grant=grant.pk, header=header, any_status=True
            )
            excess -= amount
