"""Stored choices of people and jobs."""

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
