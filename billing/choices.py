"""Stored choices of what is sold. In lower case."""

from django.db.models import TextChoices


class OfferKind(TextChoices):
    PACKAGE = "package", "package, bought once"
    PLAN = "plan", "plan, paid every month or year"


class Interval(TextChoices):
    """How often a price is paid; a package's has none."""

    MONTH = "month"
    YEAR = "year"


class PromotionKind(TextChoices):
    PERCENTAGE = "percentage", "percentage off a purchase"
    FIXED = "fixed", "amount off a purchase"
    BONUS = "bonus", "bonus credits with a purchase"
    GRANT = "grant", "credits for the code"


class RedemptionStatus(TextChoices):
    RESERVED = "reserved"
    REDEEMED = "redeemed"
    RELEASED = "released"


class PaymentStatus(TextChoices):
    OPEN = "open", "waiting to be paid"
    CREDITED = "credited", "paid, its credits given"
    SUSPENDED = "suspended", "paid, its credits held back for review"
    ENDED = "ended", "never paid"


class RefundStatus(TextChoices):
    """Of a refund that staff asked for: until Stripe has it, it waits."""

    WAITING = "waiting", "on its way to Stripe"
    PENDING = "pending", "under way at the bank"
    SUCCEEDED = "succeeded", "sent back"
    FAILED = "failed", "sent back, and returned by the bank"
    REFUSED = "refused", "refused by Stripe"


class Effect(TextChoices):
    """What an object at Stripe did to a payment."""

    CREDITED = "credited", "paid: its credits were given"
    SUSPENDED = "suspended", "paid: its credits are held back"
    REFUNDED = "refunded", "money was sent back"
    REFUND_FAILED = "refund_failed", "a refund failed: the money is ours again"
    DISPUTED = "disputed", "a chargeback was opened: what is left is frozen"
    INQUIRY = "inquiry", "the bank asks about it: nothing is frozen"
    LOST = "lost", "the chargeback was lost"
    WON = "won", "the chargeback was won"
    CLOSED = "closed", "the inquiry was closed"


class EventStatus(TextChoices):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed", "failed, to be tried again"
    IGNORED = "ignored", "of no concern here"


class ReviewKind(TextChoices):
    """Why somebody should look at a payment; what to do about it is in ``REMEDIES``."""

    UNKNOWN = "unknown", "Nobody knows what was paid for"
    MISMATCH = "mismatch", "Something else was paid than asked"
    CLOSED = "closed", "Paid by the owner of a closed wallet"
    DEBT = "debt", "More was taken back than was left"
    REFUND_FAILED = "refund_failed", "A refund did not arrive"
    REFUND_REFUSED = "refund_refused", "Stripe refuses a refund"
    DISPUTE = "dispute", "A chargeback or inquiry"


REMEDIES = {
    ReviewKind.UNKNOWN: "Find out in Stripe who paid and what for; refund it if nothing is owed.",
    ReviewKind.MISMATCH: "Compare what was asked with what Stripe has; refund it, and let them buy"
    " again.",
    ReviewKind.CLOSED: "Refund it: the wallet takes no credits any more.",
    ReviewKind.DEBT: "The next purchase repays the debt. If none will come, write it off.",
    ReviewKind.REFUND_FAILED: "The bank sent the money back to us, and the credits were given back."
    " Pay the customer in another way, and remove the credits.",
    ReviewKind.REFUND_REFUSED: "See what Stripe says; no money moved and no credits were taken.",
    ReviewKind.DISPUTE: "Answer it in Stripe before its deadline. Credits that are left are frozen"
    " while a chargeback is decided.",
}
