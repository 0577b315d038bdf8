"""The settings of the credit economy, as they are or were."""

from datetime import datetime

from ledger.models import CreditSettings


def settings_at(at: datetime) -> CreditSettings:
    """Return the version that counts at ``at``; one of the defaults where there is none yet."""
    versions = CreditSettings.objects.filter(changed_at__lte=at)
    return versions.order_by("-changed_at", "-pk").first() or CreditSettings()
