from disputes.models.disputes import Attachment, Decision, Dispute, DisputeEvent, DisputeReason
from disputes.models.payment_disputes import Answer, PaymentDispute

__all__ = [
    "Answer",
    "Attachment",
    "Decision",
    "Dispute",
    "DisputeEvent",
    "DisputeReason",
    "PaymentDispute",
]
