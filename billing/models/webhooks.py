from django.db import models

from billing.choices import WebhookOutcome
from ledger.models.fields import code_field


class WebhookTally(models.Model):
    """
    How webhooks came out: one row for each secret that signed some, one for each reason of refusal.

    So it stays small whatever is sent to that door, and keeps nothing of what was.
    """

    outcome = code_field(10, choices=WebhookOutcome)
    about = code_field(100, help_text="The mark of the secret, or why it was refused.")
    count = models.BigIntegerField(default=0)
    last_at = models.DateTimeField()

    class Meta:
        verbose_name = "Stripe connection"
        verbose_name_plural = "Stripe connection"
        constraints = [
            models.UniqueConstraint(fields=["outcome", "about"], name="billing_webhooktally_once"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome}: {self.about}"
