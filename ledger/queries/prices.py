"""The prices in force."""

from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from ledger.models import FeaturePrice


def prices_at(at: datetime) -> QuerySet[FeaturePrice]:
    """Return the version in force at ``at`` of each active feature's price, with its feature."""
    begun = FeaturePrice.objects.filter(valid_from__lte=at)
    later = begun.filter(feature=OuterRef("feature"), valid_from__gt=OuterRef("valid_from"))
    return begun.filter(~Exists(later), feature__is_active=True).select_related("feature")
