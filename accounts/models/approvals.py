import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q

from accounts.choices import ApprovalStatus

UNDECIDED = Q(decided_at=None, checker=None, result__isnull=True)
NO_RESULT = Q(decided_at__isnull=False, result__isnull=True)
# A comparison with NULL passes a CHECK: what must be there is asked for by name.
IN_TIME = Q(checker__isnull=False, decided_at__isnull=False, decided_at__lt=F("expires_at"))


class Approval(models.Model):
    """
    A frozen request of one member of staff, waiting for another to approve it.

    What was asked never changes: a trigger refuses it, and lets ``status`` move once, from waiting
    to how it ended. Nothing is deleted. The payload holds numbers and codes, no personal data; what
    people wrote (``sentence``, ``reason``, ``note``, ``error``) is erased by setting
    ``text_erased_at``.
    """

    public_id = models.UUIDField(
        default=uuid.uuid4, unique=True, editable=False, help_text="By which the API names it."
    )
    kind = models.CharField(max_length=60)
    payload = models.JSONField(help_text="What will be done, to the letter.")
    payload_hash = models.CharField(max_length=64, help_text="SHA-256 of kind, maker and payload.")
    sentence = models.TextField(help_text="The payload in words, as it read when it was asked.")
    reason = models.TextField()
    maker = models.ForeignKey("accounts.User", models.PROTECT, related_name="approvals_asked")
    about = models.ForeignKey(
        "accounts.User",
        models.PROTECT,
        null=True,
        related_name="approvals_about",
        help_text="Whose wallet or account it touches; empty for an organisation's.",
    )
    caller = models.CharField(max_length=40, help_text="Whose key it is: a user or a service.")
    key = models.CharField(max_length=255, help_text="Under which it is executed, once.")
    fingerprint = models.UUIDField(help_text="Tells the request from another with the same key.")
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=ApprovalStatus, default=ApprovalStatus.WAITING)
    checker = models.ForeignKey(
        "accounts.User", models.PROTECT, null=True, related_name="approvals_decided"
    )
    note = models.TextField(blank=True, help_text="Why it was decided so.")
    decided_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True, help_text="What came of it.")
    error = models.TextField(blank=True, help_text="Why it failed when it was executed.")
    text_erased_at = models.DateTimeField(null=True)

    class Meta:
        permissions = [("decide_approval", "Can approve and refuse what colleagues ask for")]
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "key"], name="accounts_approval_key_is_unique"
            ),
            models.CheckConstraint(
                condition=Q(checker=None) | ~Q(checker=F("maker")),
                name="accounts_approval_takes_two_people",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("asked_at")), name="accounts_approval_has_time"
            ),
            models.CheckConstraint(
                condition=Q(status="waiting", note="", error="") & UNDECIDED
                | Q(status="executed", result__isnull=False, error="") & IN_TIME
                | Q(status="failed") & NO_RESULT & IN_TIME
                | Q(status="refused", error="") & NO_RESULT
                | Q(status="withdrawn", checker=None, error="") & NO_RESULT
                | Q(status="expired", checker=None, decided_at__gte=F("expires_at"), error="")
                & NO_RESULT,
                name="accounts_approval_ended_as_it_says",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(status="waiting"),
                name="accounts_approval_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"approval {self.pk}: {self.kind.partition('.')[2].replace('_', ' ')}"

    def status_at(self, at: datetime) -> ApprovalStatus:
        """Return the status as it is at ``at``, though nobody may have booked the expiry yet."""
        if self.status == ApprovalStatus.WAITING and at >= self.expires_at:
            return ApprovalStatus.EXPIRED
        return ApprovalStatus(self.status)
