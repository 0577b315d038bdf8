"""Whose credits have fallen so low that more are bought for them, and what was bought so far."""

from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, Sum

from billing.choices import TopUpPause, TopUpStatus
from billing.models import AutoTopUp, TopUp
from ledger.choices import WalletStatus
from ledger.periods import day_begins, months_after, period_of
from ledger.queries.balances import balance_of
from ledger.queries.settings import settings_at

DAY = timedelta(days=1)
COUNTING = [TopUpStatus.CHARGING, TopUpStatus.PAID, TopUpStatus.DISPUTED]

# What is left to spend in each wallet that has an auto top-up switched on, as anyone is shown it.
SEEN = """
    billing_autotopup t JOIN ledger_wallet w ON w.id = t.wallet_id
    LEFT JOIN LATERAL (
        SELECT x.* FROM ledger_visible(w.id, %(at)s) AS x WHERE w.recount_at <= %(at)s OFFSET 0
    ) v ON true CROSS JOIN LATERAL (
        SELECT coalesce(v.award + v.partner + v.purchase, w.award + w.partner + w.purchase)
               - w.held AS available
    ) s
"""
DUE = f"""
    SELECT t.id FROM {SEEN} JOIN accounts_user u ON u.id = t.user_id
    WHERE t.is_enabled AND u.is_active AND w.status = 'active' AND w.debt = 0
      AND t.paused_why <> 'authentication' AND coalesce(t.paused_until <= %(at)s, true)
      AND s.available <= least(t.threshold, t.left_after - 1)
      AND NOT EXISTS (
        SELECT FROM billing_topup c WHERE c.auto_top_up_id = t.id AND c.status = 'charging')
    ORDER BY t.id LIMIT %(most)s
"""  # noqa: S608 - it is put together of constants.
RISEN = f"""
    UPDATE billing_autotopup SET left_after = NULL WHERE id IN (
        SELECT t.id FROM {SEEN}
        WHERE t.is_enabled AND t.left_after IS NOT NULL AND s.available > t.threshold)
"""  # noqa: S608


def due_top_ups(at: datetime, *, most: int) -> list[int]:
    """Return the ids of auto top-ups whose wallets have fallen to their thresholds, the oldest."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, {"at": at, "most": most})
        return [id for (id,) in cursor.fetchall()]


def note_risen(at: datetime) -> None:
    """Forget how little a top-up came to where there is enough again."""
    with connection.cursor() as cursor:
        cursor.execute(RISEN, {"at": at})


def is_wanted(auto: AutoTopUp, at: datetime) -> bool:
    """Return whether more credits are to be bought now: what ``DUE`` says, of one, in Python."""
    balance = balance_of(auto.wallet_id, at)
    most = auto.threshold if auto.left_after is None else min(auto.threshold, auto.left_after - 1)
    return (
        auto.is_enabled
        and auto.user.is_active
        and settings_at(at).credits_enabled
        and not is_paused(auto, at)
        and (balance.status, balance.debt) == (WalletStatus.ACTIVE, 0)
        and balance.available <= most
    )


def is_paused(auto: AutoTopUp, at: datetime) -> bool:
    if auto.paused_why == TopUpPause.AUTHENTICATION:
        return True
    return auto.paused_until is not None and at < auto.paused_until


def month_of(at: datetime) -> tuple[date, datetime, datetime]:
    """Return the month of business that it is, when it began and when the next one does."""
    zone = settings_at(at).time_zone
    month = period_of(at, zone)
    return month, day_begins(month, zone), day_begins(months_after(month, 1), zone)


def charged_since(auto: AutoTopUp, since: datetime) -> QuerySet[TopUp]:
    """Return the top-ups since then that are paid or under way."""
    return auto.top_ups.filter(began_at__gte=since, status__in=COUNTING)


def bought_this_month(auto: AutoTopUp, at: datetime) -> int:
    """Return the credits that count against the monthly limit."""
    _, since, _ = month_of(at)
    return charged_since(auto, since).aggregate(sum=Sum("credits"))["sum"] or 0


def next_after_burst(auto: AutoTopUp, at: datetime) -> datetime | None:
    """Return until when there were too many in 24 hours; ``None``: there were not."""
    most = settings.TOP_UPS_A_DAY
    latest = charged_since(auto, at - DAY).order_by("-began_at").values_list("began_at", flat=True)
    found = list(latest[:most])
    until = found[-1] + DAY if len(found) == most else at
    return until if until > at else None
