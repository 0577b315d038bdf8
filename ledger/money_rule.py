"""
DESIGN 4, "Money on a grant": how what was paid becomes revenue as the credits are used.

Pure functions over the figures of one grant; money in integer minor units. ``paid_minor`` and
``amount`` are what is left of them once ``carried_minor`` and ``carried`` went to another grant.
``ledger_recognised`` in ``ledger/sql/restore.sql`` says the first in SQL; a test compares them.
"""


def recognised_minor(*, paid_minor: int, returned_minor: int, consumed: int, amount: int) -> int:
    """
    Return revenue: min(paid − returned, floor(paid × consumed ÷ amount)).

    ``consumed`` is what usage, debt repayment and expiry took, net of reversals.
    """
    if amount == 0:  # All of it was carried over, and its money with it.
        return 0
    return min(paid_minor - returned_minor, paid_minor * consumed // amount)


def released_minor(
    *, paid_minor: int, returned_minor: int, consumed: int, amount: int, remaining: int, taken: int
) -> int:
    """
    Return what leaves deferred, never to be revenue from usage, because staff took credits away.

    ``taken`` is what they set lower, deducted, voided or forfeited, net of reversals. When nothing
    is left to be used, it is all that neither was returned nor is recognised.
    """
    if taken == 0:
        return 0
    unrecognised = (
        paid_minor
        - returned_minor
        - recognised_minor(
            paid_minor=paid_minor, returned_minor=returned_minor, consumed=consumed, amount=amount
        )
    )
    return unrecognised if remaining == 0 else min(unrecognised, paid_minor * taken // amount)


def deferred_minor(
    *,
    paid_minor: int,
    returned_minor: int,
    consumed: int,
    amount: int,
    remaining: int = 0,
    taken: int = 0,
) -> int:
    """Return money of credits not used yet: paid − returned − recognised − released."""
    figures = {
        "paid_minor": paid_minor,
        "returned_minor": returned_minor,
        "consumed": consumed,
        "amount": amount,
    }
    return (
        paid_minor
        - returned_minor
        - recognised_minor(**figures)
        - released_minor(**figures, remaining=remaining, taken=taken)
    )
