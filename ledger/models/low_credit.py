from django.db import models
from django.db.models import Q


class LowCredit(models.Model):
    """
    Whether a wallet is low on credits, and when its owner was last told; none was never low.

    A crossing within a day of the last notice is told of when that day is over, if it still is low.
    """

    wallet = models.OneToOneField(
        "ledger.Wallet", models.PROTECT, primary_key=True, related_name="low_credit"
    )
    is_low = models.BooleanField()
    owes_notice = models.BooleanField(help_text="It fell below, and nobody was told yet.")
    notified_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["wallet"], condition=Q(owes_notice=True), name="ledger_lowcredit_to_tell"
            ),
        ]

    def __str__(self) -> str:
        return f"low credit of {self.wallet}"
