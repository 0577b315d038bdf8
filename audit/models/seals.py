from django.db import models
from django.db.models import Q

from audit.models.events import AuditEvent


class UnsealedEvent(models.Model):
    """
    An event that waits for its seal; a trigger adds it with the event, the sealer takes it out.

    So an event is sealed however late its transaction commits, and none is sealed twice.
    """

    event = models.OneToOneField(
        AuditEvent,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="awaiting_seal",
    )

    def __str__(self) -> str:
        return f"event {self.event_id}"


class AuditSeal(models.Model):
    """
    A link of the chain: one event, or what came into one of ``audit.sources`` in a period.

    ``hash`` is made of the link before and of what is sealed, as ``audit.canonical`` says;
    ``digest`` is that of an event's text, which may be erased, or of a period's ranges. Triggers
    refuse UPDATE, DELETE and TRUNCATE.
    """

    number = models.BigIntegerField(primary_key=True, help_text="Counts from 1 without a gap.")
    version = models.SmallIntegerField(help_text="Of what is hashed.")
    source = models.CharField(max_length=20, help_text="audit, or the name of a source.")
    at = models.DateTimeField()
    event = models.OneToOneField(
        AuditEvent, models.DO_NOTHING, null=True, db_constraint=False, related_name="seal"
    )
    digest = models.BinaryField()
    previous_hash = models.BinaryField()
    hash = models.BinaryField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(number__gt=0), name="audit_auditseal_counts_from_1"),
            models.CheckConstraint(
                condition=Q(source="audit", event__isnull=False)
                | (~Q(source="audit") & Q(event__isnull=True)),
                name="audit_auditseal_seals_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"seal {self.number:,}"


class SealedRange(models.Model):
    """
    Numbers ``first`` to ``last`` of one stream of a source, such as the transactions of a wallet,
    with the digest of each: 32 bytes a number, one after the other.
    """

    seal = models.ForeignKey(AuditSeal, models.DO_NOTHING, related_name="ranges")
    source = models.CharField(max_length=20)
    stream_id = models.BigIntegerField()
    first = models.BigIntegerField()
    last = models.BigIntegerField()
    digests = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "stream_id", "first"], name="audit_sealedrange_is_sealed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.stream_id}: {self.first:,} to {self.last:,}"


class Checkpoint(models.Model):
    """The head of the chain after a run of the sealer, signed; a copy is kept elsewhere."""

    number = models.BigIntegerField(primary_key=True, help_text="The last seal that it covers.")
    at = models.DateTimeField()
    hash = models.BinaryField()
    signatures = models.JSONField(help_text="Of each key that signed, by its public half.")

    class Meta:
        verbose_name = "seal"

    def __str__(self) -> str:
        return f"Records up to {self.number:,}"


class Verification(models.Model):
    """What a verification of the record found; ``manage.py verify_audit`` says the same."""

    at = models.DateTimeField()
    is_sound = models.BooleanField()
    seals = models.BigIntegerField(help_text="Checked, events and periods.")
    unsealed = models.BigIntegerField(help_text="Events that waited for their seal.")
    seconds = models.FloatField()
    findings = models.JSONField(help_text="The first hundred, as sentences.")

    def __str__(self) -> str:
        outcome = "sound" if self.is_sound else "broken"
        return f"{outcome}, {self.at:%Y-%m-%d %H:%M}"
