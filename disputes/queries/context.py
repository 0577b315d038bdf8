"""What a reviewer wants to know beside a dispute itself."""

from dataclasses import dataclass
from datetime import datetime

from disputes.models import Dispute
from disputes.queries.charges import open_credits
from disputes.queries.queue import shown
from ledger.models import CreditTransaction
from ledger.queries.balances import Balance, balance_of
from ledger.queries.reversals import effects_of_reversal
from ledger.queries.statements import transaction_named

MOST = 10


@dataclass(frozen=True, kw_only=True)
class Context:
    """
    The charge and what was to know of it, the wallet as it is, and other disputes, newest first.

    ``open`` is what of the charge is not given back yet; ``effects`` say what giving back all of it
    would do, grant by grant.
    """

    charge: CreditTransaction
    open: int
    effects: list[str]
    balance: Balance
    of_the_user: list[Dispute]
    similar: list[Dispute]


def about(dispute: Dispute, at: datetime) -> Context:
    """Return what is to know beside a dispute, with at most ``MOST`` of other disputes each."""
    charge = transaction_named(dispute.transaction_id)
    others = shown(Dispute.objects.exclude(pk=dispute.pk)).order_by("-id")
    return Context(
        charge=charge,
        open=open_credits(charge.pk),
        effects=effects_of_reversal(charge, at),
        balance=balance_of(dispute.wallet_id, at),
        of_the_user=list(others.filter(opened_by=dispute.opened_by_id)[:MOST]),
        similar=list(others.filter(feature=dispute.feature)[:MOST]),
    )
