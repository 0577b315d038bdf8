"""Wallets on tiers, for tests."""

from datetime import UTC, date, datetime
from typing import Any

from accounts.models import Approval, User
from billing.models import Tier, TierAllotment
from billing.services import tier_allotments, tiers
from billing.tests.sale import plan
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import CustomerFactory

NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)


def growth(**more: Any) -> None:
    """Put a plan of 2,000 credits a month on sale."""
    plan("growth", **{"name": "Growth", "credits": 2_000, "features": ["Reports"]} | more)


def assign(wallet: Wallet, code: str = "growth", *, at: datetime = NOVEMBER, **more: Any) -> Any:
    given: dict[str, Any] = {"reason": "they asked", "actor": None, "caller": "test"}
    return tiers.assign_tier(wallet=wallet, plan=code, at=at, **given | more)


def on_tier(owner: User | None = None, code: str = "growth", *, at: datetime = NOVEMBER) -> Wallet:
    """Return the wallet of ``owner``, of a new user if left out, on a tier since ``at``."""
    wallet = wallet_of(owner or CustomerFactory())
    assert isinstance(assign(wallet, code, at=at), Tier)
    return wallet


def allot(wallet: Wallet, *, at: datetime = NOVEMBER, **more: Any) -> Any:
    given: dict[str, Any] = {"actor": None, "caller": "test"}
    return tier_allotments.allot_now(wallet=wallet, at=at, **given | more)


def run_due(at: datetime) -> int:
    return tier_allotments.allot_due_tiers(at=at)


def months_of(wallet: Wallet) -> list[str]:
    """Return the months that a wallet was allotted, in the order in which it was."""
    rows = TierAllotment.objects.filter(wallet=wallet).order_by("pk")
    return [f"{period:%Y-%m}" for period in rows.values_list("period", flat=True)]


def first_of(year: int, month: int) -> datetime:
    return datetime.combine(date(year, month, 1), datetime.min.time(), tzinfo=UTC)


def waiting(done: Any) -> Approval:
    assert isinstance(done, Approval)
    return done
