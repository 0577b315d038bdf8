"""Stored choices of people, jobs and approvals."""

from django.db.models import TextChoices


class StaffGroup(TextChoices):
    ADMIN = "Admin"
    FINANCE = "Finance"
    SUPPORT = "Support"
    AUDITOR = "Auditor"


class ApiScope(TextChoices):
    CREDITS_READ = "credits:read"
    CREDITS_SPEND = "credits:spend"
    CREDITS_HOLD = "credits:hold"
    CREDITS_ADMIN = "credits:admin"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"


class JobStatus(TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"


class EmailStatus(TextChoices):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed", "Given up"
    KEPT = "kept", "Kept here"


class ApprovalStatus(TextChoices):
    WAITING = "waiting"
    EXECUTED = "executed"
    FAILED = "failed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
