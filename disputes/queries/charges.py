"""What a disputed charge took, and what of it can still be given back."""

from uuid import UUID

from ledger.models import CreditTransaction
from ledger.queries.reversals import open_lines


def charged_by(charge: CreditTransaction) -> int:
    """Return the whole credits that a charge took, those it made the wallet owe included."""
    return max(charge.debt, 0) - charge.amount


def open_credits(transaction_id: UUID) -> int:
    """Return what a charge took and nothing has given back yet, in whole credits."""
    return sum(open for _, open in open_lines(transaction_id))
