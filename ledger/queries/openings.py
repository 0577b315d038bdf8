"""Whether what a file of opening balances says is what the books got, to credit and cent."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection

from creditsite.money import digits_of, format_money
from ledger.choices import CreditType, GrantSource
from ledger.figures import figure
from ledger.models import Batch

# What was entered is read in the books: the opening grant of the item's wallet and type, of which
# there is at most one for ever, unless the run said that it had been there before.
PLACES = """
    SELECT CASE WHEN g.id IS NULL THEN 'left' ELSE 'entered' END,
           i.credit_type, coalesce(nullif(g.currency, ''), i.currency),
           sum(coalesce(g.amount, i.amount)), sum(coalesce(g.paid_minor, i.paid_minor))
    FROM ledger_batchitem i
    LEFT JOIN ledger_batchexception x ON x.batch_id = %(batch)s AND x.is_at_run
         AND x.wallet_id = i.wallet_id AND x.credit_type = i.credit_type
    LEFT JOIN ledger_grant g ON %(is_started)s AND g.source = %(source)s
         AND g.wallet_id = i.wallet_id AND g.credit_type = i.credit_type
    WHERE i.batch_id = %(batch)s AND x.id IS NULL
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT CASE WHEN why = %(before)s THEN 'before' ELSE 'refused' END, credit_type, currency,
           coalesce(sum(amount), 0), sum(paid_minor)
    FROM ledger_batchexception WHERE batch_id = %(batch)s
    GROUP BY 1, 2, 3
"""
# As plans and runs of batches say it.
ENTERED_BEFORE = "entered before"
LABELS = {
    CreditType.AWARD: "Awards",
    CreditType.PURCHASE: "Purchases",
    CreditType.PARTNER: "Partner",
}
TIE_OUT_COLUMNS = (
    "figure",
    "file",
    "entered",
    "entered before",
    "refused",
    "not entered yet",
    "difference",
)


@dataclass(slots=True)
class Tie:
    """
    One figure of a file, and where it went: credits of a type, or money in the minor units of
    ``currency``.
    """

    label: str
    currency: str
    file: int
    entered: int = 0
    before: int = 0
    refused: int = 0
    left: int = 0

    @property
    def difference(self) -> int:
        """What is in the file and nowhere else, or the other way round."""
        return self.file - self.entered - self.before - self.refused - self.left

    @property
    def numbers(self) -> list[int]:
        where = [self.entered, self.before, self.refused, self.left]
        return [self.file, *where, self.difference]

    @property
    def figures(self) -> list[str]:
        """Return the numbers as people write them."""
        if self.currency:
            return [format_money(number, self.currency) for number in self.numbers]
        return [figure(number) for number in self.numbers]


def tie_out_of(batch: Batch) -> list[Tie]:
    """
    Return a line for each credit type, and one for each currency that was paid in.

    Before the batch runs, what its plan would enter counts as not entered yet.
    """
    told: dict[str, Any] = batch.selection
    ties = {t.value: Tie(label, "", told["credits"].get(t, 0)) for t, label in LABELS.items()}
    for currency, paid in sorted(told["paid"].items()):
        ties[currency] = Tie(f"Paid, {currency.upper()}", currency, paid)
    parameters: dict[str, Any] = {
        "batch": batch.pk,
        "is_started": batch.job_id is not None,
        "source": GrantSource.OPENING,
        "before": ENTERED_BEFORE,
    }
    with connection.cursor() as cursor:
        cursor.execute(PLACES, parameters)
        for place, credit_type, currency, credits, paid in cursor.fetchall():
            _add(ties, credit_type, "", place, int(credits))
            _add(ties, currency, currency, place, int(paid))
    return list(ties.values())


def _add(ties: dict[str, Tie], name: str, currency: str, place: str, number: int) -> None:
    if number:
        tie = ties.setdefault(name, Tie(name.upper() or "Of no type", currency, 0))
        setattr(tie, place, getattr(tie, place) + number)


def ties_out(ties: list[Tie]) -> bool:
    return not any(tie.difference for tie in ties)


def tie_out_rows(ties: list[Tie]) -> Iterator[list[Any]]:
    """Yield the rows of ``TIE_OUT_COLUMNS``: whole credits, and money in major units."""
    for tie in ties:
        if tie.currency:
            digits = digits_of(tie.currency)
            yield [tie.label, *(Decimal(number).scaleb(-digits) for number in tie.numbers)]
        else:
            yield [tie.label, *tie.numbers]
