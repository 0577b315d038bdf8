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
    SIGN_UP = "sign_up", "sign-up award"
    REFERRAL = "referral", "referral award"
    PARTNER_ALLOTMENT = "partner_allotment", "partner allotment"
    PROMOTION = "promotion", "promotion code"
    BATCH = "batch", "bulk adjustment"
    OPENING = "opening", "opening balance"
    MANUAL = "manual", "entered by staff"
    PACKAGE = "package", "package bought"
    PLAN = "plan", "plan, month by month"
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


class SignUpFrequency(TextChoices):
    ONCE = "once"
    MONTHLY = "monthly", "every month"


class AwardRule(TextChoices):
    """What is given every month, each as a grant of the source of the same name."""

    SIGN_UP = "sign_up", "Sign-up credits"
    PARTNER_ALLOTMENT = "partner_allotment", "Partner allotment"


class ReferralOutcome(TextChoices):
    AWARDED = "awarded"
    OVER_LIMIT = "over_limit", "over the monthly limit"
    OWN_ADDRESS = "own_address", "an address of the referrer's own"
    KNOWN = "known", "the address was awarded before"
    NOT_ACTIVE = "not_active", "the referrer takes no awards"


class BatchKind(TextChoices):
    ADD = "add"
    DEDUCT = "deduct"
    OPENING = "opening", "opening balances"
    REVERSAL = "reversal"


class BatchStatus(TextChoices):
    DRAFT = "draft"
    PLANNED = "planned"
    WAITING = "waiting", "waiting for approval"
    STARTED = "started"
    DISCARDED = "discarded"


class ShortPolicy(TextChoices):
    """What a deduction does to a wallet that has less."""

    SKIP = "skip", "leave it alone"
    TAKE = "take", "take what is there"
