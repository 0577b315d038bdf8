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


class SubscriptionStatus(TextChoices):
    """In Stripe's words, but for the first and the last: nobody has subscribed there."""

    OPEN = "open", "begun, not paid yet"
    INCOMPLETE = "incomplete", "the first payment is missing"
    INCOMPLETE_EXPIRED = "incomplete_expired", "never paid"
    TRIALING = "trialing", "in a trial"
    ACTIVE = "active"
    PAST_DUE = "past_due", "a payment failed and is tried again"
    UNPAID = "unpaid", "not paid"
    PAUSED = "paused"
    CANCELED = "canceled", "ended"
    ABANDONED = "abandoned", "begun and given up"


class SubscriptionEffectKind(TextChoices):
    """What became of a subscription."""

    BEGUN = "begun", "subscribed"
    RENEWED = "renewed", "paid for a period"
    CHANGED = "changed", "changed to another plan"
    WILL_CHANGE = "will_change", "changes with the next period"
    CANCELLED = "cancelled", "cancelled: ends with what is paid for"
    KEPT = "kept", "a cancellation or change was taken back"
    PAST_DUE = "past_due", "a payment failed"
    UNPAID = "unpaid", "given up after the last try of a payment"
    PAUSED = "paused"
    ACTIVE = "active", "active again"
    ENDED = "ended"
    EXPIRED = "expired", "the first payment never came"


class ChangeKind(TextChoices):
    """What may be asked for of a subscription."""

    UPGRADE = "upgrade", "another plan now, for the difference"
    DOWNGRADE = "downgrade", "another plan with the next period"
    STAY = "stay", "no other plan after all"
    CANCEL = "cancel", "end with what is paid for"
    KEEP = "keep", "take the cancellation back"
    END = "end", "end now"


class ChangeStatus(TextChoices):
    WAITING = "waiting", "on its way to Stripe"
    DONE = "done"
    REFUSED = "refused"


class SliceStatus(TextChoices):
    """Of a month's credits that are paid for."""

    DUE = "due", "to be posted"
    POSTED = "posted"
    SUSPENDED = "suspended", "held back: the wallet is closed"


class PromisedMove(TextChoices):
    """What became of money that is paid for credits to come."""

    PAID = "paid"
    ALLOTTED = "allotted", "with the credits of a month"
    RETURNED = "returned", "returned, or returned no more"


class CostStatus(TextChoices):
    """Of a cost of a project."""

    WAITING = "waiting", "waiting for the next refresh"
    DEBITED = "debited", "turned into credits"
    COVERED = "covered", "charged in credits already"
    VOIDED = "voided"


class TopUpStatus(TextChoices):
    """Of one charge for an automatic top-up."""

    CHARGING = "charging", "under way"
    PAID = "paid"
    DECLINED = "declined", "declined by the bank"
    AUTHENTICATION = "authentication", "the bank asked for the cardholder"
    DROPPED = "dropped", "given up, nothing was charged"
    DISPUTED = "disputed", "paid, and disputed with the bank"


class TopUpPause(TextChoices):
    """Why nothing is charged for now."""

    DECLINED = "declined", "the card was declined"
    AUTHENTICATION = "authentication", "the bank asks for the cardholder"
    MONTH = "month", "the monthly limit is reached"
    BURST = "burst", "there were many in a day"


class TopUpEnd(TextChoices):
    """Why an auto top-up was switched off."""

    USER = "user", "by the user"
    STAFF = "staff", "by staff"
    DECLINED = "declined", "the card was declined again and again"
    CARD = "card", "the card cannot be used any more"
    DISPUTED = "disputed", "a top-up was disputed with the bank"
    PRICE = "price", "the price has risen"
    ERASED = "erased", "the user is erased"


class WebhookOutcome(TextChoices):
    SIGNED = "signed"
    REFUSED = "refused"


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
    ReviewKind.UNKNOWN: "Find out in Stripe who paid and what for; give the credits, or refund it.",
    ReviewKind.MISMATCH: "Compare what was asked with what Stripe has; give the credits that it"
    " buys, or refund it.",
    ReviewKind.CLOSED: "Refund it: the wallet takes no credits any more. Or give its credits to"
    " another user.",
    ReviewKind.DEBT: "The next purchase repays the debt. If none will come, write it off.",
    ReviewKind.REFUND_FAILED: "The bank sent the money back to us, and the credits were given back."
    " Pay the customer in another way, and remove the credits.",
    ReviewKind.REFUND_REFUSED: "See what Stripe says; no money moved and no credits were taken.",
    ReviewKind.DISPUTE: "Answer it in Stripe before its deadline. Credits that are left are frozen"
    " while a chargeback is decided.",
}


class ShareKind(TextChoices):
    """Of what somebody earns a part."""

    AGENT = "agent", "agent, of what users they referred spend"
    PARTNER = "partner", "partner, of what others spend on their features"


class ReconciliationStatus(TextChoices):
    WAITING = "waiting", "to be done"
    RUNNING = "running", "under way"
    DONE = "done"
    FAILED = "failed", "not finished"


class BreakKind(TextChoices):
    """How Stripe and the books differ; what to do about it is in ``BREAK_REMEDIES``."""

    UNKNOWN = "unknown", "Paid at Stripe, unknown here"
    NOT_CREDITED = "not_credited", "Paid at Stripe, not received here"
    ENDED = "ended", "Paid at Stripe, ended here"
    NOT_PAID = "not_paid", "Received here, not paid at Stripe"
    AMOUNT = "amount", "Another amount was paid than is booked"
    CURRENCY = "currency", "It was paid in another currency"
    CUSTOMER = "customer", "Another customer paid it"
    TAX = "tax", "The tax differs"
    GRANT = "grant", "The credits given are not those that were bought"
    DOUBLE = "double", "Credited twice"
    NO_PAYMENT = "no_payment", "Credits of a sale without a payment"
    UNREVIEWED = "unreviewed", "Held back, and nobody was asked to look"
    INVOICE = "invoice", "An invoice is paid at Stripe, unknown here"
    SLICES = "slices", "The months of an invoice are not what was paid for"
    REFUND_MISSING = "refund_missing", "Refunded at Stripe, unknown here"
    REFUND_UNKNOWN = "refund_unknown", "Refunded here, unknown at Stripe"
    REFUND_AMOUNT = "refund_amount", "The amounts of a refund differ"
    REFUND_STATE = "refund_state", "A refund stands otherwise at Stripe"
    REFUND_LATE = "refund_late", "A refund is not at Stripe yet"
    DISPUTE_MISSING = "dispute_missing", "Disputed at Stripe, unknown here"
    DISPUTE_UNKNOWN = "dispute_unknown", "Disputed here, unknown at Stripe"
    DISPUTE_AMOUNT = "dispute_amount", "The amounts of a dispute differ"
    DISPUTE_STATE = "dispute_state", "A dispute stands otherwise at Stripe"
    RETURNED = "returned", "What went back is counted wrong"
    CLAWBACK = "clawback", "Credits did not follow the money that went back"
    FROZEN = "frozen", "Credits are frozen without a chargeback, or not despite one"
    FOREIGN = "foreign", "Of another account or mode"


BY_SETTLING = "Settle it: that reads it at Stripe and brings the books to it."
BY_HAND = "Nothing mends this by itself: find out who changed what (Audit record, Stripe's log)."
BREAK_REMEDIES = {
    BreakKind.UNKNOWN: "Settle it: what nobody asked for is then held back, to be reviewed.",
    BreakKind.NOT_CREDITED: BY_SETTLING,
    BreakKind.ENDED: BY_SETTLING,
    BreakKind.NOT_PAID: f"{BY_HAND} If nobody paid, take the credits back.",
    BreakKind.AMOUNT: f"{BY_HAND} Refund or charge the difference.",
    BreakKind.CURRENCY: f"{BY_HAND} Refund it, and let them buy again.",
    BreakKind.CUSTOMER: "Find out in Stripe who paid. If it was somebody else, refund it.",
    BreakKind.TAX: "Compare the tax of the checkout in Stripe with the payment; report what Stripe"
    " says.",
    BreakKind.GRANT: f"{BY_HAND} Add or remove the difference in credits.",
    BreakKind.DOUBLE: f"{BY_HAND} Take back what was given twice.",
    BreakKind.NO_PAYMENT: f"{BY_HAND} If nobody paid for it, take the credits back.",
    BreakKind.UNREVIEWED: "Look at the payment: refund it, or give what was bought.",
    BreakKind.INVOICE: BY_SETTLING,
    BreakKind.SLICES: f"{BY_HAND} Add or remove the difference in credits.",
    BreakKind.REFUND_MISSING: BY_SETTLING,
    BreakKind.REFUND_UNKNOWN: f"{BY_HAND} Settle it: what did not go back counts as ours again.",
    BreakKind.REFUND_AMOUNT: f"{BY_HAND} Settle it: the counters follow Stripe.",
    BreakKind.REFUND_STATE: BY_SETTLING,
    BreakKind.REFUND_LATE: "See whether Stripe answers (Stripe events, Stripe's status page) and"
    " what the refund's error says; it is tried again by itself.",
    BreakKind.DISPUTE_MISSING: BY_SETTLING,
    BreakKind.DISPUTE_UNKNOWN: BY_HAND,
    BreakKind.DISPUTE_AMOUNT: f"{BY_HAND} Settle it: the counters follow Stripe.",
    BreakKind.DISPUTE_STATE: BY_SETTLING,
    BreakKind.RETURNED: BY_SETTLING,
    BreakKind.CLAWBACK: f"{BY_HAND} Add or remove the difference in credits.",
    BreakKind.FROZEN: BY_HAND,
    BreakKind.FOREIGN: "Check STRIPE_SECRET_KEY, STRIPE_ACCOUNT and where webhooks come from.",
}
SETTLEABLE = frozenset(
    {
        BreakKind.UNKNOWN,
        BreakKind.NOT_CREDITED,
        BreakKind.ENDED,
        BreakKind.INVOICE,
        BreakKind.REFUND_MISSING,
        BreakKind.REFUND_UNKNOWN,
        BreakKind.REFUND_AMOUNT,
        BreakKind.REFUND_STATE,
        BreakKind.DISPUTE_MISSING,
        BreakKind.DISPUTE_AMOUNT,
        BreakKind.DISPUTE_STATE,
        BreakKind.RETURNED,
    }
)
