from django.db import models
from django.db.models import Q


class Receipt(models.Model):
    """
    The receipt of a payment: its number without a gap in its year, and who sold it. Never edited.

    Who bought it is read where it is shown, so that it goes when they are erased.
    """

    payment = models.OneToOneField("billing.Payment", models.PROTECT, related_name="receipt")
    year = models.PositiveSmallIntegerField()
    number = models.PositiveIntegerField()
    issued_on = models.DateField(help_text="The day of business on which it was credited.")
    seller = models.JSONField(help_text="Who sold it, as the settings said on that day.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["year", "number"], name="billing_receipt_number_once"),
            models.CheckConstraint(
                condition=Q(number__gte=1, issued_on__year=models.F("year")),
                name="billing_receipt_is_of_its_year",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.year}-{self.number:06}"
