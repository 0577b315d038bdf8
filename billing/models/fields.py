from django.db import models
from django.db.models import Q

from ledger.models.fields import code_field


def currency_field() -> models.CharField:
    """Return a column of a currency by ISO 4217, in lower case."""
    return code_field(3, help_text="By ISO 4217, in lower case.")


def known_currency(name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=Q(currency__regex=r"^[a-z]{3}$"), name=name)
