"""
Telling people that their credits run low: once when they fall below, and at most once a day.

A spend writes the books and nothing else. Once a minute the transactions since the last look are
walked, and the wallets that moved are looked at as they are now.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import User
from ledger.choices import WalletStatus
from ledger.models import LowCredit, Wallet
from ledger.queries.balances import Balance, balance_of
from ledger.queries.settings import settings_at
from ledger.services.low_credit_mail import tell_low
from ledger.services.rollups import roll_up

NAME = "low credit"
BETWEEN_NOTICES = timedelta(days=1)
# Who of an organisation hears of its wallet.
ROLES_THAT_MANAGE = ("admin", "team_admin")

# ``was_low`` is for a wallet that is not known yet: whether it was below all the time.
WALK = """
    WITH moved AS MATERIALIZED (
        SELECT wallet_id, max(greatest(balance_after, balance_after - amount)) < %(threshold)s AS was_low
        FROM ledger_credittransaction WHERE id >= %(lower)s AND id < %(upper)s GROUP BY wallet_id
    ), seen AS MATERIALIZED (
        SELECT m.wallet_id, m.was_low,
               coalesce(v.award + v.partner + v.purchase, w.award + w.partner + w.purchase) - w.held < %(threshold)s AS is_low
        FROM moved m JOIN ledger_wallet w ON w.id = m.wallet_id LEFT JOIN LATERAL (
            SELECT x.* FROM ledger_visible(w.id, %(at)s) AS x WHERE w.recount_at <= %(at)s OFFSET 0) v ON true
    ), recovered AS (
        UPDATE ledger_lowcredit l SET is_low = false, owes_notice = false
        FROM seen s WHERE l.wallet_id = s.wallet_id AND l.is_low AND NOT s.is_low
    )
    INSERT INTO ledger_lowcredit AS known (wallet_id, is_low, owes_notice)
    SELECT wallet_id, true, NOT was_low FROM seen WHERE is_low
    ON CONFLICT (wallet_id) DO UPDATE SET is_low = true, owes_notice = true WHERE NOT known.is_low
"""


def look_for_low_credit(*, at: datetime) -> bool:
    """
    Note which wallets fell below the threshold since the last look, and which rose again.

    One looks at a time; return whether this one got any further.
    """
    return roll_up(NAME, partial(_walk, at=at))


def _walk(lower: UUID, upper: UUID, *, at: datetime) -> None:
    parameters = {
        "lower": lower,
        "upper": upper,
        "at": at,
        "threshold": settings_at(at).low_credit_threshold,
    }
    with connection.cursor() as cursor:
        cursor.execute(WALK, parameters)


def send_notices(*, at: datetime) -> int:
    """
    Write to the owners of the wallets that fell below and still are; return of how many.

    A wallet whose owner was told less than a day ago waits until that day is over. Any number of
    workers may do so at once: one of them takes a wallet.
    """
    told = 0
    while (found := _tell_one(at)) is not None:
        told += found
    return told


@transaction.atomic
def _tell_one(at: datetime) -> bool | None:
    """Take one wallet that is owed a notice; say whether it was sent, ``None`` if there is none."""
    owed = LowCredit.objects.filter(
        Q(notified_at=None) | Q(notified_at__lte=at - BETWEEN_NOTICES), owes_notice=True
    )
    low = owed.select_for_update(skip_locked=True, no_key=True).order_by("wallet").first()
    if low is None:
        return None
    threshold = settings_at(at).low_credit_threshold
    wallet = Wallet.objects.with_owner().get(pk=low.wallet_id)
    balance = balance_of(wallet.pk, at)
    readers = list(_readers_of(wallet))
    is_told = bool(readers) and _is_low(balance, threshold)
    if is_told:
        tell_low(wallet=wallet, balance=balance, threshold=threshold, readers=readers)
        low.notified_at = at
    low.owes_notice = False
    low.save(update_fields=["owes_notice", "notified_at"])
    return is_told


def _is_low(balance: Balance, threshold: int) -> bool:
    return balance.available < threshold and balance.status != WalletStatus.CLOSED


def _readers_of(wallet: Wallet) -> Iterable[User]:
    """Return who hears of ``wallet``: its user; of an organisation, the members who manage it."""
    if wallet.user is not None:
        return [wallet.user] if wallet.user.is_active else []
    members = User.objects.filter(memberships__team=wallet.team_id, is_active=True)
    return members.filter(role__code__in=ROLES_THAT_MANAGE).order_by("pk")
