"""What people are told when their credits run low."""

from collections.abc import Iterable

from accounts.models import User
from accounts.services.notices import tell
from ledger.models import Wallet
from ledger.queries.balances import Balance


def tell_low(*, wallet: Wallet, balance: Balance, threshold: int, readers: Iterable[User]) -> None:
    """Write to each of ``readers`` that ``wallet`` has fewer credits than ``threshold``."""
    whose = "You have" if wallet.user else f"{wallet.team} has"
    tell(
        readers,
        subject="Credits are running low",
        lines=[
            f"{whose} fewer than {threshold:,} credits left to spend.",
            "This is said once each time they fall below that, and at most once a day.",
        ],
        facts=[
            ("Left to spend", f"{balance.available:,}"),
            ("Held for running jobs", f"{balance.held:,}"),
        ],
    )
