from django.contrib.postgres.functions import RandomUUID
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from audit.actions import sentence

ERASED = "someone whose name was erased"


class AuditEvent(models.Model):
    """
    What a person or the system did, to what, and why; written with the act and never changed.

    People and targets are kept as number and label, not as foreign keys: an event outlives both.
    Triggers refuse UPDATE, DELETE and TRUNCATE, but for ``audit_erase_text``, which empties the
    labels, ``before``, ``after``, ``reason`` and ``address`` once and for ever, and the salt of
    their digest with them.
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
    text_salt = models.UUIDField(null=True, db_default=RandomUUID(), editable=False)
    erased_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        permissions = [("export_auditevent", "Can export the audit record")]
        indexes = [
            models.Index(fields=["target_type", "target_id", "at"], name="audit_auditevent_target"),
            models.Index(fields=["actor_id", "at"], name="audit_auditevent_actor"),
            models.Index(fields=["at"], name="audit_auditevent_at"),
        ]

    def __str__(self) -> str:
        if not self.erased_at:
            return sentence(self.action, actor=self.actor_label, target=self.target_label)
        actor = f"{ERASED} (user {self.actor_id})" if self.actor_id else "The system"
        kind = self.target_type.rpartition(".")[2]
        target = f"{ERASED} ({kind} {self.target_id})"
        said = sentence(self.action, actor=actor, target=target)
        return said[:1].upper() + said[1:]
