from django.db import models
from django.db.models import Q

from accounts.choices import JobStatus


class Job(models.Model):
    """
    One piece of long work in chunks, worked by any number of workers on any number of machines.

    What is to be done and what was done are these rows: a chunk's effect and its ``done_at`` are
    one database transaction, so a worker may be killed at any instant and the job run again.
    """

    kind = models.CharField(max_length=40)
    params = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.PENDING)
    result = models.JSONField(default=dict, help_text="Sums over the finished chunks.")
    error = models.TextField(blank=True)
    created_by = models.ForeignKey("accounts.User", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        permissions = [("control_job", "Can pause, resume and cancel a job")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class JobChunk(models.Model):
    """A part of a job: the half-open range ``[lower, upper)`` of whatever the job counts by."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="chunks", db_index=False)
    lower = models.BigIntegerField()
    upper = models.BigIntegerField()
    result = models.JSONField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "lower"], name="accounts_jobchunk_is_unique"),
            models.CheckConstraint(
                condition=Q(lower__lt=models.F("upper")), name="accounts_jobchunk_has_a_width"
            ),
        ]
        indexes = [
            models.Index(
                fields=["job", "lower"], condition=Q(done_at=None), name="accounts_jobchunk_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} [{self.lower}, {self.upper})"
