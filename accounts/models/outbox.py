import uuid

from django.db import models
from django.db.models import Q

from accounts.choices import EmailStatus


class Email(models.Model):
    """
    One e-mail to one person: written in the transaction of the act, sent afterwards.

    Its text may hold a link that signs somebody in: it is shown to nobody outside of the demo, and
    erased after ``EMAIL_TEXT_DAYS``.
    """

    message_id = models.UUIDField(
        default=uuid.uuid4, help_text="The same in each try, so that a second copy is recognised."
    )
    sender = models.CharField(max_length=320)
    recipient = models.CharField(max_length=254)
    subject = models.CharField(max_length=250)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=EmailStatus, default=EmailStatus.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    text_erased_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "e-mail"
        permissions = [("resend_email", "Can send an e-mail again")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status=EmailStatus.WAITING, next_try_at__isnull=False)
                | ~Q(status=EmailStatus.WAITING) & Q(next_try_at=None),
                name="accounts_email_waits_for_a_try",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(status=EmailStatus.WAITING),
                name="accounts_email_waiting",
            ),
            models.Index(fields=["recipient", "-created_at"], name="accounts_email_of_recipient"),
            models.Index(fields=["created_at"], name="accounts_email_by_age"),
        ]

    def __str__(self) -> str:
        return f"e-mail #{self.pk}"
