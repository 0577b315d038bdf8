"""What is held about the tiers that a person was on: given to them, and ended with them."""

from collections.abc import Mapping
from datetime import datetime

from django.db.models import F

from accounts.models import User
from accounts.personal_data import Keeper, Section
from billing.models import Tier


class Tiers(Keeper):
    def settle(
        self, *, user: User, decided: Mapping[str, int], actor: User | None, at: datetime
    ) -> None:
        Tier.objects.filter(wallet__user=user, ends_at=None).update(ends_at=at, ended_by=actor)

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {
            "tiers": Tier.objects.filter(wallet__user=user)
            .order_by("pk")
            .annotate(plan=F("version__offer__code"), credits=F("version__credits"))
            .values("plan", "credits", "starts_at", "ends_at"),
        }
