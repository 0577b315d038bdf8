"""Stored choices of the books. In lower case, and read by the engine in ``ledger/sql``."""

from django.db.models import TextChoices


class WalletStatus(TextChoices):
    ACTIVE = "active"
    PAUSED = "paused"
    CLOSED = "closed"


class CreditType(TextChoices):
    """In burn-down order, which is also alphabetical: the engine sorts by the stored value."""

    AWARD = "award"
    PARTNER = "partner"
    PURCHASE = "purchase"


class GrantSource(TextChoices):
    ALLOTMENT = "allotment", "role allotment"
    MANUAL = "manual", "entered by staff"
    PACKAGE = "package", "package bought"
    CARRY_OVER = "carry_over", "carried over from an expired grant"


class TransactionKind(TextChoices):
    AWARD = "award"
    PARTNER = "partner"
    PURCHASE = "purchase"
    ALLOCATION = "allocation"
    USAGE = "usage"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"
    CLAWBACK = "clawback"
    REINSTATEMENT = "reinstatement"
    DEBT_REPAYMENT = "debt_repayment"
    REFUND = "refund"
    REVERSAL = "reversal"
    VOID = "void"
    WRITE_OFF = "write_off", "write-off"


class HoldStatus(TextChoices):
    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"
