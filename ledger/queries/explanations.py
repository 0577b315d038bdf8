"""How a wallet's balance comes about: what its page shows, as it is at an instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q, Sum

from ledger.choices import CreditType, HoldStatus, WalletStatus
from ledger.models import CreditTransaction, Debt, Grant, Hold, Wallet

MOST_GRANTS = 50
RECENT_GRANTS = 10
RECENT_TRANSACTIONS = 20
MOST_HOLDS = 20
RECENT_HOLDS = 5
MOST_DEBTS = 20


@dataclass(frozen=True, slots=True)
class Line:
    """
    The way from what was given to what can be spent, in whole credits.

    ``given - used - removed - blocked = current``, and ``current - held = available``. Used is what
    usage, repaid debts and expiry took, net of reversals; removed what staff and refunds took;
    blocked what is frozen, or past its expiry and not yet booked.
    """

    given: int = 0
    used: int = 0
    removed: int = 0
    blocked: int = 0
    held: int = 0
    available: int = 0

    @property
    def current(self) -> int:
        return self.available + self.held


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that explains a wallet; lists are the most telling rows, and say if there are more."""

    wallet: Wallet
    lines: dict[CreditType, Line]
    total: Line
    grants: Sequence[Grant]
    has_more_grants: bool
    transactions: Sequence[CreditTransaction]
    holds: Sequence[Hold]
    debts: Sequence[Debt]

    def sentences(self) -> list[str]:
        """Say in words what the figures say."""
        total, wallet = self.total, self.wallet
        said = [
            f"Of {total.given:,} credits given, {total.used:,} were used, repaid a debt or expired"
            f" and {total.removed:,} were taken away."
        ]
        if total.blocked:
            said.append(f"{total.blocked:,} are frozen or past their expiry and do not count.")
        if total.held:
            said.append(f"{total.held:,} are reserved by running jobs.")
        said.append(f"That leaves {total.available:,} available.")
        if wallet.debt:
            said.append(f"{wallet.debt:,} are owed: the next paid purchase repays them first.")
        if wallet.status == WalletStatus.PAUSED:
            said.append("The wallet is paused: nothing can be spent until it is resumed.")
        if wallet.status == WalletStatus.CLOSED:
            said.append("The wallet is closed.")
        return said


def explain(wallet: Wallet, at: datetime) -> Explanation:
    """Return what explains ``wallet`` at ``at``; none of its queries grows with the history."""
    lines = _lines(wallet, at)
    total = Line(
        *(
            sum(getattr(line, name) for line in lines.values())
            for name in ("given", "used", "removed", "blocked", "held", "available")
        )
    )
    burn_down = ("priority", F("expires_at").asc(nulls_last=True), "credit_type", "effective_at")
    opened = list(wallet.grants.filter(is_open=True).order_by(*burn_down)[: MOST_GRANTS + 1])
    closed = list(
        wallet.grants.filter(is_open=False).order_by("-effective_at", "-id")[: RECENT_GRANTS + 1]
    )
    transactions = wallet.transactions.order_by("-number").select_related("actor", "reverses")
    debts = wallet.debts.order_by("-opened_at", "-id").select_related("grant", "opened_by")
    return Explanation(
        wallet=wallet,
        lines=lines,
        total=total,
        grants=opened[:MOST_GRANTS] + closed[:RECENT_GRANTS],
        has_more_grants=len(opened) > MOST_GRANTS or len(closed) > RECENT_GRANTS,
        transactions=list(transactions.prefetch_related("reversals")[:RECENT_TRANSACTIONS]),
        holds=_holds(wallet),
        debts=list(debts[:MOST_DEBTS]),
    )


def _lines(wallet: Wallet, at: datetime) -> dict[CreditType, Line]:
    stopped = Q(is_frozen=True) | Q(expires_at__lte=at)
    sums = wallet.grants.values("credit_type").annotate(
        # What was carried over is given once, though it is in two grants.
        given=Sum("amount") - Sum("carried"),
        used=Sum("consumed"),
        left=Sum("remaining"),
        pinned=Sum("held"),
        blocked=Sum(F("remaining") - F("held"), filter=stopped, default=0),
    )
    lines = dict.fromkeys((CreditType.AWARD, CreditType.PURCHASE, CreditType.PARTNER), Line())
    for row in sums:
        lines[CreditType(row["credit_type"])] = Line(
            given=row["given"],
            used=row["used"],
            removed=row["given"] - row["used"] - row["left"],
            blocked=row["blocked"],
            held=row["pinned"],
            available=row["left"] - row["blocked"] - row["pinned"],
        )
    return lines


def _holds(wallet: Wallet) -> list[Hold]:
    """Return the open holds and then the last that ended."""
    holds = wallet.holds.order_by("-id").select_related("actor")
    opened = list(holds.filter(status=HoldStatus.OPEN)[:MOST_HOLDS]) if wallet.held else []
    return opened + list(holds.exclude(status=HoldStatus.OPEN)[:RECENT_HOLDS])


def state_of_grant(grant: Grant, at: datetime) -> str:
    """Say in a word or two whether the credits of ``grant`` can be spent, and if not, why."""
    if grant.voided_at:
        return "voided"
    if grant.is_frozen:
        return "frozen"
    if grant.expires_at and grant.expires_at <= at:
        return "carried over" if grant.carried else "expired"
    if grant.remaining:
        return "all held" if grant.held == grant.remaining else "open"
    return "used up" if grant.consumed else "taken back"
