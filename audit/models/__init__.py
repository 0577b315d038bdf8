from audit.models.events import AuditEvent
from audit.models.seals import AuditSeal, Checkpoint, SealedRange, UnsealedEvent, Verification

__all__ = [
    "AuditEvent",
    "AuditSeal",
    "Checkpoint",
    "SealedRange",
    "UnsealedEvent",
    "Verification",
]
