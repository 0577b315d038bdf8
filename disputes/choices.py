"""Stored choices of disputes. In lower case, and read by the triggers of their tables."""

from django.db.models import TextChoices


class DisputeStatus(TextChoices):
    PENDING = "pending"
    UNDER_REVIEW = "under_review", "under review"
    RESOLVED = "resolved"
    REJECTED = "rejected"


OPEN = (DisputeStatus.PENDING, DisputeStatus.UNDER_REVIEW)
ENDED = (DisputeStatus.RESOLVED, DisputeStatus.REJECTED)


class Resolution(TextChoices):
    FULL_REFUND = "full_refund", "full refund"
    PARTIAL_REFUND = "partial_refund", "partial refund"
    EXPLANATION = "explanation"
    REJECTED = "rejected"


REFUNDS = (Resolution.FULL_REFUND, Resolution.PARTIAL_REFUND)


class EventKind(TextChoices):
    """What happened to a dispute, as its timeline tells it."""

    SUBMITTED = "submitted"
    TAKEN = "taken", "taken under review"
    ASSIGNED = "assigned"
    NOTE = "note", "internal note"
    MESSAGE = "message", "message to the user"
    REPLY = "reply", "message of the user"
    ATTACHED = "attached", "file attached"
    APPROVAL_ASKED = "approval_asked", "a second person was asked"
    APPROVAL_ENDED = "approval_ended", "not approved"
    DECIDED = "decided"
    APPEALED = "appealed"


class FileType(TextChoices):
    """What may be attached, by what it is and not by what it is called."""

    PNG = "image/png", "png"
    JPEG = "image/jpeg", "jpg"
    PDF = "application/pdf", "pdf"
    TEXT = "text/plain", "txt"


class PaymentDisputeStatus(TextChoices):
    """In Stripe's words: a warning is an inquiry, which takes no money yet."""

    WARNING_NEEDS_RESPONSE = "warning_needs_response", "inquiry, to be answered"
    WARNING_UNDER_REVIEW = "warning_under_review", "inquiry, answered"
    WARNING_CLOSED = "warning_closed", "inquiry, closed"
    NEEDS_RESPONSE = "needs_response", "to be answered"
    UNDER_REVIEW = "under_review", "answered, the bank decides"
    PREVENTED = "prevented"
    WON = "won"
    LOST = "lost"


TO_ANSWER = (PaymentDisputeStatus.NEEDS_RESPONSE, PaymentDisputeStatus.WARNING_NEEDS_RESPONSE)


class AnswerKind(TextChoices):
    ACCEPT = "accept", "accept it: the money goes back"
    CONTEST = "contest", "contest it with evidence"


class AnswerStatus(TextChoices):
    WAITING = "waiting", "on its way to Stripe"
    SENT = "sent"
    REFUSED = "refused", "refused by Stripe"
