from audit.admin.events import AuditEventAdmin
from audit.admin.seals import CheckpointAdmin

__all__ = ["AuditEventAdmin", "CheckpointAdmin"]
