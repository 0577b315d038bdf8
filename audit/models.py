from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from audit.actions import sentence


class AuditEvent(models.Model):
    """
    What a person or the system did, to what, and why; written with the act and never changed.

    People and targets are kept as number and label, not as foreign keys: an event outlives both.
    Triggers refuse UPDATE, DELETE and TRUNCATE.
    """

    at = models.DateTimeField(help_text="When it was done.")
    action = models.CharField(max_length=60)
    actor_id = models.BigIntegerField(null=True, help_text="User who did it; empty for the system.")
    actor_label = models.CharField(max_length=254)
    on_behalf_of_id = models.BigIntegerField(null=True, help_text="User it was done for.")
    on_behalf_of_label = models.CharField(max_length=254, blank=True)
    target_type = models.CharField(max_length=80)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=254)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)
    approval_id = models.BigIntegerField(null=True, help_text="Approval it was executed under.")

    class Meta:
        indexes = [
            models.Index(fields=["target_type", "target_id", "at"], name="audit_auditevent_target"),
            models.Index(fields=["actor_id", "at"], name="audit_auditevent_actor"),
            models.Index(fields=["at"], name="audit_auditevent_at"),
        ]

    def __str__(self) -> str:
        return sentence(self.action, actor=self.actor_label, target=self.target_label)
