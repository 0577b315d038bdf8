"""What a spend would take, and from whom, were it made now."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import F, Q, QuerySet

from ledger.choices import CreditType, WalletStatus
from ledger.errors import CreditsDisabled, InsufficientCredits, WalletClosed, WalletPaused
from ledger.models import Grant, Wallet
from ledger.queries.settings import settings_at


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would be taken of each type, or the ``code`` of the refusal; in whole credits."""

    needed: int
    available: int
    code: str | None = None
    would_use: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CreditType.values, 0))


def spendable(wallet_id: int, at: datetime) -> QuerySet[Grant]:
    """Return the grants that a wallet may spend from at ``at``, in burn-down order."""
    return (
        Grant.objects.filter(
            wallet=wallet_id, is_open=True, is_frozen=False, remaining__gt=F("held")
        )
        .filter(Q(expires_at=None) | Q(expires_at__gt=at))
        .order_by(
            "priority", F("expires_at").asc(nulls_last=True), "credit_type", "effective_at", "id"
        )
    )


def forecast(
    *, wallet_ids: Sequence[int], amount: int, types: Sequence[CreditType] | None, at: datetime
) -> Forecast:
    """
    Say what a spend of ``amount`` credits of ``types`` (``None``: all) would do.

    As in the engine, the first of ``wallet_ids`` that covers all of it would pay, and the first
    one's own status speaks for itself. Nothing is locked: what others spend meanwhile may change
    the answer.
    """
    status = dict(Wallet.objects.filter(pk__in=wallet_ids).values_list("pk", "status"))
    if code := _refusal(status[wallet_ids[0]], at):
        return Forecast(amount, 0, code)
    most = 0
    for wallet_id in wallet_ids:
        if status[wallet_id] != WalletStatus.ACTIVE:
            continue
        grants = spendable(wallet_id, at)
        if types is not None:
            grants = grants.filter(credit_type__in=types)
        free = list(grants.values_list("credit_type", F("remaining") - F("held")))
        available = sum(credits for _, credits in free)
        if available >= amount:
            return Forecast(amount, available, would_use=_burn_down(free, amount))
        most = max(most, available)
    return Forecast(amount, most, InsufficientCredits.code)


def _refusal(status: str, at: datetime) -> str | None:
    """Return what refuses a spend whatever the wallet holds, in the engine's order."""
    if status == WalletStatus.PAUSED:
        return WalletPaused.code
    if not settings_at(at).credits_enabled:
        return CreditsDisabled.code
    return WalletClosed.code if status == WalletStatus.CLOSED else None


def _burn_down(free: Sequence[tuple[str, int]], amount: int) -> dict[str, int]:
    used = dict.fromkeys(CreditType.values, 0)
    for credit_type, credits in free:
        take = min(credits, amount)
        used[credit_type] += take
        amount -= take
    return used
